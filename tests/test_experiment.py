"""What is held out teaches nothing, and what is reported is what is measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_world import N_BOOKS, N_READERS, Row, rows_of_a_world, train_on, write_ratings, write_rows, write_world

from shelfwise import lab
from shelfwise.artifact import Run, load_run, save_run
from shelfwise.data.scale import Scale
from shelfwise.data.sources import load_dataset
from shelfwise.data.split import GIVEN_VALID, TEST, TRAIN, VALID
from shelfwise.errors import BadValueError, MissingDataError
from shelfwise.evaluation.report import Result
from shelfwise.experiment import OtherFiles, TrainSettings, prepared_of, provenance
from shelfwise.experiment import evaluate as evaluate_run
from shelfwise.lab import BASELINES
from shelfwise.models.contract import FitInputs

FIXED = {"reader_shrinkage": 2.0, "book_shrinkage": 4.0}
SPLITS: list[dict[str, Any]] = [
    {"kind": "random", "seed": 1},
    {"kind": "leave-k-out", "k": 2},
    {"kind": "new-readers", "valid": 0.3, "test": 0.3, "given": 5},
    {"kind": "new-books", "valid": 0.3, "test": 0.3},
    {"kind": "row-order"},
]


def evaluate(run: Run, **files: Any) -> list[Result]:
    return evaluate_run(run, **files).results


def parts_of(run: Run) -> dict[tuple[int, int], int]:
    """The part of each (user_id, book_id)."""
    users = run.readers.take(run.shelves.rows).to_list()
    books = run.catalogue.vocabulary.take(run.shelves.item_idx).to_list()
    return dict(zip(zip(users, books, strict=True), run.parts.tolist(), strict=True))


def with_stars_permuted(rows: list[Row], wanted: Callable[[Row], bool]) -> list[Row]:
    """The same rows with the stars of the wanted ones in another order (each moved to the next place)."""
    places = [place for place, row in enumerate(rows) if wanted(row)]
    stars = [rows[place][2] for place in places]
    changed = list(rows)
    for place, value in zip(places, stars[1:] + stars[:1], strict=True):
        changed[place] = (*rows[place][:2], value)
    assert changed != rows
    assert sorted(map(str, changed)) != sorted(map(str, rows))
    return changed


def assert_same_model(a: Run, b: Run) -> None:
    assert a.model.config == b.model.config
    assert a.model.book_state().keys() == b.model.book_state().keys()
    for name, array in a.model.book_state().items():
        np.testing.assert_array_equal(array, b.model.book_state()[name])


def results_of(run: Run) -> list[Result]:
    return [Result.model_validate(result) for result in run.report["results"]]


def without_seconds(results: list[Result]) -> list[dict[str, Any]]:
    return [result.model_dump(exclude={"fit_seconds", "measure_seconds"}) for result in results]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_on(write_world(tmp_path_factory.mktemp("world")))


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split["kind"])
def test_stars_of_the_test_part_change_no_model_and_no_chosen_setting(tmp_path: Path, split: dict[str, Any]) -> None:
    rows = rows_of_a_world(n_readers=30)
    before = train_on(write_world(tmp_path / "a", rows), split=split)
    parts = parts_of(before)
    changed = with_stars_permuted(rows, lambda row: parts[(row[0], row[1])] == TEST)
    after = train_on(write_world(tmp_path / "b", changed), split=split)
    assert parts_of(after) == parts
    assert_same_model(before, after)
    assert len(before.report["tried"]) > 1
    assert before.report["tried"] == after.report["tried"]
    assert without_seconds(results_of(before)) != without_seconds(results_of(after))


# Settings with which validation has nothing to choose.
ALL_FIXED: dict[str, dict[str, Any]] = {
    "bias": FIXED,
    "popularity": {},
    "global-mean": {},
    "hybrid": {"epochs": 1, "embedding_dim": 4},
    "shelf": {"epochs": 1, "taste": 1.0, "about_dim": 4, "coreading_dim": 4},
}


@pytest.mark.parametrize("model", ALL_FIXED)
def test_stars_of_the_validation_part_change_no_weight_at_fixed_settings(tmp_path: Path, model: str) -> None:
    settings = {"model": model, "settings": ALL_FIXED[model]}
    rows = rows_of_a_world()
    before = train_on(write_world(tmp_path / "a", rows), **settings)
    parts = parts_of(before)
    valid = with_stars_permuted(rows, lambda row: parts[(row[0], row[1])] == VALID)
    assert_same_model(before, train_on(write_world(tmp_path / "b", valid), **settings))
    train = with_stars_permuted(rows, lambda row: parts[(row[0], row[1])] == TRAIN)
    if model not in ("popularity", "global-mean"):
        with pytest.raises(AssertionError):
            assert_same_model(before, train_on(write_world(tmp_path / "c", train), **settings))


def test_the_chosen_setting_has_the_least_error_on_validation(run: Run) -> None:
    errors = [entry["valid_mse"] for entry in run.report["tried"]]
    best = run.report["tried"][int(np.argmin(errors))]["settings"]
    assert run.model.config.model_dump(mode="json") == best
    assert len(errors) == len({str(entry["settings"]) for entry in run.report["tried"]}) == 12


def test_the_order_of_rows_changes_nothing(run: Run, tmp_path: Path) -> None:
    other = train_on(write_world(tmp_path, rows_of_a_world()[::-1]))
    assert parts_of(other) == parts_of(run)
    assert other.model.config == run.model.config
    np.testing.assert_allclose(other.model.book_state()["book_bias"], run.model.book_state()["book_bias"], atol=1e-6)


def test_the_report_has_the_model_first_and_every_baseline_once_on_the_same_rows(run: Run) -> None:
    results = results_of(run)
    assert [result.model for result in results] == ["bias", *(name for name in BASELINES if name != "bias")]
    assert {result.part for result in results} == {"test"}
    assert {result.measures.stars["n"] for result in results} == {int((run.parts == TEST).sum())}


def test_final_refits_on_everything_after_the_report(run: Run, tmp_path: Path) -> None:
    final = train_on(write_world(tmp_path), final=True)
    assert without_seconds(results_of(final)) == without_seconds(results_of(run))
    assert final.model.config == run.model.config
    assert set(final.parts.tolist()) == {TRAIN}
    assert int(final.model.book_counts.sum()) == len(rows_of_a_world())
    assert int(run.model.book_counts.sum()) == int((run.parts == TRAIN).sum())
    with pytest.raises(MissingDataError, match="no test ratings"):
        evaluate(final)


NETWORK = {"model": "ncf", "settings": {"embedding_dim": 8, "epochs": 3, "batch_size": 32}}


def test_a_network_is_fitted_chosen_and_refitted_without_the_test_part(tmp_path: Path) -> None:
    rows = rows_of_a_world(n_readers=30)
    before = train_on(write_world(tmp_path / "a", rows), **NETWORK)
    parts = parts_of(before)
    changed = with_stars_permuted(rows, lambda row: parts[(row[0], row[1])] == TEST)
    after = train_on(write_world(tmp_path / "b", changed), **NETWORK)
    assert_same_model(before, after)
    errors = [[epoch["valid_mse"] for epoch in history_of(run)] for run in (before, after)]
    assert errors[0] == errors[1]
    assert without_seconds(results_of(before)) != without_seconds(results_of(after))


def history_of(run: Run) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    history: list[dict[str, Any]] = json.loads(run.documents["history.json"], parse_constant=refuse)
    return history


def test_the_history_is_json_and_has_a_plot_with_and_without_validation(tmp_path: Path) -> None:
    world, train, _, files = own_files(tmp_path)
    split = {"split": {"kind": "files"}}
    for others, measured in ((OtherFiles(files["valid"]), True), (OtherFiles(test_ratings=files["test"]), False)):
        run = train_on(world, ratings=train, files=others, **NETWORK, **split)
        history = history_of(run)
        assert history[0]["epoch"] == 1
        assert all((epoch["valid_mse"] is not None) == measured for epoch in history)
        assert run.documents["loss.png"].startswith(b"\x89PNG")


def spy_on_fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, FitInputs]]:
    """The loop settings and inputs of every fit from here on."""
    seen: list[tuple[Any, FitInputs]] = []
    fit_model = lab.fit_model

    def spy(config: Any, loop: Any, inputs: FitInputs, checkpoint: Any = None) -> Any:
        seen.append((loop, inputs))
        return fit_model(config, loop, inputs, checkpoint)

    monkeypatch.setattr(lab, "fit_model", spy)
    return seen


def test_a_refit_of_a_network_takes_as_many_epochs_as_were_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = spy_on_fits(monkeypatch)
    run = train_on(write_world(tmp_path), **NETWORK, final=True)
    errors = [epoch["valid_mse"] for epoch in history_of(run)]
    assert int(np.argmin(errors)) > 0, "choose settings at which the first epoch is not the best"
    assert fits[0][0].stop_after is None
    assert fits[-1][0].stop_after == int(np.argmin(errors)) + 1
    assert len(fits[-1][1].train) == len(rows_of_a_world())


def test_the_shelves_of_new_readers_are_given_for_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = spy_on_fits(monkeypatch)
    split = {"kind": "new-readers", "valid": 0.3, "test": 0.3, "given": 5}
    run = train_on(write_world(tmp_path, rows_of_a_world(n_readers=30)), settings=FIXED, split=split)
    inputs = fits[0][1]
    assert inputs.given is not None
    assert inputs.valid is not None
    assert [len(inputs.train), len(inputs.valid), len(inputs.given)] == [
        int((run.parts == part).sum()) for part in (TRAIN, VALID, GIVEN_VALID)
    ]
    assert len(inputs.given)


def test_the_signature_tells_everything_that_decides_a_run(tmp_path: Path) -> None:
    world, train, _, files = own_files(tmp_path)
    data = load_dataset(world, ratings=train)
    settings = TrainSettings.parse({"model": "bias", "split": {"kind": "files"}})
    embedding = write_rows(tmp_path / "embedding.csv", "book_id,a", [(book, book) for book in range(1, N_BOOKS + 1)])
    others = [
        OtherFiles(),
        OtherFiles(valid_ratings=files["valid"]),
        OtherFiles(test_ratings=files["valid"]),
        OtherFiles(valid_ratings=files["test"]),
        OtherFiles(files["valid"], files["test"]),
        OtherFiles(embedding=embedding),
        OtherFiles(embedding=embedding, embedding_ids="catalogue"),
    ]
    signatures = {provenance(data, settings, files)["signature"] for files in others}
    for changed in (
        provenance(data, settings.model_copy(update={"seed": 1}), OtherFiles()),
        provenance(load_dataset(world), settings, OtherFiles()),
        provenance(load_dataset(world, ratings=train, scale=Scale(1, 10)), settings, OtherFiles()),
    ):
        signatures.add(changed["signature"])
    assert len(signatures) == len(others) + 3
    copy = write_world(tmp_path / "a copy", [(1, 1, 1)])
    again = provenance(load_dataset(copy, ratings=train), settings, OtherFiles())
    assert again["signature"] == provenance(data, settings, OtherFiles())["signature"]
    with pytest.raises(MissingDataError, match=r"nowhere\.csv"):
        provenance(data, settings, OtherFiles(valid_ratings=tmp_path / "nowhere.csv"))


def test_a_run_keeps_what_it_was_made_from(tmp_path: Path) -> None:
    world, train, _, files = own_files(tmp_path)
    others = OtherFiles(files["valid"], files["test"])
    run = train_on(world, ratings=train, files=others, split={"kind": "files"})
    assert run.data["fingerprint"] == load_dataset(world, ratings=train).fingerprint
    digests = {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in ("valid", "test")}
    assert run.data["other_files"] == {f"{name}_ratings": digest for name, digest in digests.items()}


# The user's own files.


def own_files(folder: Path) -> tuple[Path, Path, dict[str, list[Row]], dict[str, Path]]:
    """A world, its training file, and the rows and files of the parts."""
    rows = rows_of_a_world()
    parts = {"train": rows[::3] + rows[1::3], "valid": rows[2::6], "test": rows[5::6]}
    files = {name: write_ratings(folder / f"{name}.csv", part) for name, part in parts.items()}
    return write_world(folder / "world", [(1, 1, 1)]), files["train"], parts, files


def test_what_was_chosen_on_a_part_of_the_training_file_is_fitted_on_all_of_it(tmp_path: Path) -> None:
    world, train, parts, files = own_files(tmp_path)
    others = OtherFiles(test_ratings=files["test"])
    run = train_on(world, ratings=train, files=others, split={"kind": "files", "valid_from_train": 0.2})
    assert len(run.report["tried"]) == 12
    assert int(run.model.book_counts.sum()) == len(parts["train"])
    assert VALID not in set(run.parts.tolist())
    fixed = {name: getattr(run.model.config, name) for name in FIXED}
    alone = train_on(world, ratings=train, files=others, split={"kind": "files"}, settings=fixed)
    assert_same_model(run, alone)
    assert without_seconds(results_of(run)[:1]) == without_seconds(results_of(alone)[:1])


def test_a_validation_file_selects_and_is_not_fitted(tmp_path: Path) -> None:
    world, train, parts, files = own_files(tmp_path)
    run = train_on(world, ratings=train, files=OtherFiles(files["valid"], files["test"]), split={"kind": "files"})
    assert len(run.report["tried"]) == 12
    assert int(run.model.book_counts.sum()) == len(parts["train"])
    assert [int((run.parts == part).sum()) for part in (TRAIN, VALID, TEST)] == [len(part) for part in parts.values()]


def test_a_pair_in_two_files_counts_in_train_before_test_and_in_test_before_validation(tmp_path: Path) -> None:
    rows = [row for row in rows_of_a_world() if row[:2] not in {(1, 1), (2, 2), (3, 3)}]
    files = {
        "train": write_ratings(tmp_path / "train.csv", [*rows, (1, 1, 5)]),
        "valid": write_ratings(tmp_path / "valid.csv", [(1, 1, 1), (2, 2, 1), (3, 3, 3)]),
        "test": write_ratings(tmp_path / "test.csv", [(1, 1, 2), (2, 2, 2)]),
    }
    run = train_on(
        write_world(tmp_path / "world"),
        ratings=files["train"],
        files=OtherFiles(files["valid"], files["test"]),
        split={"kind": "files"},
    )
    parts = parts_of(run)
    assert (parts[(1, 1)], parts[(2, 2)], parts[(3, 3)]) == (TRAIN, TEST, VALID)
    prepared = prepared_of(run)
    stars = dict(zip(parts, prepared.ratings.stars.tolist(), strict=True))
    assert (stars[(1, 1)], stars[(2, 2)], stars[(3, 3)]) == (5, 2, 3)


# Measuring again.


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split["kind"])
def test_evaluate_measures_what_the_report_says(tmp_path: Path, split: dict[str, Any]) -> None:
    world = write_world(tmp_path / "world", rows_of_a_world(n_readers=30))
    run = train_on(world, split=split)
    save_run(run, tmp_path / "run")
    for again in (run, load_run(tmp_path / "run")):
        measured = without_seconds(evaluate(again))
        for mine, reported in zip(measured, without_seconds(results_of(run)), strict=True):
            assert mine.keys() == reported.keys()
            assert mine["settings"] == reported["settings"]
            for name, value in reported["measures"]["stars"].items():
                assert mine["measures"]["stars"][name] == pytest.approx(value, rel=1e-6), name
            for name, value in reported["measures"]["ranking"].items():
                assert mine["measures"]["ranking"][name] == pytest.approx(value, rel=1e-6), name


def test_evaluate_on_the_test_rows_in_a_file_measures_the_same(run: Run, tmp_path: Path) -> None:
    parts = parts_of(run)
    rows = [row for row in rows_of_a_world() if parts[(row[0], row[1])] == TEST]
    file = write_ratings(tmp_path / "test.csv", rows)
    assert without_seconds(evaluate(run, test_ratings=file)) == without_seconds(evaluate(run))


def test_rows_that_were_trained_on_are_no_test(run: Run, tmp_path: Path) -> None:
    parts = parts_of(run)
    file = write_ratings(tmp_path / "all.csv", rows_of_a_world())
    measured = evaluate(run, test_ratings=file)[0].measures.stars["n"]
    assert measured == sum(part != TRAIN for part in parts.values())
    trained = write_ratings(tmp_path / "train.csv", [r for r in rows_of_a_world() if parts[(r[0], r[1])] == TRAIN])
    with pytest.raises(MissingDataError, match="no test ratings"):
        evaluate(run, test_ratings=trained)


def test_a_new_reader_is_measured_by_the_shelf_that_is_given(run: Run, tmp_path: Path) -> None:
    harsh = [("harsh", book, 1) for book in range(1, 11)]
    test = write_ratings(tmp_path / "test.csv", [("harsh", book, 1) for book in range(11, N_BOOKS + 1)])
    shelf = write_ratings(tmp_path / "shelf.csv", harsh)
    without, with_shelf = (evaluate(run, test_ratings=test, shelf=s)[0].measures for s in (None, shelf))
    assert list(without.segments["basis"]) == ["book"]
    assert list(with_shelf.segments["basis"]) == ["reader+book"]
    assert with_shelf.stars["mse"] < without.stars["mse"]
    bias = with_shelf_by_hand(run, [1.0] * 10, range(10))
    state = run.model.book_state()
    expected = np.clip(state["mean"][0] + bias + state["book_bias"][10:], 1, 5)
    assert with_shelf.stars["mse"] == pytest.approx(float(((expected - 1) ** 2).mean()), rel=1e-4)


def with_shelf_by_hand(run: Run, stars: list[float], books: range) -> float:
    """A reader's bias by the formula of models.bias."""
    state = run.model.book_state()
    residual = [value - state["mean"][0] - state["book_bias"][book] for value, book in zip(stars, books, strict=True)]
    return float(sum(residual) / (len(residual) + run.model.config.reader_shrinkage))  # type: ignore[attr-defined]


def test_a_newer_rating_on_the_shelf_counts_in_measuring(run: Run, tmp_path: Path) -> None:
    parts = parts_of(run)
    mine = [row for row in rows_of_a_world() if row[0] == 1 and parts[(1, row[1])] == TRAIN]
    shelf = write_ratings(tmp_path / "shelf.csv", [(1, mine[0][1], 1 if int(str(mine[0][2])) > 2 else 5)])
    before, after = evaluate(run), evaluate(run, shelf=shelf)
    assert after[0].measures.stars["n"] == before[0].measures.stars["n"]
    assert after[0].measures.stars["mse"] != before[0].measures.stars["mse"]
    assert after[1].model == "global-mean"


def test_what_is_given_of_the_test_part_is_no_longer_asked(run: Run, tmp_path: Path) -> None:
    parts = parts_of(run)
    tested = [row for row in rows_of_a_world() if parts[(row[0], row[1])] == TEST]
    shelf = write_ratings(tmp_path / "shelf.csv", tested[:2])
    assert evaluate(run, shelf=shelf)[0].measures.stars["n"] == len(tested) - 2


def test_new_readers_do_not_change_what_was_learned_about_others(tmp_path: Path) -> None:
    """A reader whose id comes first moves every index but those of the training."""
    settings = {"embedding_dim": 4, "epochs": 2, "adam_epochs": 2, "adam_learning_rate": 0.05, "batch_size": 16}
    run = train_on(write_world(tmp_path / "world"), model="mf", recipe="notebook", settings=settings)
    shelf = write_ratings(tmp_path / "shelf.csv", [(-7, 1, 5), (-7, 2, 1)])
    alone, with_others = evaluate(run)[0].measures, evaluate(run, shelf=shelf)[0].measures
    assert with_others.stars == pytest.approx(alone.stars)
    assert with_others.ranking == pytest.approx(alone.ranking)


def test_a_shelf_and_a_test_file_that_share_a_pair_do_not_tell_the_answer(run: Run, tmp_path: Path) -> None:
    test = write_ratings(tmp_path / "test.csv", [("new", 1, 1), ("new", 2, 1), ("new", 3, 1)])
    shelf = write_ratings(tmp_path / "shelf.csv", [("new", 1, 1), ("new", 9, 5)])
    assert evaluate(run, test_ratings=test, shelf=shelf)[0].measures.stars["n"] == 2


def test_stars_outside_the_scale_of_the_run_are_refused_in_test_files(run: Run, tmp_path: Path) -> None:
    with pytest.raises(BadValueError, match="not on the scale 1-5"):
        evaluate(run, test_ratings=write_ratings(tmp_path / "test.csv", [(1, 1, 9)]))


def test_a_test_part_nobody_liked_anything_in_has_no_list_measures_but_is_measured(run: Run, tmp_path: Path) -> None:
    results = evaluate(run, test_ratings=write_ratings(tmp_path / "test.csv", [("new", 1, 1)]))
    assert results[0].measures.stars["n"] == 1
    assert results[0].measures.ranking == {"n_readers": 0}


# Events.


def test_events_that_foretell_a_held_out_rating_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes up a book rates it later: such an event would tell a model which books are in the test."""
    rows = rows_of_a_world()
    rated = {(int(str(r)), int(str(b))) for r, b, _ in rows}
    everything = [(r, b) for r in range(1, N_READERS + 1) for b in range(1, N_BOOKS + 1)]
    fits = spy_on_fits(monkeypatch)
    run = train_on(write_world(tmp_path, rows, events=everything), settings=FIXED)
    parts = parts_of(run)
    inputs = fits[0][1]
    assert inputs.events is not None
    users, books = (values + 1 for values in inputs.events)
    used = set(zip(users.tolist(), books.tolist(), strict=True))
    assert used == {pair for pair in everything if pair not in rated or parts[pair] == TRAIN}
    assert len(run.events.item_idx) == len(everything)  # all are kept: they are left out of lists
    fits.clear()
    evaluate(run)
    assert fits
    for _, inputs in fits:
        assert inputs.events is not None
        users, books = (values + 1 for values in inputs.events)
        assert set(zip(users.tolist(), books.tolist(), strict=True)) == used
