"""Plots: the loss as PNG, and the pictures of the report page as SVG for a light and for a dark page."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bins = list[dict[str, float]]
SIZE = (4.6, 3.1)  # inches; small, so that the text is still read when a phone shrinks it
# Told apart by lightness too, and strong enough on white as on near-black.
COLOURS = ("#2a7fd4", "#e07b1f", "#2b9e77", "#b866c2")
GREY = "#8a8f98"
# Text and axes are drawn in INK; the picture for a dark page has DARK_INK in its place.
INK, DARK_INK = "#4a4f57", "#c3c8d0"


@dataclass(frozen=True)
class Picture:
    """One plot: data URIs for a light and a dark page, its size in CSS pixels, and what it shows in words."""

    light: str
    dark: str
    width: int
    height: int
    alt: str


def loss_curves(history: list[dict[str, float]]) -> bytes:
    """Training loss and validation error (stars squared) by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    _draw_loss(axes, history)
    axes.set(title="Training")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def loss_picture(history: list[dict[str, float]]) -> Picture:
    """The same for the report page."""
    figure, axes = _canvas()
    _draw_loss(axes, history)
    last = history[-1]
    words = f"After {last['epoch']:g} epochs: training loss {last['train_loss']:.4f}"
    valid = [entry["valid_mse"] for entry in history if not math.isnan(entry["valid_mse"])]
    return _picture(figure, words + (f"; least validation MSE {min(valid):.4f}." if valid else "."))


def error_picture(labels: list[str], shares: list[float], errors: dict[str, list[float]], axis: str) -> Picture:
    """MSE by kind of rating, one line a model, NaN where there is none; the share of each kind below its label."""
    figure, axes = _canvas()
    places = list(range(len(labels)))
    for (name, values), colour, marker in zip(errors.items(), COLOURS, "os^D", strict=False):
        axes.plot(places, values, marker=marker, color=colour, label=name)
    axes.set_xticks(places, [f"{label}\n{share:.0%}" for label, share in zip(labels, shares, strict=True)])
    axes.set(xlabel=axis, ylabel="MSE (stars squared)")
    axes.margins(x=0.08, y=0.15)
    _legend(axes)
    told = [
        f"{label}: " + ", ".join(f"{name} {_told(values[at])}" for name, values in errors.items())
        for at, label in enumerate(labels)
    ]
    return _picture(figure, f"MSE by {axis}. " + "; ".join(told) + ".")


def calibration_picture(bins: dict[str, Bins]) -> Picture:
    """Mean true stars by mean predicted stars, one line a model, beside the diagonal of perfect agreement."""
    figure, axes = _canvas()
    for (name, rows), colour, marker in zip(bins.items(), COLOURS, "os^D", strict=False):
        stated, true = [row["stated"] for row in rows], [row["true"] for row in rows]
        axes.plot(stated, true, marker=marker, color=colour, label=name)
    ends = [row[key] for rows in bins.values() for row in rows for key in ("stated", "true")]
    _diagonal(axes, min(ends), max(ends))
    axes.set(xlabel="predicted stars", ylabel="true stars, mean")
    _legend(axes)
    told = [f"{name}: {_gap(rows)}" for name, rows in bins.items()]
    return _picture(figure, "True stars by predicted stars. " + "; ".join(told) + ".")


def reliability_picture(reliability: dict[str, Bins]) -> Picture:
    """Observed share by stated probability, one line for each number of stars."""
    from matplotlib import colormaps

    figure, axes = _canvas()
    # The scale of 1-5 has four; more get shades, without the ends, which would vanish on a dark or a light page.
    shades = [colormaps["viridis"](0.4 + 0.4 * k / max(len(reliability) - 1, 1)) for k in range(len(reliability))]
    colours = COLOURS if len(reliability) <= len(COLOURS) else shades
    for place, (stars, rows) in enumerate(reliability.items()):
        stated, true = [row["stated"] for row in rows], [row["true"] for row in rows]
        axes.plot(stated, true, marker="osv^D"[place % 5], markersize=4, color=colours[place], label=f"{stars} or more")
    _diagonal(axes, 0, 1)
    axes.set(xlabel="stated probability", ylabel="how often it was so")
    _legend(axes, columns=1 if len(reliability) <= 5 else 2, title="stars")
    told = [f"{stars} or more stars: {_gap(rows)}" for stars, rows in reliability.items()]
    return _picture(figure, "Observed share by stated probability. " + "; ".join(told) + ".")


def stars_picture(shares: dict[str, dict[str, float]]) -> Picture:
    """Share of ratings by stars: bars beside each other for the true stars and for what each model names."""
    figure, axes = _canvas()
    values = list(next(iter(shares.values())))
    width = 0.8 / len(shares)
    for place, ((name, share), colour) in enumerate(zip(shares.items(), (GREY, *COLOURS), strict=False)):
        middle = (place - (len(shares) - 1) / 2) * width
        heights = [100 * share.get(value, 0.0) for value in values]
        axes.bar([at + middle for at in range(len(values))], heights, width, color=colour, label=name)
    axes.set_xticks(list(range(len(values))), values)
    axes.set(xlabel="stars", ylabel="% of ratings")
    axes.grid(visible=False, axis="x")
    _legend(axes)
    told = [f"{name}: " + ", ".join(f"{v} {share.get(v, 0):.1%}" for v in values) for name, share in shares.items()]
    return _picture(figure, "Share of ratings by stars. " + "; ".join(told) + ".")


def _draw_loss(axes: Axes, history: list[dict[str, float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [entry["epoch"] for entry in history]
    losses = [entry["train_loss"] for entry in history]
    axes.plot(epochs, losses, marker="o", color=COLOURS[0], label="training loss")
    valid = [entry["valid_mse"] for entry in history]
    if not any(math.isnan(error) for error in valid):
        best = min(range(len(valid)), key=valid.__getitem__)
        axes.plot(epochs, valid, marker="s", color=COLOURS[1], label="validation MSE")
        axes.annotate(
            f"best: {valid[best]:.4f}", (epochs[best], valid[best]), (0, 10), textcoords="offset points", ha="center"
        )
        axes.margins(x=0.12, y=0.15)
    axes.set(xlabel="epoch", ylabel="stars squared")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    _legend(axes)


def _canvas() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.35, color=GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _diagonal(axes: Axes, low: float, high: float) -> None:
    axes.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1, label="perfect")


def _legend(axes: Axes, columns: int = 1, title: str | None = None) -> None:
    axes.legend(frameon=False, fontsize="small", ncols=columns, title=title, title_fontsize="small")


def _told(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.4f}"


def _gap(rows: Bins) -> str:
    """How far bins lie from the diagonal, in words."""
    total = sum(row["n"] for row in rows)
    gap = sum(row["n"] * abs(row["stated"] - row["true"]) for row in rows) / total if total else float("nan")
    return f"{_told(gap)} from the diagonal on average"


def _picture(figure: Figure, alt: str) -> Picture:
    """The figure with a transparent ground; letters are drawn as paths, so no font is needed to read it."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    for artist in figure.findobj(Text):
        artist.set_color(INK)
    for axes in figure.axes:
        axes.tick_params(color=INK, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_edgecolor(INK)
    file = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "shelfwise"}):  # the same figure gives the same bytes
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    light = file.getvalue()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(_uri(light), _uri(light.replace(INK, DARK_INK)), width, height, alt)


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
