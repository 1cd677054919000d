"""The plot of a comparison."""

from __future__ import annotations

import io

from shelfwise.evaluation.compare import NOT_SHOWN, Comparison


def differences(comparison: Comparison) -> bytes:
    """Each difference with its 95 % interval, one panel a metric, as PNG; right of 0 the first run has more."""
    from matplotlib.figure import Figure

    by_metric = {metric: [d for d in comparison.differences if d.metric == metric] for metric in comparison.values}
    heights = [0.7 + 0.32 * len(found) for found in by_metric.values()]
    figure = Figure(figsize=(7.2, 0.9 + sum(heights)), dpi=120, layout="constrained")
    panels = figure.subplots(len(by_metric), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (metric, found) in zip(panels, by_metric.items(), strict=True):
        for place, d in enumerate(found):
            colour = "0.6" if d.finding == NOT_SHOWN else "C0"
            axes.plot([d.low, d.high], [place, place], color=colour, linewidth=2)
            axes.plot(d.difference, place, "o", color=colour)
        axes.axvline(0, color="0.4", linewidth=0.8)
        axes.set_yticks(range(len(found)), [f"{d.first} - {d.second}" for d in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_title(metric, loc="left", fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    figure.suptitle(f"Differences, 95 % interval over readers (grey: {NOT_SHOWN})", fontsize=11)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
