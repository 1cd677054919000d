"""ISBNs as tables mangle them, rating scales, and the two-way street between ids and indices."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shelfwise.data import row_slices
from shelfwise.data import vocabulary as vocabulary_module
from shelfwise.data.isbn import check_digit_10, check_digit_13, isbn10_to_13, isbn13_to_10, repair_isbn
from shelfwise.data.scale import KNOWN_SCALES, Scale, guess_scale, parse_scale
from shelfwise.data.vocabulary import Vocabulary
from shelfwise.errors import BadValueError, ConfigError

nine_digits = st.text("0123456789", min_size=9, max_size=9)
isbn10s = nine_digits.map(lambda body: body + check_digit_10(body))
isbn13s = st.tuples(st.sampled_from(["978", "979"]), nine_digits).map("".join).map(lambda b: b + check_digit_13(b))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


# --- ISBN


@pytest.mark.parametrize(
    ("isbn10", "isbn13"),
    [
        ("0439023483", "9780439023481"),  # The Hunger Games
        ("0306406152", "9780306406157"),  # the example of the standard
        ("080442957X", "9780804429573"),
        ("0000000000", "9780000000002"),
    ],
)
def test_isbn_known_answers(isbn10: str, isbn13: str) -> None:
    assert check_digit_10(isbn10[:9]) == isbn10[9]
    assert check_digit_13(isbn13[:12]) == isbn13[12]
    assert isbn10_to_13(isbn10) == isbn13
    assert isbn13_to_10(isbn13) == isbn10


@pytest.mark.parametrize(
    "raw",
    [
        "439023483",  # lost its leading zero
        "439023483.0",  # and became a float
        "0-439-02348-3",
        "0 439 02348 3",
        "0\u2013439\u201302348\u20133",
        '="0439023483"',
        '="9780439023481"',
        "978-0-439-02348-1",
        "9780439023481",
        "9780439023481.0",
        "9.78043902348e+12",
        "9.78043902348E+12",
        "9.78043902348E12",
        "9.780439023481e+12",
        "9780439023480.0",
        "9780439023480",
    ],
)
def test_one_isbn_in_many_spellings(raw: str) -> None:
    assert repair_isbn(raw) == "9780439023481"


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        "n/a",
        "0",
        "0000000000",  # stands for 'none'
        "\u0660\u0664\u0663\u0669\u0660\u0662\u0663\u0664\u0668\u0663",  # digits, but no ISBN's
        "0439023484",  # wrong check digits
        "9780439023482",
        "9.7804390235e+12",  # three digits lost: not rebuilt
        "9.78e+12",
        "1234567890123",  # no book
        "97804390234811",
        "ABCDEFGHIX",
    ],
)
def test_no_isbn_is_made_up(raw: str | None) -> None:
    assert repair_isbn(raw) is None


@given(isbn10s)
def test_isbn_10_to_13_and_back(isbn10: str) -> None:
    isbn13 = isbn10_to_13(isbn10)
    assert isbn13_to_10(isbn13) == isbn10
    assert repair_isbn(isbn10) == (isbn13 if isbn10.strip("0") else None)
    assert repair_isbn(isbn13) == isbn13


@given(isbn10s, st.booleans())
def test_lost_zeros_and_a_decimal_are_undone(isbn10: str, as_float: bool) -> None:
    short = isbn10.lstrip("0")
    assume(len(short) >= 6)  # shorter numbers are too likely to be something else
    assume(not (as_float and short.endswith("X")))
    assert repair_isbn(short + ".0" * as_float) == isbn10_to_13(isbn10)


@given(isbn13s)
def test_thirteen_digits_survive_decimal_hyphens_and_formula(isbn13: str) -> None:
    for spelled in (isbn13, f'="{isbn13}"', f"{isbn13[:3]}-{isbn13[3:]}"):
        assert repair_isbn(spelled) == isbn13
    if not isbn13.endswith("0"):  # else it may have been rounded
        assert repair_isbn(f"{isbn13}.0") == isbn13


def rounded_to_twelve(isbn13: str) -> set[str]:
    """`isbn13` as tables round it to 12 digits; a last 5 goes up in some and to the even digit in others."""
    number = int(isbn13)
    return {f"{n:.11e}" for n in (number, (number + 5) // 10 * 10)}


def valid_numbers_near(isbn13: str) -> list[str]:
    bodies = [str(int(isbn13) // 10 + step) for step in (-1, 0, 1)]
    return [body + check_digit_13(body) for body in bodies if body[:3] in ("978", "979")]


# Bodies that end in 9s: a carry is what makes two valid numbers round to one.
carrying = st.tuples(st.integers(0, 10**6), st.sampled_from(["99", "999", "00", "000"])).map(
    lambda t: f"978{t[0]:0{9 - len(t[1])}d}"[: 12 - len(t[1])] + t[1]
)


@given(isbn13s | carrying.map(lambda body: body + check_digit_13(body)))
def test_an_isbn_rounded_to_twelve_digits_comes_back_unless_two_would_fit(isbn13: str) -> None:
    for rounded in rounded_to_twelve(isbn13):
        rivals = {near for near in valid_numbers_near(isbn13) if rounded in rounded_to_twelve(near)}
        expected = isbn13 if rivals == {isbn13} else None
        assert repair_isbn(rounded) == expected
        assert repair_isbn(f"{float(rounded):.1f}") == expected


def test_of_two_isbns_that_round_to_one_number_none_is_taken() -> None:
    low, high = "9780000003997", "9780000004000"  # both valid, both rounded to 9.78000000400e+12
    assert repair_isbn(low) == low
    assert repair_isbn(high) == high
    assert repair_isbn("9.78000000400e+12") is None
    assert repair_isbn("9780000004000.0") is None


@given(isbn13s)
def test_there_is_an_isbn_10_only_in_the_978_block(isbn13: str) -> None:
    assert (isbn13_to_10(isbn13) is None) == isbn13.startswith("979")


@given(st.text(max_size=20) | st.text('0123456789X-.E+= "', max_size=20))
def test_whatever_comes_out_is_a_valid_isbn_13(raw: str) -> None:
    isbn = repair_isbn(raw)
    assert isbn is None or (re.fullmatch("97[89][0-9]{10}", isbn) and isbn[-1] == check_digit_13(isbn[:12]))


# --- Scale

scales = st.builds(
    lambda low, step, steps: Scale(low * step, (low + steps) * step, step),
    st.integers(0, 10),
    st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    st.integers(1, 30),
)


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("1-5", Scale(1, 5)),
        ("0-5", Scale(0, 5)),
        ("0.5-5/0.5", Scale(0.5, 5, 0.5)),
        (" 1 - 10 / 1 ", Scale(1, 10)),
        ("0-100/5", Scale(0, 100, 5)),
        ("0-1/0.1", Scale(0, 1, 0.1)),
    ],
)
def test_scales_are_parsed(text: str, scale: Scale) -> None:
    assert parse_scale(text) == scale


@pytest.mark.parametrize(
    "text", ["", "5", "5-1", "1-1", "1-5/0", "1-5/3", "1-5/-1", "a-b", "1-5/0.5/2", "0-1000", "-1-5"]
)
def test_what_is_no_scale_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_scale(text)
    assert "1-5" in caught.value.hint


@given(scales)
def test_a_scale_reads_back_from_its_own_words(scale: Scale) -> None:
    assert parse_scale(str(scale)) == scale


@given(scales)
def test_values_are_all_on_the_scale_and_what_lies_between_is_not(scale: Scale) -> None:
    values = scale.values.astype(np.float64)
    assert values[0] == scale.low
    assert values[-1] == scale.high
    assert len(values) == round((scale.high - scale.low) / scale.step) + 1
    assert scale.contains(values).all()
    assert scale.contains(scale.values).all()
    assert not scale.contains(values + scale.step / 2).any()
    assert not scale.contains([scale.low - scale.step, scale.high + scale.step, np.nan, np.inf]).any()


@given(scales, st.lists(st.floats(-100, 100), min_size=1))
def test_rounding_gives_the_nearest_value_of_the_scale(scale: Scale, stars: list[float]) -> None:
    rounded = scale.round(stars)
    assert rounded.dtype == np.float32
    assert scale.contains(rounded).all()
    distance = np.abs(np.array(stars)[:, None] - scale.values[None, :].astype(np.float64))
    assert np.allclose(np.abs(np.array(stars) - rounded), distance.min(axis=1), atol=1e-9)
    assert (scale.round(rounded) == rounded).all()


def test_rounding_halves_goes_to_the_even_step() -> None:
    assert Scale(1, 5).round([1.5, 2.5, 3.5, 4.5]).tolist() == [1, 3, 3, 5]
    assert Scale(0, 5).round([0.5, 1.5, 2.5]).tolist() == [0, 2, 2]


def test_clip_moves_into_the_scale_and_no_further() -> None:
    assert Scale(1, 5).clip([-3, 1, 3.3, 9]).tolist() == pytest.approx([1, 1, 3.3, 5])


@pytest.mark.parametrize("scale", KNOWN_SCALES, ids=str)
def test_a_known_scale_is_guessed_from_its_values_and_a_little_dirt(scale: Scale) -> None:
    assert guess_scale(scale.values) == scale
    assert guess_scale(np.append(np.tile(scale.values, 100), 0)) == scale


def test_the_scale_that_holds_most_is_guessed_where_none_holds_all() -> None:
    assert guess_scale([1, 2, 3, 4, 5, 7, 8, 9, 10, 55]) == Scale(1, 10)


# --- Vocabulary


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integer_ids_are_unique_ascending_and_found_at_their_place(ids: list[int]) -> None:
    vocabulary = Vocabulary(ids)
    assert vocabulary.ids.to_list() == sorted(set(ids))
    assert vocabulary.find(ids).tolist() == [sorted(set(ids)).index(i) for i in ids]
    assert vocabulary.take(vocabulary.find(pl.Series(ids, dtype=pl.Int64))).to_list() == ids


@given(st.lists(texts), st.lists(texts))
def test_text_ids_are_ordered_by_code_point_and_others_unknown(ids: list[str], asked: list[str]) -> None:
    vocabulary = Vocabulary(pl.Series(ids, dtype=pl.String))
    expected = sorted(set(ids))
    assert vocabulary.ids.to_list() == expected
    found = vocabulary.find(pl.Series(asked + ids, dtype=pl.String)).tolist()
    assert found == [expected.index(i) if i in expected else -1 for i in asked + ids]


def test_integers_as_text_and_floats_are_found_and_near_misses_are_not() -> None:
    vocabulary = Vocabulary([3, 10, 7])
    assert vocabulary.find(["3", "7", "x", "", "3.5"]).tolist() == [0, 1, -1, -1, -1]
    assert vocabulary.find([3.0, 7.2, float("nan"), 10.0]).tolist() == [0, -1, -1, 2]
    assert vocabulary.find(["007", " 7", "+7", "7.0"]).tolist() == [-1, -1, -1, -1]
    assert vocabulary.find([2**64, 2**100]).tolist() == [-1, -1]
    assert vocabulary.find([3, None, 11, -1]).tolist() == [0, -1, -1, -1]
    assert Vocabulary(["a", "7"]).find([7, 8]).tolist() == [0, -1]


@given(st.lists(st.integers(0, 30)), st.lists(st.floats(allow_infinity=True, allow_nan=True)))
def test_floats_are_found_only_where_they_are_whole(ids: list[int], asked: list[float]) -> None:
    expected = sorted(set(ids))
    found = Vocabulary(ids).find(pl.Series(asked, dtype=pl.Float64)).tolist()
    assert found == [expected.index(int(a)) if a in expected else -1 for a in asked]


NEAR, ANY = st.integers(-50, 50), st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("few", [-1, vocabulary_module.FEW], ids=["by arrays", "as a request's"])
@given(st.lists(NEAR, min_size=1, max_size=20) | st.lists(NEAR | ANY, min_size=1, max_size=20), st.lists(NEAR | ANY))
def test_numbers_are_found_whether_they_lie_close_together_or_far_apart(
    few: int, ids: list[int], wanted: list[int]
) -> None:
    places = {number: place for place, number in enumerate(sorted(set(ids)))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary_module, "FEW", few)
        patch.setattr(row_slices, "AT_ONCE", 4)
        vocabulary = Vocabulary(pl.Series(ids, dtype=pl.Int64))
        found = vocabulary.find(pl.Series(wanted + ids, dtype=pl.Int64))
        of_32_bits = vocabulary.find(pl.Series([one for one in ids if abs(one) < 2**31], dtype=pl.Int32))
    assert vocabulary.ids.to_list() == list(places)
    assert found.tolist() == [places.get(number, -1) for number in wanted + ids]
    assert of_32_bits.tolist() == [places[number] for number in ids if abs(number) < 2**31]
    assert found.dtype == of_32_bits.dtype == np.int32


def test_the_empty_vocabulary_knows_nothing() -> None:
    empty = Vocabulary([])
    assert len(empty) == 0
    assert empty.find([1, 2]).tolist() == [-1, -1]
    assert empty.find([]).tolist() == []
    assert Vocabulary([1]).find([]).tolist() == []
    assert len(empty.hashes) == 0
    assert empty == Vocabulary(pl.Series([], dtype=pl.Int32))


def test_a_missing_id_is_refused() -> None:
    with pytest.raises(BadValueError, match="missing id"):
        Vocabulary([1, None])  # type: ignore[list-item]


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(0, 50)), st.booleans())
def test_union_holds_all_and_is_text_if_one_is(left: list[int], right: list[int], as_text: bool) -> None:
    second = Vocabulary(pl.Series(right, dtype=pl.Int64).cast(pl.String if as_text else pl.Int64))
    both = Vocabulary.union(Vocabulary(left), second)
    texts_wanted = as_text and bool(right)
    assert both.ids.to_list() == sorted({str(i) for i in left + right} if texts_wanted else set(left + right))


def test_vocabularies_are_equal_by_ids_and_kind() -> None:
    assert Vocabulary([2, 1]) == Vocabulary([1, 2, 2])
    assert Vocabulary([1, 2]) != Vocabulary(["1", "2"])
    assert Vocabulary([1]) != Vocabulary([1, 2])


def test_hashes_are_of_the_text_and_the_same_everywhere() -> None:
    assert Vocabulary([7]).hashes.tolist() == Vocabulary(["7"]).hashes.tolist() == [9407870976149377255]
