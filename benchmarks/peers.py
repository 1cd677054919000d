"""Our `shelf` beside other libraries: the same split, the same machine, as many trials for each.

    python benchmarks/peers.py [DATA] --out FOLDER [--peers NAME ...] [--trials 6] [--rounds 1] [--readers N]

The peers come with `pip install shelfwise[bench]`; what is not installed is left out, aloud. Each tries the first
TRIALS settings of its grid (peer_models.py), ours included; validation MSE chooses, or NDCG@10 where a model makes
lists only. The chosen setting is then fitted anew and measured on the test part, ROUNDS times in turn; medians.
Each fit has a process of its own: peak memory is of all that it did, with 0.7 GiB for goodbooks-10k itself. Threads
are what the libraries take. NDCG@10 as in docs/evaluation.md, a hit is the rounded prediction, or the most probable
star where a model has probabilities. `shelf` also stops early and weighs taste on validation, within its fit.
--readers N takes only so many readers, for a quick look. Prints tables, writes peers.json, from which a second call
with the same FOLDER goes on, and peers.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from importlib import import_module, metadata, util
from pathlib import Path
from statistics import median
from typing import Any

from peer_models import PEERS, TRIALS, Peer, Settings, Task, make_task
from sidebyside import in_own_process, keep, peak_memory, print_result

from shelfwise.data.split import TEST, VALID
from shelfwise.evaluation.metrics import star_losses
from shelfwise.ranking import ranking_metrics

OURS = "shelf"
# Name in the JSON -> heading, number format, and what a peer needs for it: stars, lists or nothing.
COLUMNS = {
    "fit_seconds": ("fit, s", ".1f", None),
    "predict_seconds": ("stars, s", ".1f", "stars"),
    "list_seconds": ("lists, s", ".1f", "lists"),
    "mse": ("MSE", ".4f", "stars"),
    "hit": ("hit, %", ".2f", "stars"),
    "ndcg@10": ("NDCG@10", ".4f", "lists"),
    "memory": ("peak, GiB", ".2f", None),
}
LABEL_ROOM = 0.06
# Which way is better.
QUALITY = {"mse": -1, "hit": 1, "ndcg@10": 1}


def star_columns(peer: Peer, fitted: Any, task: Task) -> dict[str, float]:
    """Seconds for the rows of the exam, and how good the stars are."""
    if isinstance(peer.stars, str):
        return {}
    target = task.exam.target
    start = time.perf_counter()
    stars, probabilities = peer.stars(fitted, task)
    seconds = time.perf_counter() - start
    losses = star_losses(target.scale.clip(stars), target.stars, target.scale, probabilities)
    return {
        "predict_seconds": seconds,
        "mse": float(losses["mse"].mean()),
        "hit": float(100 * losses["hit"].mean()),
    }


def list_columns(peer: Peer, fitted: Any, task: Task) -> dict[str, float]:
    """Seconds for the lists of the exam, and how good they are."""
    if isinstance(peer.lists, str):
        return {}
    start = time.perf_counter()
    lists = peer.lists(fitted, task)
    seconds = time.perf_counter() - start
    ndcg = ranking_metrics(lists, task.exam.relevant.take(task.exam.ranked))["ndcg"]
    return {"list_seconds": seconds, "ndcg@10": float(ndcg.mean())}


def one(words: list[str]) -> dict[str, Any]:
    """The measurement that --one names: DATA READERS NAME PLACE-IN-GRID PART.

    On validation only what chooses is measured.
    """
    data, n_readers, name, place, part = words
    peer = PEERS[name]
    task = make_task(data, int(n_readers), TEST if part == "test" else VALID)
    split = f"{part} {task.exam.digest}"
    for module in peer.modules:
        import_module(module)
    _ = task.exam.seen, task.exam.relevant, task.exam.ranked  # made once, outside of any time
    start = time.perf_counter()
    fitted = peer.fit(task, peer.grid[int(place)])
    found: dict[str, Any] = {"fit_seconds": time.perf_counter() - start}
    if part == "test" or peer.chosen_by == "mse":
        found |= star_columns(peer, fitted, task)
    if part == "test" or peer.chosen_by == "ndcg@10":
        found |= list_columns(peer, fitted, task)
    return {**found, "memory": peak_memory(), "split": split}


def measured(found: dict[str, Any], name: str, place: int, part: str) -> dict[str, Any]:
    """What `one` gives in a process of its own. Ends this program if the split is not that of the others."""
    entry = in_own_process(__file__, found["data"], found["readers"], name, place, part)
    digest = entry.pop("split")
    if found["splits"].setdefault(part, digest) != digest:
        raise SystemExit(f"{name} was measured on another split than what peers.json holds: give another --out")
    return entry


def started(options: argparse.Namespace) -> dict[str, Any]:
    """What is known from an earlier call, or the beginning of it. Ends this program if that was on other data."""
    file = options.out / "peers.json"
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if (found["data"], found["readers"]) != (options.data, options.readers):
            raise SystemExit(f"{file} is of {found['data']}, readers {found['readers']}: give another --out")
        return found
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "threads": os.environ.get("OMP_NUM_THREADS")}
    return {"data": options.data, "readers": options.readers, "machine": machine, "splits": {}, "models": {}}


def entry_of(found: dict[str, Any], name: str) -> dict[str, Any]:
    """What is known of a model; nothing if that was of another version, no trial that its grid no longer has."""
    peer = PEERS[name]
    package = f"{peer.package} {metadata.version(peer.package)}"
    if found["models"].get(name, {}).get("package") != package:
        cannot = {kind: why for kind in ("stars", "lists") if isinstance(why := getattr(peer, kind), str)}
        found["models"][name] = {"package": package, "chosen_by": peer.chosen_by, "cannot": cannot}
        found["models"][name] |= {"trials": [], "chosen": None, "rounds": []}
    entry: dict[str, Any] = found["models"][name]
    entry["trials"] = [trial for trial in entry["trials"] if trial["settings"] in peer.grid]
    return entry


def tune(found: dict[str, Any], name: str, n_trials: int, out: Path) -> int:
    """Try the first settings of the grid that are not tried yet; the place in the grid of the best."""
    peer, entry = PEERS[name], entry_of(found, name)
    values = []
    for place, settings in enumerate(peer.grid[:n_trials]):
        trial = next((known for known in entry["trials"] if known["settings"] == settings), None)
        if trial is None:
            trial = {"settings": settings, **measured(found, name, place, "valid")}
            entry["trials"].append(trial)
            keep(out, "peers", found)
            print(f"{name}: {settings} -> {peer.chosen_by} {trial[peer.chosen_by]:.4f}", flush=True)
        values.append(QUALITY[peer.chosen_by] * trial[peer.chosen_by])
    best = values.index(max(values))
    if entry["chosen"] != peer.grid[best]:
        entry |= {"chosen": peer.grid[best], "rounds": []}
    return best


def installed(names: list[str]) -> list[str]:
    """Those of them that can be measured; says which cannot."""
    missing = [name for name in names if util.find_spec(PEERS[name].modules[0]) is None]
    for name in missing:
        print(f"{name}: {PEERS[name].package} is not installed, pip install shelfwise[bench]", flush=True)
    return [name for name in names if name not in missing]


def medians(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of the rounds, by model and column, in the order of PEERS; models that were only tuned are left out."""
    models = {name: found["models"][name] for name in PEERS if found["models"].get(name, {}).get("rounds")}
    return {
        name: {column: median(values[column] for values in entry["rounds"]) for column in entry["rounds"][0]}
        for name, entry in models.items()
    }


def table(found: dict[str, Any]) -> str:
    """Markdown: a row a model, medians with the smallest and largest; where a peer cannot do a column, why."""
    lines = ["| model | " + " | ".join(heading for heading, _, _ in COLUMNS.values()) + " | rounds |"]
    lines.append("| --- |" + " --- |" * (len(COLUMNS) + 1))
    for name in medians(found):
        entry = found["models"][name]
        cells = [
            spread([values[column] for values in entry["rounds"]], style)
            if column in entry["rounds"][0]
            else entry["cannot"][needs or ""]
            for column, (_, style, needs) in COLUMNS.items()
        ]
        lines.append(f"| {name} ({entry['package']}) | " + " | ".join(cells) + f" | {len(entry['rounds'])} |")
    return "\n".join(lines)


def spread(values: list[float], style: str) -> str:
    """Median (smallest to largest), or the median alone where they look alike."""
    middle, least, most = (format(value, style) for value in (median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


def settings_table(found: dict[str, Any]) -> str:
    """Markdown: a row a trial, the chosen one in bold."""
    lines = ["| model | settings | validation |", "| --- | --- | --- |"]
    for name in PEERS:
        entry = found["models"].get(name, {"trials": []})
        for trial in entry["trials"]:
            value = f"{entry['chosen_by']} {trial[entry['chosen_by']]:.4f}"
            value = f"**{value}**" if trial["settings"] == entry["chosen"] else value
            lines.append(f"| {name} | {worded(trial['settings'])} | {value} |")
    return "\n".join(lines)


def worded(settings: Settings) -> str:
    """Settings on one line."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def faster_and_better(found: dict[str, Any]) -> dict[str, list[str]]:
    """By quality column, who fits faster than OURS and is better; empty lists are what is hoped for."""
    values = medians(found)
    us = values[OURS]
    return {
        column: [
            name
            for name, them in values.items()
            if them["fit_seconds"] < us["fit_seconds"] and column in them and sign * (them[column] - us[column]) > 0
        ]
        for column, sign in QUALITY.items()
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Seconds to fit against MSE and against NDCG@10; dashed lines go through OURS."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    values = medians(found)
    for panel, column, better in zip(figure.subplots(1, 2), ("mse", "ndcg@10"), ("lower", "higher"), strict=True):
        dots = {name: (them["fit_seconds"], them[column]) for name, them in values.items() if column in them}
        for name, dot in dots.items():
            panel.plot(*dot, "o", color="C3" if name == OURS else "C0", zorder=3)
        if OURS in dots:
            panel.axvline(dots[OURS][0], ls="--", lw=0.8, color="C3")
            panel.axhline(dots[OURS][1], ls="--", lw=0.8, color="C3")
        panel.set(xscale="log", xlabel="seconds to fit", ylabel=f"{COLUMNS[column][0]}, {better} is better")
        panel.margins(0.08)
        label_beside(panel, dots)
    figure.savefig(path, dpi=120)


def label_beside(panel: Any, dots: dict[str, tuple[float, float]]) -> None:
    """Names in a column right of the panel, each joined to its dot: many dots lie closer together than names can."""
    low, high = panel.get_ylim()
    names = sorted(dots, key=lambda name: dots[name][1])
    places: list[float] = []  # fractions of the panel's height, LABEL_ROOM apart
    for name in names:
        free = places[-1] + LABEL_ROOM if places else 0.0
        places.append(max((dots[name][1] - low) / (high - low), free))
    for back in range(len(places) - 1, -1, -1):
        above = places[back + 1] - LABEL_ROOM if back + 1 < len(places) else 1.0
        places[back] = min(places[back], above)
    line = {"arrowstyle": "-", "lw": 0.4, "color": "0.6"}
    for name, place in zip(names, places, strict=True):
        where = {"xytext": (1.03, place), "textcoords": "axes fraction", "arrowprops": line}
        panel.annotate(name, dots[name], **where, fontsize=8, va="center", annotation_clip=False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="goodbooks-10k")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="NAME")
    parser.add_argument("--trials", type=int, choices=range(1, TRIALS + 1), default=TRIALS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--readers", type=int, default=0)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print_result(one(options.one))
        return
    if options.out is None:
        parser.error("--out FOLDER is needed")
    found = started(options)
    chosen = {name: tune(found, name, options.trials, options.out) for name in installed(options.peers)}
    for done in range(options.rounds):
        for name, place in chosen.items():
            rounds = found["models"][name]["rounds"]
            if len(rounds) == done:
                rounds.append(measured(found, name, place, "test"))
                keep(options.out, "peers", found)
    if not medians(found):
        return
    print(f"\n{settings_table(found)}\n\n{table(found)}\n")
    draw(found, options.out / "peers.png")
    if len({len(entry["trials"]) for entry in found["models"].values()}) > 1:
        print("not the same number of trials for each: name all with one --trials")
    if OURS in medians(found):
        for column, names in faster_and_better(found).items():
            print(f"faster to fit than {OURS} and better in {COLUMNS[column][0]}: {', '.join(names) or 'none'}")
    else:
        print(f"{OURS} was not measured: nothing to compare with")


if __name__ == "__main__":
    main()
