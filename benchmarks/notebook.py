"""Is `--recipe notebook` the source notebook? Both from the same random state, on the same split and embedding.

    python benchmarks/notebook.py NOTEBOOK FOLDER [--models MF NCF hybrid] [--seeds 0] [--epochs 6] [--out RESULTS]

NOTEBOOK  the notebook as a script that is called with FOLDER, architecture and epochs, and prints its TEST line
FOLDER    its inputs, by their names: train-df.csv, valid-df.csv, test-df.csv, all interactions, book embeddings

The notebook sets no seed, so `torch.manual_seed` is called before its first line. It gets copies of its files with the
catalogue's book ids, so that both count books in the same order. Prints test MSE and hits of both, unclipped as the
notebook has them and kept on the scale, and how far apart their predictions are. A notebook run takes 3 to 20 minutes;
RESULTS keeps it, and a second call does not repeat it. Needs pandas and scikit-learn, for the notebook.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from shelfwise import TrainSettings, load_dataset
from shelfwise.data.prepare import prepare
from shelfwise.data.split import TEST, TRAIN
from shelfwise.features.embedding import read_embedding
from shelfwise.features.vectors import BookFeatures
from shelfwise.lab import Lab, fit
from shelfwise.models.notebook import NotebookModel

EMBEDDING = "book_embedding_kaggle_64.csv"
FILES = ("book_interactions_kaggle.csv", EMBEDDING, "train-df.csv", "valid-df.csv", "test-df.csv")
SEEDED = "import sys, torch; torch.manual_seed({seed}); exec(compile(open(sys.argv[0]).read(), sys.argv[0], 'exec'))"
OURS = {"MF": "mf", "NCF": "ncf", "hybrid": "hybrid"}
# Where the notebook's weights are in our networks.
NAMES = {
    "embed_user_GMF.": "readers.gmf.",
    "embed_user_MLP.": "readers.mlp.",
    "embed_book_GMF.": "books.gmf.",
    "embed_book_MLP.": "books.mlp_book.",
    "MLP_layers.": "books.mlp.",
    "predict_layer.": "books.last.",
}


def copy_with_catalogue_ids(folder: Path, copy: Path) -> None:
    """The notebook's inputs with the catalogue's book ids, in whose order both then count books."""
    copy.mkdir(parents=True, exist_ok=True)
    books = load_dataset("goodbooks-10k").catalogue.books.select("book_id", "goodreads_id")
    for name in FILES:
        frame = pl.read_csv(folder / name).rename({"book_id": "goodreads_id"})
        joined = frame.join(books, on="goodreads_id", how="left", maintain_order="left")
        if "book_label" in joined.columns:
            joined = joined.with_columns(book_label=pl.col("book_id") - 1)
        joined.drop("goodreads_id").write_csv(copy / name)


def run_notebook(notebook: Path, folder: Path, architecture: str, seed: int, epochs: int) -> str:
    """What it printed; from `folder`, where an earlier run of it is kept."""
    log, weights = folder / f"{architecture}-{seed}-{epochs}.log", folder / f"{architecture}-{seed}-{epochs}.pt"
    if not (log.exists() and weights.exists()):
        program = f"import sys; sys.argv = sys.argv[1:]; {SEEDED.format(seed=seed)}"
        words = [sys.executable, "-c", program, str(notebook), str(folder), architecture, str(epochs)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{notebook} failed:\n{done.stderr}")
        (folder / f"{architecture}-model").replace(weights)
        log.write_text(done.stdout, encoding="utf-8")
    return log.read_text(encoding="utf-8")


def scores(predicted: np.ndarray, stars: np.ndarray) -> dict[str, float]:
    """MSE and hit accuracy in percent, unclipped and clipped."""
    kept = np.clip(predicted, 1, 5)
    return {
        "mse": float(np.mean((predicted - stars) ** 2)),
        "hit": float(100 * np.mean(np.round(predicted) == stars)),
        "mse_on_scale": float(np.mean((kept - stars) ** 2)),
        "hit_on_scale": float(100 * np.mean(np.round(kept) == stars)),
    }


def compare(notebook: Path, folder: Path, architecture: str, seed: int, epochs: int) -> dict[str, Any]:
    """Both run, and what their best weights say of the test rows."""
    printed = run_notebook(notebook, folder, architecture, seed, epochs)
    data = load_dataset("goodbooks-10k", ratings=folder / "train-df.csv", ids="catalogue")
    settings = TrainSettings(
        model=OURS[architecture], recipe="notebook", seed=seed,
        split={"kind": "files"}, ids="catalogue", settings={"epochs": epochs},
    )  # fmt: skip
    prepared, _ = prepare(data, settings, valid_ratings=folder / "valid-df.csv", test_ratings=folder / "test-df.csv")
    embedding = read_embedding(folder / EMBEDDING, data.catalogue, "catalogue")
    config, loop = settings.parsed()
    fitted = fit(config, prepared, Lab(BookFeatures.of(data.catalogue, embedding), seed, loop))
    model = fitted.model
    assert isinstance(model, NotebookModel)
    test = prepared.ratings.where(prepared.parts == TEST)
    assert (prepared.parts == TRAIN).sum() == len(data.ratings.frame)
    ours = predict(model, test.user_idx, test.item_idx)
    theirs_state = torch.load(folder / f"{architecture}-{seed}-{epochs}.pt", weights_only=True)
    for name, values in theirs_state.items():
        start = next(start for start in NAMES if name.startswith(start))
        side, _, rest = (NAMES[start] + name.removeprefix(start)).partition(".")
        target = dict(getattr(model, side).named_parameters())[rest]
        target.data.copy_(values)
    theirs = predict(model, test.user_idx, test.item_idx)
    stated = re.search(r"TEST .*: Loss ([\d.]+) Hit acc ([\d.]+)", printed)
    assert stated is not None
    return {
        "architecture": architecture,
        "seed": seed,
        "notebook_stated": {"mse": float(stated[1]), "hit": float(stated[2])},
        "notebook": scores(theirs, test.stars),
        "ours": scores(ours, test.stars),
        "mean_difference": float(np.abs(ours - theirs).mean()),
        "same_rounded": float(100 * np.mean(np.round(ours) == np.round(theirs))),
        "valid_mse": [entry["valid_mse"] for entry in fitted.history],
        "notebook_valid_mse": [float(x) for x in re.findall(r"Valid: Epoch: \S+ Loss: ([\d.]+)", printed)],
    }


@torch.inference_mode()
def predict(model: NotebookModel, user_idx: np.ndarray, item_idx: np.ndarray) -> np.ndarray:
    """Stars of N pairs, unclipped."""
    rows = model.readers(torch.from_numpy(user_idx.astype(np.int64)))
    found: np.ndarray = model.books(rows, torch.from_numpy(item_idx.astype(np.int64))).numpy()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "shelfwise-notebook")
    arguments = parser.parse_args()
    if not (arguments.out / FILES[0]).exists():
        copy_with_catalogue_ids(arguments.folder, arguments.out)
    found = []
    print("model  seed  the notebook's MSE, hit %   ours            ours on the scale   mean |difference|, stars")
    for architecture in arguments.models:
        for seed in arguments.seeds:
            one = compare(arguments.notebook, arguments.out, architecture, seed, arguments.epochs)
            found.append(one)
            ours, theirs = one["ours"], one["notebook_stated"]
            print(
                f"{architecture:7}{seed:4}  {theirs['mse']:15.4f} {theirs['hit']:6.2f}   {ours['mse']:10.4f} "
                f"{ours['hit']:6.2f}   {ours['mse_on_scale']:9.4f} {ours['hit_on_scale']:6.2f}"
                f"   {one['mean_difference']:15.4f}",
                flush=True,
            )
            (arguments.out / "notebook.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
