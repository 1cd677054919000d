"""Ids in, books and stars out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import N_BOOKS, TAGS, rows_of_a_world, train_on, write_ratings, write_rows, write_world

from shelfwise.data.shelves import Shelves
from shelfwise.data.split import TRAIN
from shelfwise.data.vocabulary import Id
from shelfwise.errors import AmbiguousIdsError, BadValueError, DataError, FormatError, UnknownBookError, UsageError
from shelfwise.experiment import OtherFiles
from shelfwise.recommender import NEW_READER, Recommender
from shelfwise.rules import Rules

READER = 3
LIST_COLUMNS = ["user_id", "rank", "book_id", "title", "score", "stars"]


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return Recommender(train_on(write_world(tmp_path_factory.mktemp("world"))))


def rated_by(reader: Id) -> set[int]:
    return {int(str(book)) for user, book, _ in rows_of_a_world() if user == reader}


def pairs(*rows: tuple[object, object]) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [r for r, _ in rows], "book_id": [b for _, b in rows]}, strict=False)


def stars_of(recommender: Recommender, reader: Id, ratings: list[tuple[Id, float]]) -> np.ndarray:
    """Stars of every book for a reader with these ratings."""
    shelf = recommender.shelf_of([(NEW_READER, 0)] if ratings is None else ratings)
    frame = pairs(*((NEW_READER, book) for book in range(1, N_BOOKS + 1)))
    return recommender.predict(frame, shelf)["stars"].to_numpy()


# Lists.


def test_a_known_reader_gets_the_best_of_what_was_not_rated(recommender: Recommender) -> None:
    books = recommender.recommend(READER, n=5)
    assert books.columns == LIST_COLUMNS
    assert books["rank"].to_list() == [1, 2, 3, 4, 5]
    assert books["user_id"].to_list() == [READER] * 5
    assert books["score"].is_sorted(descending=True)
    assert not set(books["book_id"]) & rated_by(READER)
    everything = recommender.recommend(READER, n=N_BOOKS)
    assert set(everything["book_id"]) == set(range(1, N_BOOKS + 1)) - rated_by(READER)
    assert everything.head(5).equals(books)
    predicted = recommender.predict(books.select("user_id", "book_id"))
    np.testing.assert_array_equal(predicted["stars"], books["stars"])
    assert set(predicted["basis"]) == {"reader+book"}


def test_the_titles_are_those_of_the_books(recommender: Recommender) -> None:
    books = recommender.recommend(READER, n=N_BOOKS)
    assert all(title.endswith(f" of {book}") for title, book in books.select("title", "book_id").iter_rows())


def test_a_new_reader_with_the_ratings_of_a_known_one_gets_the_same_list(recommender: Recommender) -> None:
    run = recommender.run
    shelf = run.shelves.take(run.readers.find([READER]))
    ratings = list(zip(run.catalogue.vocabulary.take(shelf.item_idx).to_list(), map(float, shelf.stars), strict=True))
    known, new = recommender.recommend(READER, n=N_BOOKS), recommender.recommend(ratings=ratings, n=N_BOOKS)
    assert new["user_id"].to_list() == [NEW_READER] * len(new)
    assert known.drop("user_id").equals(new.drop("user_id"))


def test_a_list_longer_than_the_catalogue_holds_what_there_is(recommender: Recommender) -> None:
    assert len(recommender.recommend(ratings=[(1, 5)], n=10 * N_BOOKS)) == N_BOOKS - 1


def test_a_reader_who_rated_everything_gets_an_empty_list(recommender: Recommender) -> None:
    books = recommender.recommend(ratings=[(book, 3.0) for book in range(1, N_BOOKS + 1)])
    assert books.columns == LIST_COLUMNS
    assert len(books) == 0


def test_an_unknown_reader_gets_what_suits_everybody(recommender: Recommender) -> None:
    for stranger in (4711, "nobody", 2**70, -1):
        books = recommender.recommend(stranger)
        assert len(books) == 10
        assert books["book_id"].to_list() == recommender.recommend(ratings=[])["book_id"].to_list()


def test_everybody_gets_the_list_that_each_would_get_alone(recommender: Recommender) -> None:
    together = pl.concat(recommender.recommend_all(n=4))
    alone = pl.concat([recommender.recommend(reader, n=4) for reader in recommender.run.readers.ids])
    assert together.equals(alone)


@pytest.mark.parametrize(("limit", "most"), [("RANK_BLOCK", 5), ("MOST_SCORES", 5 * N_BOOKS + 1)])
def test_blocks_do_not_change_lists(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    whole = pl.concat(recommender.recommend_all(n=4))
    monkeypatch.setattr(f"shelfwise.models.blocks.{limit}", most)
    blocks = list(recommender.recommend_all(n=4))
    assert len(blocks) == 3
    assert pl.concat(blocks).equals(whole)


def test_nobody_gets_no_list_and_no_error(recommender: Recommender) -> None:
    books = pl.concat(recommender.recommend_all(pl.Series([], dtype=pl.Int64)))
    assert books.columns == LIST_COLUMNS
    assert len(books) == 0


def test_wrong_calls_are_refused(recommender: Recommender) -> None:
    with pytest.raises(UsageError, match="no reader"):
        recommender.recommend()
    with pytest.raises(UsageError, match="0 books"):
        recommender.recommend(READER, n=0)
    with pytest.raises(UnknownBookError, match="4711"):
        recommender.similar(4711)


def test_what_was_taken_up_is_left_out_too(tmp_path: Path) -> None:
    unrated = sorted(set(range(1, N_BOOKS + 1)) - rated_by(READER))
    taken, left = unrated[:2], unrated[2:]
    events = [(READER, taken[0]), (READER, taken[1]), ("77", taken[0]), (READER, 999)]
    recommender = Recommender(train_on(write_world(tmp_path, events=events)))
    assert sorted(recommender.recommend(READER, n=N_BOOKS)["book_id"]) == left
    assert taken[0] not in set(recommender.recommend(77, n=N_BOOKS)["book_id"])  # known by an event alone
    newer = recommender.recommend(READER, ratings=[(left[0], 5.0)], n=N_BOOKS)
    assert sorted(newer["book_id"]) == left[1:]


@pytest.mark.parametrize("book", [1, "1"])
def test_similar_books_come_in_order_without_the_book_itself(recommender: Recommender, book: Id) -> None:
    near = recommender.similar(book, n=100)
    assert near.columns == ["rank", "book_id", "title", "similarity"]
    assert 1 not in set(near["book_id"])
    assert near["similarity"].is_sorted(descending=True)
    assert near["rank"].to_list() == list(range(1, len(near) + 1))


# Ratings from outside.


def test_a_newer_rating_wins_and_the_others_stay(recommender: Recommender) -> None:
    run = recommender.run
    shelf = run.shelves.take(run.readers.find([READER]))
    ratings = dict(zip(run.catalogue.vocabulary.take(shelf.item_idx).to_list(), map(float, shelf.stars), strict=True))
    changed = next(iter(ratings))
    newer = 1.0 if ratings[changed] > 2 else 5.0
    merged = recommender.recommend(READER, ratings=[(changed, newer)], n=N_BOOKS)
    as_if = recommender.recommend(ratings=list((ratings | {changed: newer}).items()), n=N_BOOKS)
    assert merged.drop("user_id").equals(as_if.drop("user_id"))
    before = recommender.recommend(READER, n=N_BOOKS)
    assert set(before["book_id"]) == set(merged["book_id"])
    assert not before["stars"].equals(merged["stars"])


def test_a_shelf_file_is_the_same_as_ratings_in_the_call(recommender: Recommender, tmp_path: Path) -> None:
    file = write_ratings(tmp_path / "shelf.csv", [("ann", 1, 5), ("ann", 2, 1), ("bob", 3, 4), ("bob", 999, 4)])
    outside = recommender.read_shelf(file)
    assert (outside.n_unknown, outside.unknown_books) == (1, ("999",))
    lists = pl.concat(recommender.recommend_all(outside.readers.ids, outside, n=6))
    for name, ratings in (("ann", [(1, 5.0), (2, 1.0)]), ("bob", [(3, 4.0)])):
        mine = lists.filter(pl.col("user_id") == name).drop("user_id")
        assert mine.equals(recommender.recommend(ratings=ratings, n=6).drop("user_id"))


def test_only_the_readers_of_a_shelf_are_changed_by_it(recommender: Recommender, tmp_path: Path) -> None:
    outside = recommender.read_shelf(write_ratings(tmp_path / "shelf.csv", [(READER, 1, 1), (4711, 2, 1)]))
    with_shelf, without = (pl.concat(recommender.recommend_all(None, shelf, n=6)) for shelf in (outside, None))
    others = pl.col("user_id") != READER
    assert with_shelf.filter(others).equals(without.filter(others))
    assert not with_shelf.filter(~others).equals(without.filter(~others))


def test_unknown_books_in_ratings_are_counted_and_left_out(recommender: Recommender) -> None:
    ratings: list[tuple[Id, float]] = [(1, 5), (999, 1), ("no such", 1), (2**70, 1)]
    outside = recommender.shelf_of(ratings)
    assert outside.n_unknown == 3
    assert outside.unknown_books == ("999", "no such", str(2**70))
    assert recommender.recommend(ratings=ratings).equals(recommender.recommend(ratings=[(1, 5)]))


def test_a_shelf_of_unknown_books_only_is_refused_in_a_file(recommender: Recommender, tmp_path: Path) -> None:
    with pytest.raises(UnknownBookError, match="none of its books"):
        recommender.read_shelf(write_ratings(tmp_path / "shelf.csv", [("ann", 999, 5)]))


@pytest.mark.parametrize("stars", [0, 6, -1, 2.5, float("nan"), float("inf")])
def test_stars_outside_the_scale_are_refused(recommender: Recommender, tmp_path: Path, stars: float) -> None:
    with pytest.raises(BadValueError, match="not on the scale 1-5"):
        recommender.recommend(ratings=[(1, 5), (2, stars)])
    with pytest.raises(DataError):
        recommender.read_shelf(write_ratings(tmp_path / "shelf.csv", [("ann", 1, 5), ("ann", 2, stars)]))


@pytest.mark.parametrize("stars", ["good", "5", None])
def test_stars_that_are_no_number_are_refused(recommender: Recommender, stars: object) -> None:
    with pytest.raises(BadValueError, match="not on the scale 1-5"):
        recommender.recommend(ratings=[(1, stars)])  # type: ignore[list-item]


@pytest.mark.parametrize("name", [2**70, -1, "", "ann", "007"])
def test_a_new_reader_may_have_any_name(recommender: Recommender, name: Id) -> None:
    ratings: list[tuple[Id, float]] = [(1, 5), (2, 1)]
    books = recommender.recommend(name, ratings=ratings)
    assert books["user_id"].to_list() == [name] * 10
    assert books.drop("user_id").equals(recommender.recommend(ratings=ratings).drop("user_id"))


@pytest.mark.parametrize("rule", ["first", "last", "mean", "drop"])
def test_a_book_rated_twice_counts_as_in_training(tmp_path: Path, rule: str) -> None:
    recommender = Recommender(train_on(write_world(tmp_path / "world"), duplicates=rule))
    twice: list[tuple[Id, float]] = [(1, 5), (2, 3), (1, 1)]
    once: dict[str, list[tuple[Id, float]]] = {
        "first": [(1, 5), (2, 3)],
        "last": [(1, 1), (2, 3)],
        "mean": [(1, 3), (2, 3)],
        "drop": [(2, 3)],
    }
    expected = stars_of(recommender, NEW_READER, once[rule])
    file = write_ratings(tmp_path / "shelf.csv", [(NEW_READER, book, stars) for book, stars in twice])
    everything = pairs(*((NEW_READER, book) for book in range(1, N_BOOKS + 1)))
    from_file = recommender.predict(everything, recommender.read_shelf(file))["stars"].to_numpy()
    np.testing.assert_array_equal(from_file, expected)
    np.testing.assert_array_equal(stars_of(recommender, NEW_READER, twice), expected)


# Models that learned about single readers.


def scores_by_hand(recommender: Recommender, shelves: Shelves, trained: int, books: pl.Series) -> list[float]:
    model, vocabulary = recommender.run.model, recommender.run.catalogue.vocabulary
    scores = model.scores(model.fold_in(shelves, np.array([trained], dtype=np.int32)))[0]
    return [float(score) for score in scores[vocabulary.find(books)]]


@pytest.mark.parametrize("final", [True, False])
def test_what_was_learned_about_a_reader_counts_while_the_shelf_is_the_trained_one(tmp_path: Path, final: bool) -> None:
    settings = {"embedding_dim": 4, "epochs": 2, "adam_epochs": 2, "adam_learning_rate": 0.05, "batch_size": 16}
    recommender = Recommender(
        train_on(write_world(tmp_path), model="mf", recipe="notebook", settings=settings, final=final)
    )
    run = recommender.run
    for reader in range(len(run.readers)):
        shelf = run.shelves.take([reader])
        own = run.parts[run.shelves.rows == reader]
        listed = recommender.recommend(run.readers.ids[reader], n=N_BOOKS)
        as_trained, as_new = (scores_by_hand(recommender, shelf, idx, listed["book_id"]) for idx in (reader, -1))
        assert as_trained != pytest.approx(as_new, abs=1e-3)
        unchanged = bool((own == TRAIN).all())
        assert unchanged or not final
        assert listed["score"].to_list() == pytest.approx(as_trained if unchanged else as_new, abs=1e-5)
        newer = recommender.recommend(run.readers.ids[reader], ratings=[(listed["book_id"][0], 1)], n=N_BOOKS)
        merged = shelf.merge(Shelves.build([0], run.catalogue.vocabulary.find(listed["book_id"][:1]), [1], 1))
        expected = scores_by_hand(recommender, merged, -1, newer["book_id"])
        assert newer["score"].to_list() == pytest.approx(expected, abs=1e-5)


# Predictions of pairs.


def test_predict_keeps_rows_order_and_other_columns(recommender: Recommender) -> None:
    frame = pl.DataFrame(
        {
            "note": ["c", None, "a", "c"],
            "book_id": [5, 1, 999, 5],
            "user_id": [9, 1, 1, 9],
            "rating": [1.5, 2.5, 3.5, 4.5],
        }
    )
    predicted = recommender.predict(frame)
    assert predicted.select(frame.columns).equals(frame)
    assert predicted.columns == [*frame.columns, "stars", "basis"]
    assert predicted["stars"][0] == predicted["stars"][3]
    assert predicted["stars"].is_between(1, 5).all()
    shuffled = recommender.predict(frame.reverse())
    assert shuffled.reverse().equals(predicted)


@pytest.mark.parametrize("name", ["stars", "basis"])
def test_a_column_that_the_prediction_would_replace_is_not_lost(recommender: Recommender, name: str) -> None:
    frame = pairs((1, 1)).with_columns(pl.lit(5.0).alias(name))
    with pytest.raises(FormatError, match=f"column '{name}' of its own"):
        recommender.predict(frame)


def test_the_basis_says_on_what_an_answer_rests(tmp_path: Path) -> None:
    rows = [row for row in rows_of_a_world() if row[1] != N_BOOKS]  # nobody rated the last book
    recommender = Recommender(train_on(write_world(tmp_path, rows)))
    frame = pairs((1, 1), (4711, 1), (1, 999), (4711, 999), (1, N_BOOKS), (4711, N_BOOKS))
    predicted = recommender.predict(frame)
    assert predicted["basis"].to_list() == ["reader+book", "book", "reader", "mean", "reader", "mean"]
    assert predicted["stars"].is_finite().all()
    assert predicted["stars"][3] == pytest.approx(recommender.run.model.book_state()["mean"][0], abs=1e-6)


@pytest.mark.parametrize("kind", [pl.Int8, pl.UInt64, pl.Float64, pl.String])
def test_ids_are_understood_in_any_type(recommender: Recommender, kind: type[pl.DataType]) -> None:
    frame = pairs((1, 1), (2, 5), (99, 5))
    predicted = recommender.predict(frame.cast(kind))
    assert predicted.select("stars", "basis").equals(recommender.predict(frame).select("stars", "basis"))
    assert predicted["basis"].to_list() == ["reader+book", "reader+book", "book"]


def test_text_ids_stay_text(tmp_path: Path) -> None:
    books = [f"b{book:02}" for book in range(1, N_BOOKS + 1)]
    rows = [(f"r{reader}", f"b{book:02}", stars) for reader, book, stars in rows_of_a_world()]
    recommender = Recommender(train_on(write_world(tmp_path, rows, books=books)))
    listed = recommender.recommend("r3", n=N_BOOKS)
    assert set(listed["book_id"]) == set(books) - {f"b{book:02}" for book in rated_by(3)}
    predicted = recommender.predict(pairs(("r1", "b01"), ("r1", "1"), ("1", "b01")))
    assert predicted["basis"].to_list() == ["reader+book", "reader", "book"]
    assert len(recommender.recommend(7)) == 10
    assert recommender.shelf_of([(1, 5.0), ("b01", 5.0)]).unknown_books == ("1",)


def test_no_pairs_no_predictions(recommender: Recommender) -> None:
    predicted = recommender.predict(pl.DataFrame(schema={"user_id": pl.Int64, "book_id": pl.Int64}))
    assert predicted.columns == ["user_id", "book_id", "stars", "basis"]
    assert len(predicted) == 0


def test_pairs_without_a_column_or_an_id_are_refused(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="no column for the books"):
        recommender.predict(pl.DataFrame({"user_id": [1]}))
    with pytest.raises(BadValueError, match="row 3"):
        recommender.predict(pairs((1, 1), (1, None)))


# Two id spaces.


def test_goodreads_ids_are_understood_in_pairs_and_shelf(tmp_path: Path) -> None:
    recommender = Recommender(train_on(write_world(tmp_path / "world", goodreads=True)))
    own, goodreads = pairs((1, 1), (2, 5), (4711, 7)), pairs((1, 1001), (2, 1005), (4711, 1007))
    expected = recommender.predict(own).select("stars", "basis")
    assert recommender.predict(goodreads).select("stars", "basis").equals(expected)
    assert recommender.predict(goodreads, ids="goodreads").select("stars", "basis").equals(expected)
    assert set(recommender.predict(goodreads, ids="catalogue")["basis"]) == {"reader", "mean"}
    own_shelf = recommender.read_shelf(write_ratings(tmp_path / "own.csv", [("ann", 1, 5), ("ann", 2, 1)]))
    other_shelf = recommender.read_shelf(write_ratings(tmp_path / "other.csv", [("ann", 1001, 5), ("ann", 1002, 1)]))
    np.testing.assert_array_equal(own_shelf.shelves.item_idx, other_shelf.shelves.item_idx)
    np.testing.assert_array_equal(own_shelf.shelves.stars, other_shelf.shelves.stars)
    with pytest.raises(AmbiguousIdsError, match="pairs"):
        recommender.predict(pairs((1, 1), (1, 1001)))


# Trained on the user's own files.


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, dict[str, list[tuple[object, ...]]]]:
    folder = tmp_path_factory.mktemp("own")
    rows = rows_of_a_world()
    parts = {"train": rows[::3] + rows[1::3], "valid": rows[2::6], "test": rows[5::6]}
    files = {name: write_ratings(folder / f"{name}.csv", part) for name, part in parts.items()}
    world = write_world(folder / "world", [(1, 1, 1)])
    run = train_on(
        world,
        ratings=files["train"],
        files=OtherFiles(files["valid"], files["test"]),
        split={"kind": "files"},
    )
    return Recommender(run), parts


def test_own_files_are_judged_by_the_training_file_alone(
    own_files: tuple[Recommender, dict[str, list[tuple[object, ...]]]],
) -> None:
    recommender, parts = own_files
    ratings = [(int(str(b)), float(str(s))) for reader, b, s in parts["train"] if reader == READER]
    by_training_file = stars_of(recommender, NEW_READER, ratings)
    everything = pairs(*((READER, book) for book in range(1, N_BOOKS + 1)))
    np.testing.assert_array_equal(recommender.predict(everything)["stars"].to_numpy(), by_training_file)


def test_own_files_lists_leave_out_train_and_validation_but_not_test(
    own_files: tuple[Recommender, dict[str, list[tuple[object, ...]]]],
) -> None:
    recommender, parts = own_files
    for reader in recommender.run.readers.ids:
        held = {name: {b for r, b, _ in part if r == reader} for name, part in parts.items()}
        listed = set(recommender.recommend(reader, n=N_BOOKS)["book_id"])
        assert listed == set(range(1, N_BOOKS + 1)) - held["train"] - held["valid"]
        assert held["test"] <= listed


def test_readers_of_a_file_may_have_any_column_more(recommender: Recommender, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "shelf.csv", "rating,note,book_id,user_id", [(5, "x", 1, "ann"), (1, "y", 2, "ann")])
    outside = recommender.read_shelf(file)
    assert outside.readers.ids.to_list() == ["ann"]
    np.testing.assert_array_equal(outside.shelves.stars, [5, 1])


# Books that arrive after training.


def test_a_new_book_is_scored_at_once_by_what_it_is_about(tmp_path: Path) -> None:
    settings = {"epochs": 1, "taste": 1.0, "about_dim": 4, "coreading_dim": 4}
    recommender = Recommender(train_on(write_world(tmp_path), model="shelf", settings=settings))
    book = {"title": f"The {TAGS[0]} to come", "authors": ["Author 0"], "year": 1999}
    grown, new = recommender.with_book(book, tags=[TAGS[0]])
    assert new == N_BOOKS + 1
    assert len(grown.run.catalogue) == N_BOOKS + 1
    assert len(recommender.run.catalogue) == N_BOOKS
    answer = grown.predict(pairs((READER, new), (NEW_READER, new)))
    assert answer["basis"].to_list() == ["reader", "mean"]
    near = grown.similar(new, n=3)["book_id"].to_list()
    assert any(TAGS[0] in grown.run.catalogue.books["title"][int(b) - 1] for b in near)
    assert grown.explain(new, READER).title == book["title"]
    by_text, _ = recommender.with_book(book, text=f"An old tale; {TAGS[0]}, again.")
    assert by_text.predict(pairs((READER, new)))["stars"][0] == pytest.approx(answer["stars"][0], abs=1e-5)
    before = recommender.recommend(READER, n=N_BOOKS)["book_id"].to_list()
    after = grown.recommend(READER, n=N_BOOKS + 1)["book_id"].to_list()
    assert set(after) == {*before, new}
    with pytest.raises(UsageError, match="without a title"):
        recommender.with_book({"title": " "})
    with pytest.raises(UsageError, match="knows books by content"):
        recommender.with_book(book, vector=[1, 2, 3])


def test_a_new_book_of_a_catalogue_with_text_ids_comes_last(tmp_path: Path) -> None:
    books = [f"b{n:02}" for n in range(1, N_BOOKS + 1)]
    rows = [(user, f"b{int(str(book)):02}", stars) for user, book, stars in rows_of_a_world()]
    settings = {"epochs": 1, "taste": 1.0, "about_dim": 4, "coreading_dim": 4}
    run = train_on(write_world(tmp_path, rows, books=books), model="shelf", settings=settings)
    grown, new = Recommender(run).with_book({"title": "More"})
    assert grown.run.catalogue.vocabulary.ids[-1] == new == f"b{N_BOOKS}+"
    assert np.isfinite(grown.predict(pairs((READER, new)))["stars"][0])


@given(
    ratings=st.dictionaries(
        st.sampled_from(["ann", "bob", "cem"]),
        st.lists(
            st.tuples(st.integers(-1, N_BOOKS + 2), st.integers(1, 5)), max_size=8, unique_by=lambda pair: pair[0]
        ),
        min_size=1,
    )
)
def test_ratings_of_several_readers_become_their_shelves(
    recommender: Recommender, ratings: dict[str, list[tuple[int, int]]]
) -> None:
    outside = recommender.shelves_of(ratings)
    rows = [(name, book, stars) for name, mine in ratings.items() for book, stars in mine]
    books = recommender.run.catalogue.vocabulary
    for place, name in enumerate(outside.readers.ids):
        expected = {int(books.find([book])[0]): stars for who, book, stars in rows if who == name}
        mine = outside.shelves.take([place])
        assert dict(zip(mine.item_idx.tolist(), mine.stars.tolist(), strict=True)) == {
            idx: stars for idx, stars in expected.items() if idx >= 0
        }
        assert (np.diff(mine.item_idx) > 0).all()
    assert set(outside.readers.ids) == set(ratings)
    assert outside.n_unknown == sum(books.find([book])[0] < 0 for _, book, _ in rows)


def test_a_list_in_plain_values_says_what_its_table_says(recommender: Recommender) -> None:
    readers, catalogue = recommender.run.readers.ids[:4], recommender.run.catalogue
    wanted = [(3, Rules()), (5, Rules(per_author=1))]
    (listed,) = recommender.recommend_lists(wanted, readers, why=True, ranges=True)
    listed = replace(listed, scores=listed.scores + 1)  # which are the stars of this model
    table = listed.frame(readers, catalogue, ranges=True)
    assert listed.place.tolist().count(0) == 12
    for row, (who, place, book) in zip(table.iter_rows(named=True), listed.plain(catalogue), strict=True):
        authors = catalogue.books.filter(pl.col("book_id") == row["book_id"])["authors"].item()
        assert book.pop("authors") == tuple(authors)
        assert row.pop("user_id") == readers[who]
        assert row.pop("rank") <= wanted[place][0]
        assert book == row
