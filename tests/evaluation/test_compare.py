"""Intervals, paired tests, segments and the cache of baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
from tiny_world import train_on as train_in_memory
from tiny_world import write_world
from worlds import make_features, make_ratings

from shelfwise import lab
from shelfwise.artifact import load_run, save_run
from shelfwise.data.shelves import Shelves
from shelfwise.data.split import TRAIN
from shelfwise.errors import UsageError
from shelfwise.evaluation import segments as segments_module
from shelfwise.evaluation.compare import compare
from shelfwise.evaluation.intervals import holm, paired_test, ratio_intervals
from shelfwise.evaluation.report import Report, spread
from shelfwise.evaluation.segments import segments
from shelfwise.experiment import compare_runs, evaluate


def test_intervals_hold_the_true_ratio_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        counts = rng.integers(1, 6, 150).astype(float)
        sums = counts * (2.0 + rng.normal(0, 1, 150))
        low, high = ratio_intervals(sums[:, None], counts[:, None])
        held += bool(low[0] <= 2.0 <= high[0])
    assert 180 <= held <= 199


def test_a_paired_test_of_one_row_a_reader_is_the_one_of_scipy() -> None:
    rng = np.random.default_rng(0)
    delta = rng.normal(0.05, 1, 2000)
    difference, low, high, p = paired_test(delta, np.ones(2000))
    other = scipy.stats.ttest_1samp(delta, 0)
    assert difference == pytest.approx(delta.mean())
    assert p == pytest.approx(other.pvalue, rel=0.02)
    assert (low, high) == pytest.approx(tuple(other.confidence_interval()), rel=0.02)
    assert paired_test(np.zeros(5), np.ones(5))[3] == 1.0
    assert np.isnan(paired_test(np.ones(1), np.ones(1))[3])


def test_two_equal_models_are_found_different_about_as_often_as_alpha_says() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(400):
        counts = rng.integers(1, 8, 200).astype(float)
        found += paired_test(rng.normal(0, 1, 200) * counts, counts)[3] < 0.05
    assert 8 <= found <= 36


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def frame(mse: list[float]) -> pl.DataFrame:
    n = len(mse)
    ones = [1.0] * n
    return pl.DataFrame({"user_id": range(n), "n": [2] * n, "mse": mse, "mae": mse, "hit": ones, "ndcg@10": ones})


def test_compare_names_the_better_model_and_says_when_nothing_was_shown() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(1, 2, 300)
    better, same = base - 0.3 + rng.normal(0, 0.1, 300), base + rng.normal(0, 0.1, 300)
    found = compare({"a": frame(base.tolist()), "b": frame(better.tolist()), "c": frame(same.tolist())})
    judged = {(d.metric, d.first, d.second): d.finding for d in found.differences}
    assert judged["mse", "a", "b"] == "b is better"
    assert judged["mse", "a", "c"] == "no difference shown"
    assert judged["hit", "a", "b"] == "no difference shown"
    assert found.values["mse"][0] == pytest.approx(base.sum() / 600)
    assert next(d.effect for d in found.differences if d.metric == "mse") > 1


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_segments_by_hand(readers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even books are by Eve, odd ones by Otto; books 0 and 2 are one series. Looked at by so many readers at once."""
    monkeypatch.setattr(segments_module, "READERS_AT_ONCE", readers)
    features = make_features(6)
    series = pl.Series("series", ["saga", None, "saga", None, None, None])
    catalogue = type(features.catalogue)(features.catalogue.books.with_columns(series), features.catalogue.tags)
    shelves = Shelves.build([0, 1, 1, 1, 1, 1], [0, 1, 0, 2, 3, 4], [5] * 6, 3)
    target = make_ratings([(0, 2, 4), (2, 0, 5), (0, 4, 3), (0, 1, 1), (1, 5, 2)], 3, 6)
    found = segments(target, shelves, catalogue, np.array([0, 1, 19, 20, 700, 3], dtype=np.int32))
    named = {kind: [s.labels[c] for c in s.codes] for kind, s in found.items()}
    assert named["shelf"] == ["same series", "neither", "same author", "neither", "same author"]
    assert named["history"] == ["1-4", "0", "1-4", "1-4", "5-19"]
    assert named["book ratings"] == ["1-19", "0", "500+", "1-19", "1-19"]


def train_on(world: Path, out: Path, *, model: str, seed: int = 0) -> None:
    split = {"kind": "random", "seed": seed}
    save_run(train_in_memory(world, model=model, seed=seed, split=split), out)


def test_runs_compare_only_on_the_same_rows(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world")
    for name, model, seed in (("a", "bias", 0), ("b", "item-knn", 0), ("c", "bias", 1)):
        train_on(world, tmp_path / name, model=model, seed=seed)
    found = compare_runs([tmp_path / "a", tmp_path / "b"])
    assert found.runs == ["bias", "item-knn"]
    with pytest.raises(UsageError, match="different rows"):
        compare_runs([tmp_path / "a", tmp_path / "c"])
    with pytest.raises(UsageError, match="one run alone"):
        compare_runs([tmp_path / "a", tmp_path / "a"])


def test_baselines_are_fitted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = write_world(tmp_path / "world")
    monkeypatch.setenv("SHELFWISE_CACHE", str(tmp_path / "cache"))
    fitted: list[str] = []
    real = lab.fit

    def counted(config: Any, *args: Any) -> Any:
        fitted.append(config.kind)
        return real(config, *args)

    monkeypatch.setattr(lab, "fit", counted)
    train_on(world, tmp_path / "a", model="global-mean")
    assert "ease" in fitted
    fitted.clear()
    train_on(world, tmp_path / "b", model="global-mean")
    assert set(fitted) <= {"global-mean"}
    kept = next((tmp_path / "cache").rglob("ease.json"))
    kept.write_text("{")
    train_on(world, tmp_path / "c", model="global-mean")
    assert fitted.count("ease") == 2
    fitted.clear()
    evaluate(load_run(tmp_path / "c"))
    assert not fitted, "the rows of a run are in another order than those of the file"


# Protocols.


def test_a_report_over_seeds_holds_each_seed_and_their_spread(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world")
    run = train_in_memory(world, model="bias", seeds=3)
    report = Report.model_validate(run.report)
    assert [repeat.seed for repeat in report.repeats] == [0, 1, 2]
    errors = [repeat.results[0].measures.stars["mse"] for repeat in report.repeats]
    assert len(set(errors)) == 3
    alone = train_in_memory(world, model="bias", seed=2, split={"kind": "random", "seed": 2})
    assert errors[2] == pytest.approx(Report.model_validate(alone.report).results[0].measures.stars["mse"])
    mean, deviation = spread(report.repeats)["bias"]["mse"]
    assert mean == pytest.approx(np.mean(errors))
    assert deviation == pytest.approx(np.std(errors, ddof=1))
    assert spread(report.repeats)["bias"]["mse / bias"] == (1.0, 0.0)


def test_of_new_books_only_what_is_known_before_is_known(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world")
    books = pl.read_csv(world / "books.csv").with_columns(
        average_rating=pl.lit(4.5), ratings_count=pl.lit(1000), subjects=pl.lit("sea;ships")
    )
    books.write_csv(world / "books.csv")
    for tags in (True, False):
        run = train_in_memory(world, split={"kind": "new-books", "valid": 0.3, "test": 0.3, "tags": tags})
        held_out = np.asarray(run.shelves.item_idx)[np.asarray(run.parts) != TRAIN]
        new = np.bincount(held_out, minlength=len(run.catalogue)) > 0
        assert new.any()
        assert not new.all()
        known = run.catalogue.books
        assert known.filter(new)["outside_mean"].is_null().all()
        assert known.filter(new)["outside_count"].is_null().all()
        assert known.filter(~new)["outside_mean"].is_not_null().all()
        assert known.filter(new)["subjects"].is_null().all() == (not tags)
        assert known.filter(~new)["subjects"].is_not_null().all()
        assert known["title"].is_not_null().all()
