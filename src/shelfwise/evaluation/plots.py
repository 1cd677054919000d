"""Plots, as PNG."""

from __future__ import annotations

import io
import math


def loss_curves(history: list[dict[str, float]]) -> bytes:
    """Training loss and validation error (stars squared) by epoch."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    epochs = [entry["epoch"] for entry in history]
    axes.plot(epochs, [entry["train_loss"] for entry in history], marker="o", label="training loss")
    valid = [entry["valid_mse"] for entry in history]
    if not any(math.isnan(error) for error in valid):
        best = min(range(len(valid)), key=valid.__getitem__)
        axes.plot(epochs, valid, marker="o", label="validation MSE")
        axes.annotate(
            f"best: {valid[best]:.4f}", (epochs[best], valid[best]), (0, 10), textcoords="offset points", ha="right"
        )
    axes.set(xlabel="epoch", ylabel="stars squared", title="Training")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
