"""Draw what ``run.py --json figures.json`` measured: ``python benchmarks/plot.py figures.json
docs/images/performance.svg``.

Needs matplotlib.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

_SHOWN = (
    "plain",
    "xdist -n2",
    "isolated, by module",
    "floor",
    "pytest-forked",
    "isolated, 2 jobs",
    "isolated",
)
_COLOURS = {
    "isolated": "#1b6ca8",
    "isolated, 2 jobs": "#1b6ca8",
    "isolated, by module": "#1b6ca8",
    "floor": "#888888",
}


def _means(samples: list[dict[str, object]]) -> list[float]:
    """Milliseconds a test, one figure a round, without the first ten."""
    return [statistics.fmean(each["tests"][10:]) * 1e3 for each in samples]  # type: ignore[index]


def main() -> None:
    """Bars of the median round, whiskers from the fastest to the slowest."""
    source, target = sys.argv[1:]
    figures = json.loads(Path(source).read_text("utf-8"))
    sizes = [name for name in figures if name.startswith("resident_")]
    # The same drawing for the same figures
    mpl.rcParams.update({"svg.hashsalt": "performance", "svg.fonttype": "none"})
    drawing, all_axes = plt.subplots(
        1, len(sizes), figsize=(9, 2.8), sharey=True, layout="constrained"
    )
    for axes, size in zip(all_axes, sizes, strict=True):
        names = [name for name in _SHOWN if name in figures[size]]
        means = [_means(figures[size][name]) for name in names]
        middle = [statistics.median(each) for each in means]
        reach = [
            [at - min(each) for at, each in zip(middle, means, strict=True)],
            [max(each) - at for at, each in zip(middle, means, strict=True)],
        ]
        bars = axes.barh(
            names,
            middle,
            xerr=reach,
            color=[_COLOURS.get(name, "#c9a227") for name in names],
            error_kw={"linewidth": 1},
        )
        axes.bar_label(bars, fmt="%.2f", padding=6)
        axes.set_title(f"{size.removeprefix('resident_')} MB resident")
        axes.set_xlabel("ms for an empty test, mean")
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    drawing.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
