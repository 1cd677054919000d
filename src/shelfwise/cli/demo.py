"""shelfwise demo: the whole road once, on the best data at hand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

from shelfwise.artifact import check_place, load_run, save_run
from shelfwise.cli.console import command_line, print_table, progress, say
from shelfwise.cli.serve import serve
from shelfwise.cli.tables import show_audit, show_report
from shelfwise.data.catalogue import Catalogue, plain
from shelfwise.data.fetch import data_set, fetch
from shelfwise.data.sources import SAMPLE, load_dataset, locate
from shelfwise.data.vocabulary import Id
from shelfwise.errors import FetchError, MissingDataError, OutputError
from shelfwise.evaluation.report import Report
from shelfwise.experiment import TrainSettings, train
from shelfwise.recommender import Recommender

DATA_SET = "goodbooks-10k"
# A new reader: books that both goodbooks-10k and the sample hold.
NEW_READER = {"Frankenstein": 5, "Dracula": 5, "The Time Machine": 4, "Pride and Prejudice": 2, "Little Women": 1}


def demo(
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="A data set. [default: goodbooks-10k, else the sample]")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the run.")] = Path("runs/demo"),
    and_serve: Annotated[bool, typer.Option("--serve", help="Go on to serve the run, on this machine.")] = False,
) -> None:
    """Get data, audit it, train, report, and recommend to a known and to a new reader."""
    check_place(out, overwrite=True)  # before the work, not after it
    name = data or _find_data()
    loaded = load_dataset(name)
    say(f"data: {loaded.edition}, from {loaded.folder}")
    if loaded.edition == SAMPLE:
        say("the sample's readers are simulated: its figures say nothing about quality")
    with progress() as on_progress:
        run = train(loaded, TrainSettings(), command=command_line(), on_progress=on_progress)
    report = Report.model_validate(run.report)
    show_audit(report.audit)
    show_report(report)
    save_run(run, out, overwrite=True)
    say(f"saved {out}")
    recommender = Recommender(load_run(out))
    _show_known_reader(recommender)
    _show_new_reader(recommender)
    if and_serve:
        serve([out])
    else:
        say(f"the same over HTTP: shelfwise serve {out}")


def _find_data() -> str:
    """goodbooks-10k if it is here or can be downloaded, else the sample; says which."""
    target = Path("data") / DATA_SET
    with suppress(MissingDataError):
        place = locate(DATA_SET)
        if place != target or not _broken_off(target):
            say(f"found {place}")
            return DATA_SET
    say(f"{DATA_SET} is not here: downloading it to {target}")
    try:
        with progress() as on_progress:
            fetch(DATA_SET, target, on_progress=lambda file, done, total: on_progress(file, done, total or 0))
        return DATA_SET
    except (FetchError, OutputError) as error:
        say(f"no download: {error.message}")
        say("using the sample shipped with shelfwise instead")
        return "sample"


def _broken_off(folder: Path) -> bool:
    """Whether this is what a download left that did not come to its end."""
    if not folder.is_dir():
        return False
    there = {file.name for file in folder.iterdir()}
    whole = there & data_set(DATA_SET).files.keys()
    parts = there - whole
    return parts <= {f"{file}.part" for file in data_set(DATA_SET).files} and (
        bool(parts) or "ratings.csv" not in whole
    )


def _show_known_reader(recommender: Recommender) -> None:
    """The favourites and the list of the first reader with a shelf of at least 20 ratings, or of the longest."""
    run = recommender.run
    long = np.flatnonzero(run.shelves.lengths >= min(20, run.shelves.lengths.max()))
    reader = run.readers.take(long[:1])
    shelf = run.shelves.take(long[:1])
    best = np.argsort(-shelf.stars, kind="stable")[:5]
    liked = zip(run.catalogue.titles(pl.Series(shelf.item_idx[best])), shelf.stars[best], strict=True)
    name = f"reader {reader[0]}"
    print_table(
        f"{name} rated {len(shelf.stars)} books; the best of them",
        ("title", "stars"),
        [(t, f"{s:g}") for t, s in liked],
    )
    _show_list(recommender.recommend(reader[0]), f"What {name} could read next")


def _show_new_reader(recommender: Recommender) -> None:
    """A reader the run has never seen, given by five ratings."""
    catalogue = recommender.run.catalogue
    ratings = demo_ratings(catalogue)
    titles = catalogue.titles(pl.Series(catalogue.vocabulary.find([book for book, _ in ratings])))
    rows = [(title, f"{stars:g}") for title, (_, stars) in zip(titles, ratings, strict=True)]
    print_table("A new reader, given by five ratings", ("title", "stars"), rows)
    _show_list(recommender.recommend(ratings=ratings), "What this new reader could read next")


def demo_ratings(catalogue: Catalogue) -> list[tuple[Id, float]]:
    """NEW_READER's books by title, filled up with the catalogue's first books where one is missing."""
    place = {plain(title.split("(")[0]): i for i, title in reversed(list(enumerate(catalogue.books["title"])))}
    found = [(place[plain(title)], float(stars)) for title, stars in NEW_READER.items() if plain(title) in place]
    others = [i for i in range(len(catalogue)) if i not in dict(found)]
    found += [(i, float(stars)) for i, stars in zip(others, list(NEW_READER.values())[len(found) :], strict=False)]
    return [(catalogue.vocabulary.ids[i], stars) for i, stars in found]


def _show_list(frame: pl.DataFrame, title: str) -> None:
    rows = frame.select("rank", pl.col("book_id").cast(pl.String), "title", "stars").iter_rows()
    print_table(title, ("rank", "book_id", "title", "expected stars"), ((*row[:3], f"{row[3]:.2f}") for row in rows))
