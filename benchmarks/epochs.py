"""Ratings per second of an epoch of the notebook's networks: ours beside a plain loop, and the machine's limit.

    python benchmarks/epochs.py [DATA] --out FOLDER [--models ncf hybrid] [--rounds 5] [--notebook NOTEBOOK FOLDER]
    ... --to-the-end    also train to the end: MSE reached, and seconds to where the plain loop ends

The plain loop is what everybody writes: a Dataset of rows, a DataLoader of 256, dense Adam, `.item()` in each batch,
pretrained embeddings from a dictionary. It is timed on its first batches, since each costs the same. Ours is the first
epoch of a process, one of Adam, by `--recipe notebook --batch-size 8192` and by the default recipe; and all epochs of
the former, of which all but the first are of SGD. All in turn, ROUNDS times, each in a process of its own; medians,
smallest and largest. The limit is 6 floating-point operations for each weight of a layer and rating, over the rate of a
float32 matrix product measured in the same round: torch's own, and oneDNN's, which on some processors is twice as fast.
Training rows over wall seconds, with all that an epoch costs but its validation.

NOTEBOOK is the source notebook as a script that prints '= N ratings/s', FOLDER the data it reads: the plain loop is
to be within SAME of its rate, or it is said.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from sidebyside import in_own_process, keep, peak_memory, print_result, ratios, shown

PLAIN_BATCHES = 120
BATCH = 8192
MATRIX = 2048
SAME = 0.2
OURS = ("notebook", "default")


def inputs_of(data: str) -> tuple[Any, Any]:
    """The prepared data, and what is known of its books."""
    from shelfwise import TrainSettings, load_dataset
    from shelfwise.data.prepare import prepare
    from shelfwise.features.vectors import BookFeatures

    loaded = load_dataset(data)
    prepared, _ = prepare(loaded, TrainSettings())
    return prepared, BookFeatures.of(loaded.catalogue)


def ours(data: str, model: str, recipe: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The history of our training and its peak memory, as on the command line."""
    from shelfwise.lab import Lab, fit
    from shelfwise.memory import keep_memory
    from shelfwise.models.registry import model_config
    from shelfwise.training.recipes import loop_settings

    keep_memory()
    prepared, features = inputs_of(data)
    config = model_config(model, recipe)
    lab = Lab(features, 0, loop_settings(config, settings))
    start = time.perf_counter()
    fitted = fit(config, prepared, lab)
    return {"history": fitted.history, "fit_seconds": time.perf_counter() - start, "memory": peak_memory()}


def plain(data: str, model: str, n_batches: int, epochs: int) -> dict[str, Any]:
    """The loop everybody writes; `n_batches` of the first epoch, or with 0 whole epochs, each with its validation."""
    import numpy as np
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    from shelfwise.data.split import TRAIN, VALID
    from shelfwise.features.vectors import default_embedding

    prepared, features = inputs_of(data)
    ratings = prepared.ratings
    embedding = {i: row.tolist() for i, row in enumerate(default_embedding(features))}

    class Rows(Dataset[tuple[torch.Tensor, ...]]):
        def __init__(self, part: int) -> None:
            rows = ratings.where(prepared.parts == part)
            self.users = torch.tensor(rows.user_idx, dtype=torch.long)
            self.books = torch.tensor(rows.item_idx, dtype=torch.long)
            self.stars = torch.tensor(rows.stars, dtype=torch.float)

        def __len__(self) -> int:
            return len(self.users)

        def __getitem__(self, place: int) -> tuple[torch.Tensor, ...]:
            return self.users[place], self.books[place], self.stars[place]

    class Network(nn.Module):
        def __init__(self, n_users: int, n_books: int, dim: int = 32) -> None:
            super().__init__()
            self.user_gmf, self.book_gmf = nn.Embedding(n_users, dim), nn.Embedding(n_books, dim)
            self.user_mlp, self.book_mlp = nn.Embedding(n_users, 4 * dim), nn.Embedding(n_books, 4 * dim)
            layers: list[nn.Module] = []
            for drop, width in ((0.5, 8 * dim), (0.3, 4 * dim), (0.3, 2 * dim)):
                layers += [nn.Dropout(drop), nn.Linear(width, width // 2), nn.ReLU()]
            self.mlp = nn.Sequential(*layers)
            self.last = nn.Linear(2 * dim + (64 if model == "hybrid" else 0), 1)
            for table in (self.user_gmf, self.book_gmf, self.user_mlp, self.book_mlp):
                nn.init.normal_(table.weight, std=0.01)
            for layer in (self.last, *layers[1::3]):
                nn.init.xavier_uniform_(layer.weight)

        def forward(self, users: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
            parts = [self.user_gmf(users) * self.book_gmf(books)]
            parts.append(self.mlp(torch.cat([self.user_mlp(users), self.book_mlp(books)], -1)))
            if model == "hybrid":
                parts.append(torch.tensor([embedding[book] for book in books.tolist()]))
            return self.last(torch.cat(parts, -1)).view(-1)

    torch.manual_seed(0)
    network = Network(ratings.n_readers, ratings.n_books)
    loader = DataLoader(Rows(TRAIN), batch_size=256, shuffle=True)
    valid = DataLoader(Rows(VALID), batch_size=256)
    optimiser: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    history, done = [], 0
    for epoch in range(epochs):
        if epoch == 1:
            optimiser = torch.optim.SGD(network.parameters(), lr=5e-4)
        network.train()
        start, rows, loss_sum = time.perf_counter(), 0, 0.0
        for users, books, stars in loader:
            optimiser.zero_grad()
            loss = nn.functional.mse_loss(network(users, books), stars)
            loss_sum += loss.item()
            loss.backward()
            optimiser.step()
            rows, done = rows + len(users), done + 1
            if n_batches and done == n_batches:
                break
        seconds = time.perf_counter() - start
        entry = {"epoch": epoch + 1, "seconds": seconds, "ratings": rows, "ratings_per_s": rows / seconds}
        if not n_batches:
            network.eval()
            with torch.no_grad():
                squared = [(network(u, b).clamp(1, 5) - s).square().numpy() for u, b, s in valid]
            entry["valid_mse"] = float(np.concatenate(squared).mean())
        history.append(entry)
    return {"history": history, "memory": peak_memory()}


def limit() -> dict[str, Any]:
    """The rates of a float32 matrix product, operations a second: torch's own, and oneDNN's."""
    import torch

    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    packed, linear = a.to_mkldnn(), torch.nn.functional.linear
    rates: dict[str, list[float]] = {"limit": [], "oneDNN's limit": []}
    for _ in range(10):
        for name, product in (("limit", lambda: a @ b), ("oneDNN's limit", lambda: linear(packed, b))):
            start = time.perf_counter()
            product()
            rates[name].append(2 * MATRIX**3 / (time.perf_counter() - start))
    return {name: median(values) for name, values in rates.items()}


def operations(model: str) -> int:
    """Floating-point operations of the layers for one rating: 2 for each weight forwards, 4 backwards."""
    return 6 * (256 * 128 + 128 * 64 + 64 * 32 + 64 + (64 if model == "hybrid" else 0))


def notebook_rate(notebook: Path, folder: Path, model: str) -> float:
    """Ratings per second that the notebook prints for its first batches."""
    architecture = {"ncf": "NCF", "hybrid": "hybrid"}[model]
    words = [sys.executable, str(notebook), str(folder), architecture, "1", str(PLAIN_BATCHES)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = re.search(r"= (\d+) ratings/s", shown)
    assert found is not None, shown
    return float(found[1])


def one(words: list[str]) -> dict[str, Any]:
    """The measurement that --one names."""
    kind, *rest = words
    if kind == "limit":
        return limit()
    data, model, *more = rest
    if kind == "plain":
        return plain(data, model, int(more[0]), int(more[1]))
    settings = {"batch_size": BATCH} if kind == "notebook" else {}
    return ours(data, model, kind, settings | ({"epochs": 1} if more == ["1"] else {}))


def rates(model: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Ratings per second by kind, and fractions of the limit, one of each a round."""
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        rate = {"plain": in_own_process(__file__, "plain", options.data, model, PLAIN_BATCHES, 1)}
        rate |= {"notebook": in_own_process(__file__, "notebook", options.data, model)}
        rate |= {"default": in_own_process(__file__, "default", options.data, model, 1)}
        here = {kind: entry["history"][0]["ratings_per_s"] for kind, entry in rate.items()}
        epochs = rate["notebook"]["history"]
        seconds = sum(epoch["seconds"] for epoch in epochs)
        here["notebook, all epochs"] = sum(epoch["ratings_per_s"] * epoch["seconds"] for epoch in epochs) / seconds
        here |= {name: flops / operations(model) for name, flops in in_own_process(__file__, "limit").items()}
        if options.notebook:
            here["source notebook"] = notebook_rate(*options.notebook, model)
        here |= {f"GiB, {kind}": entry["memory"] for kind, entry in rate.items()}
        for name, value in here.items():
            found.setdefault(name, []).append(value)
    if options.notebook:
        found["plain / source notebook"] = ratios(found["plain"], found["source notebook"])
    for kind in OURS:
        found[f"{kind} / plain"] = ratios(found[kind], found["plain"])
    for kind in ("notebook", "notebook, all epochs"):
        for name in ("limit", "oneDNN's limit"):
            found[f"{kind} / {name}"] = ratios(found[kind], found[name])
    return found


def to_the_end(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """The least validation MSE of each, its seconds of training, and those to where the plain loop ends."""
    ended = {"plain": in_own_process(__file__, "plain", options.data, model, 0, 6)["history"]}
    ended |= {kind: in_own_process(__file__, kind, options.data, model)["history"] for kind in OURS}
    goal = min(entry["valid_mse"] for entry in ended["plain"])
    found = {}
    for kind, history in ended.items():
        seconds = [sum(e["seconds"] for e in history[: place + 1]) for place in range(len(history))]
        there = [s for s, e in zip(seconds, history, strict=True) if e["valid_mse"] <= goal]
        found[kind] = {
            "valid_mse": min(entry["valid_mse"] for entry in history),
            "seconds": seconds[-1],
            "seconds_to_plain": there[0] if there else None,
        }
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    """Ratings per second of each network; a line from the slowest round to the fastest, a dot at the median."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.5 + 0.5 * len(found)), layout="constrained")
    panel = figure.subplots()
    labels = {"plain": "plain loop", "notebook": "the same network, batches of 8192", "default": "default recipe"}
    for color, (kind, label) in enumerate(labels.items()):
        for row, entry in enumerate(found.values()):
            values = entry["rates"][kind]
            panel.plot([min(values), max(values)], [row, row], color=f"C{color}")
            panel.plot(median(values), row, "o", color=f"C{color}", label=label if row == 0 else None)
    panel.set(yticks=range(len(found)), yticklabels=list(found), ylim=(-0.5, len(found) - 0.5), xscale="log")
    panel.set(xlabel="ratings per second, an epoch of Adam")
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="goodbooks-10k")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--models", nargs="+", choices=("ncf", "hybrid"), default=["ncf", "hybrid"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--notebook", nargs=2, type=Path, metavar=("NOTEBOOK", "FOLDER"))
    parser.add_argument("--to-the-end", action="store_true")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return print_result(one(options.one))
    print("| model | what | median (smallest to largest) |\n| --- | --- | --- |")
    found: dict[str, Any] = {}
    for model in options.models:
        found[model] = {"rates": rates(model, options)}
        for name, values in found[model]["rates"].items():
            print(f"| {model} | {name} | {shown(values)} |", flush=True)
        beside = found[model]["rates"].get("plain / source notebook")
        if beside and abs(median(beside) - 1) > SAME:
            print(f"{model}: the plain loop has {median(beside):.2f} of the source notebook's rate, not 1 +- {SAME}")
        if options.to_the_end:
            found[model]["to_the_end"] = to_the_end(model, options)
            for kind, entry in found[model]["to_the_end"].items():
                print(f"{model:7} {kind:26} {entry}", flush=True)
    keep(options.out, "epochs", found)
    if options.out:
        draw(found, options.out / "epochs.png")
    return None


if __name__ == "__main__":
    main()
