"""The bias model: known answers, and the figure that it was measured with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from worlds import make_ratings

from shelfwise.data.prepare import prepare
from shelfwise.data.scale import Scale
from shelfwise.data.sources import load_dataset
from shelfwise.data.split import OwnFiles
from shelfwise.data.tables import find_table, read_table
from shelfwise.evaluation.protocol import Exam, measure_stars
from shelfwise.experiment import TrainSettings
from shelfwise.features.vectors import BookFeatures
from shelfwise.lab import Lab, choose, fit
from shelfwise.models.bias import Bias, BiasConfig
from shelfwise.models.contract import FitInputs

ROWS = [(0, 0, 5.0), (0, 1, 3.0), (1, 0, 4.0), (1, 2, 2.0), (2, 1, 1.0), (2, 2, 1.0), (2, 0, 2.0)]


def test_biases_solve_their_equations() -> None:
    inputs = FitInputs(make_ratings(ROWS, 3, 4))
    model = Bias.fit(BiasConfig(reader_shrinkage=2, book_shrinkage=3), inputs)
    reader = model.fold_in(inputs.train.shelves()).arrays["bias"]
    mean = np.mean([stars for _, _, stars in ROWS])
    assert model.mean == pytest.approx(mean)
    for book in range(4):
        beyond = [stars - mean - reader[u] for u, i, stars in ROWS if i == book]
        assert model.book_bias[book] == pytest.approx(sum(beyond) / (len(beyond) + 3), abs=1e-3)
    for u in range(3):
        beyond = [stars - mean - model.book_bias[i] for v, i, stars in ROWS if v == u]
        assert reader[u] == pytest.approx(sum(beyond) / (len(beyond) + 2), abs=1e-6)


def test_biases_by_hand() -> None:
    """One book, two readers with 5 and 1 stars: the mean is 3, the book is as good as that, so readers get it all."""
    train = make_ratings([(0, 0, 5.0), (1, 0, 1.0)], 2, 1)
    model = Bias.fit(BiasConfig(reader_shrinkage=1, book_shrinkage=1), FitInputs(train))
    assert model.mean == 3
    assert model.book_bias.tolist() == [0]
    readers = model.fold_in(train.shelves())
    assert readers.arrays["bias"].tolist() == [1, -1]  # (5 - 3) / (1 + 1)
    assert model.stars(readers, np.array([0, 1, 0]), np.array([0, 0, -1], np.int32)).tolist() == [4, 2, 4]


def test_one_reader_and_one_book_share_what_is_left_by_their_shrinkage() -> None:
    """b_i = (r - b_u) / (1 + k) and b_u = (r - b_i) / (1 + l), so b_i = r l / (k + l + k l), with r beyond the mean."""
    train = make_ratings([(0, 0, 5.0), (1, 1, 1.0)], 2, 2)
    model = Bias.fit(BiasConfig(reader_shrinkage=2, book_shrinkage=3), FitInputs(train))
    reader = model.fold_in(train.shelves()).arrays["bias"]
    assert model.book_bias == pytest.approx([2 * 2 / 11, -2 * 2 / 11], abs=1e-3)
    assert reader == pytest.approx([2 * 3 / 11, -2 * 3 / 11], abs=1e-3)


def test_without_shrinkage_stars_that_are_sums_are_explained_in_full() -> None:
    rows = [(u, i, 3.0 + (u - 1) * 0.5 + (i - 1) * 0.25) for u in range(3) for i in range(3)]
    train = make_ratings(rows, 3, 3, Scale(1, 5, 0.25))
    model = Bias.fit(BiasConfig(reader_shrinkage=0, book_shrinkage=0), FitInputs(train))
    assert model.scores(model.fold_in(train.shelves())).ravel() == pytest.approx([s for *_, s in rows], abs=1e-3)


def test_endless_shrinkage_leaves_the_mean() -> None:
    inputs = FitInputs(make_ratings(ROWS, 3, 4))
    model = Bias.fit(BiasConfig(reader_shrinkage=1e9, book_shrinkage=1e9), inputs)
    readers = model.fold_in(inputs.train.shelves())
    assert model.scores(readers) == pytest.approx(np.full((3, 4), model.mean), abs=1e-5)


@pytest.mark.real_data
def test_the_measured_error_comes_out_on_the_rows_it_was_measured_on(goodbooks: Path, tmp_path: Path) -> None:
    found = find_table(goodbooks, "ratings")
    assert found is not None
    # The shuffle of the source notebook: pandas' sample(frac=1, random_state=0) is this permutation.
    ratings = read_table(found)
    ratings = ratings.unique(["user_id", "book_id"], keep="first", maintain_order=True)
    order = np.random.RandomState(0).permutation(len(ratings))
    shuffled, n = ratings[order.tolist()], len(ratings)
    cuts = {"train": (0, 0.7), "valid": (0.7, 0.9), "test": (0.9, 1)}
    files = {}
    for name, (low, high) in cuts.items():
        files[name] = tmp_path / f"{name}.csv"
        shuffled[int(low * n) : int(high * n)].write_csv(files[name])
    data = load_dataset(goodbooks, ratings=files["train"])
    settings = TrainSettings(model="bias", split=OwnFiles())
    prepared, _ = prepare(data, settings, valid_ratings=files["valid"], test_ratings=files["test"])
    config, loop = settings.parsed()
    lab = Lab(BookFeatures.of(data.catalogue), settings.seed, loop)
    exam = Exam(prepared.ratings, prepared.parts, lab.features)
    assert len(exam.target) == 97_948
    assert measure_stars(fit(choose(config, prepared, lab).config, prepared, lab).model, exam) == pytest.approx(
        0.6993, abs=0.002
    )
