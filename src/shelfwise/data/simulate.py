"""Simulated readers and their ratings: for the shipped sample, for tests and for benchmarks of any size.

The books may be real ones, as in the sample, or invented (invent.py).

Never quote a quality measured on these as if readers had rated. The model, with every term in stars
and N standard normal: reader u has a taste t_u in d dimensions, every entry N; book b has a content
c_b of length 1, pointing where its subjects, its lead author and something of its own point. Then

    stars(u, b) = clip(round(mean + quality * N_b + harshness * N_u + taste * t_u . c_b
                             + loyalty * N_(u, author of b) + sequel * [u read the volume before b]
                             + noise * e_ub), 1, 5)

with e_ub = -Gumbel, standardised: disappointments are deeper than delights are high. What is read:

    popularity(b)  ~  (rank_b + 10) ** -zipf,   better books and earlier volumes tending to rank first
    ratings of u   =  3 + a share of the rest   ~  exp(activity * N_u)
    next book of u:   from all books, from a subject g of probability ~ mass_g * exp(focus * t_u . s_g),
                      from the author of a book already read, or the volume that follows one; always
                      by popularity and never a book twice.

Readers are made in chunks of 1,024. Each chunk has its own PCG64 stream, seeded by (seed, chunk), so a
result depends on neither the block size nor the order of the work, and memory holds one block at a time.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from shelfwise.errors import ConfigError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MIN_RATINGS = 3  # of every reader
CHUNK = 1024  # readers that share a random stream; another number is another data set
ROUNDS = 12  # of drawing books before a reader's last few are taken from all that are left
WORLD, ACTIVITY, READERS, CATALOGUE = range(4)  # the independent random streams of a seed
POPULAR, SUBJECT, AUTHOR, SERIES = range(4)  # the ways to a next book

SAMPLE = Path(__file__).parent / "sample"
SAMPLE_READERS, SAMPLE_RATINGS, SAMPLE_SEED = 3_000, 60_000, 0


@dataclass(frozen=True)
class Strengths:
    """The numbers of the model in the module's docstring; the defaults give a realistic star distribution."""

    mean: float = 3.7
    quality: float = 0.3
    harshness: float = 0.4
    taste: float = 0.55
    loyalty: float = 0.3
    sequel: float = 0.15
    noise: float = 0.75
    dimensions: int = 8
    zipf: float = 0.9
    activity: float = 0.9
    focus: float = 1.5
    ways: tuple[float, float, float, float] = (0.3, 0.4, 0.15, 0.15)  # popular, subject, author, series


DEFAULT = Strengths()


def simulate_ratings(
    books: pl.DataFrame, n_readers: int, n_ratings: int, *, seed: int, strengths: Strengths = DEFAULT
) -> pl.DataFrame:
    """Exactly `n_ratings` ratings by `n_readers` readers, each with at least 3 and never a book twice.

    `books` needs the columns book_id, authors, subjects, series and series_number, as in the sample's books.csv.
    Returns user_id (Int64, 1..n_readers, ascending), book_id (type as in `books`) and rating (Int8, stars 1..5),
    a reader's rows in the order of reading. Raises ConfigError for numbers that cannot be met.
    """
    blocks = iter_ratings_blocks(books, n_readers, n_ratings, seed=seed, strengths=strengths)
    return pl.concat(list(blocks), rechunk=True)


def iter_ratings_blocks(
    books: pl.DataFrame,
    n_readers: int,
    n_ratings: int,
    *,
    seed: int,
    block_readers: int = 16 * CHUNK,
    strengths: Strengths = DEFAULT,
) -> Iterator[pl.DataFrame]:
    """The rows of `simulate_ratings` as blocks of `block_readers` readers, for sizes beyond memory.

    `block_readers` is rounded up to a multiple of 1,024 and changes nothing but the cut between blocks.
    Raises ConfigError at once, before the first block is asked for.
    """
    _check(books, n_readers, n_ratings, seed)
    if block_readers < 1:
        raise ConfigError(f"block_readers is {block_readers}", hint="give at least one reader a block")
    world = _make_world(books, random_stream(seed, WORLD), strengths)
    counts = _activity(n_readers, n_ratings, len(books), random_stream(seed, ACTIVITY), strengths)
    starts = range(0, n_readers, CHUNK)
    step = -(-block_readers // CHUNK)

    def chunk(first: int) -> pl.DataFrame:
        rng = random_stream(seed, READERS, first // CHUNK)
        return _chunk(world, first, counts[first : first + CHUNK], rng)

    return (pl.concat([chunk(first) for first in starts[i : i + step]]) for i in range(0, len(starts), step))


def _check(books: pl.DataFrame, n_readers: int, n_ratings: int, seed: int) -> None:
    if missing := {"book_id", "authors", "subjects", "series", "series_number"} - set(books.columns):
        raise ConfigError(f"the books lack the columns {', '.join(sorted(missing))}", hint="see the sample's books.csv")
    if books["book_id"].null_count() or books["book_id"].is_duplicated().any():
        raise ConfigError("a book_id is missing or repeated", hint="give every book an id of its own")
    if seed < 0:
        raise ConfigError(f"the seed is {seed}", hint="a seed is 0 or more")
    if n_readers < 1 or len(books) < MIN_RATINGS:
        raise ConfigError(
            f"{n_readers} readers of {len(books)} books", hint=f"at least 1 reader and {MIN_RATINGS} books are needed"
        )
    low, high = MIN_RATINGS * n_readers, len(books) * n_readers
    if not low <= n_ratings <= high:
        raise ConfigError(
            f"{n_ratings} ratings by {n_readers} readers of {len(books)} books are not possible",
            hint=f"every reader rates {MIN_RATINGS} books or more and none twice: ask for {low} to {high} ratings",
        )


def random_stream(seed: int, *key: int) -> np.random.Generator:
    """The random stream of a seed and a key: independent of every other key's."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


# --- the books


@dataclass(frozen=True)
class _Shelves:
    """Books on shelves, a book on one or several; cumulative weights let any shelf be drawn from by weight."""

    books: Ints  # shelf after shelf
    cumulative: Floats  # [len(books) + 1]
    start: Ints  # [shelves + 1]: shelf s is books[start[s]:start[s + 1]]

    @classmethod
    def make(cls, shelf: Ints, book: Ints, weight: Floats) -> _Shelves:
        order = np.argsort(shelf, kind="stable")
        cumulative = np.concatenate([[0.0], np.cumsum(weight[book[order]])])
        start = np.searchsorted(shelf[order], np.arange(shelf.max() + 2))
        return cls(book[order], cumulative, start)

    def mass(self) -> Floats:
        return np.diff(self.cumulative[self.start])

    def draw(self, shelf: Ints, rng: np.random.Generator) -> Ints:
        """One book from each of these shelves."""
        first, last = self.start[shelf], self.start[shelf + 1] - 1
        low, high = self.cumulative[first], self.cumulative[last + 1]
        point = low + rng.random(len(shelf)) * (high - low)
        place = np.searchsorted(self.cumulative, point, side="right") - 1
        return self.books[np.clip(place, first, last)]  # rounding may step over the edge of a shelf


@dataclass(frozen=True)
class _World:
    """What is true of the books, by row of the books table."""

    strengths: Strengths
    ids: pl.Series
    quality: Floats  # [books], standard normal
    content: Floats  # [books, d], rows of length 1
    author: Ints  # [books], the lead author's number
    following: Ints  # [books], the next volume of the series or -1
    previous: Ints
    subjects: Floats  # [subjects, d], rows of length 1
    everything: _Shelves
    by_subject: _Shelves
    by_author: _Shelves


def _make_world(books: pl.DataFrame, rng: np.random.Generator, strengths: Strengths) -> _World:
    n = len(books)
    subject, subject_book = _numbered(books.select(value=_values("subjects")))
    author, _ = _numbered(books.select(value=_values("authors").list.head(1)))
    following, previous = _volumes(books)
    quality = rng.standard_normal(n)
    volume = np.maximum(books["series_number"].cast(pl.Float64).fill_null(1).to_numpy(), 1)
    appeal = 0.4 * quality + rng.standard_normal(n) - 0.3 * np.log(volume)
    popularity = np.empty(n)
    popularity[np.argsort(-appeal)] = (np.arange(n) + 10.0) ** -strengths.zipf
    popularity /= popularity.sum()
    d = strengths.dimensions
    subjects = _unit(rng.standard_normal((subject.max() + 1, d)))
    authors = _unit(rng.standard_normal((author.max() + 1, d)))
    about = [np.bincount(subject_book, weights=subjects[subject, k], minlength=n) for k in range(d)]
    own = _unit(rng.standard_normal((n, d)))
    content = _unit(0.8 * _unit(np.stack(about, axis=1)) + 0.4 * authors[author] + 0.4 * own)
    every = np.arange(n)
    return _World(
        strengths, books["book_id"], quality, content, author, following, previous, subjects,
        everything=_Shelves.make(np.zeros(n, np.int64), every, popularity),
        by_subject=_Shelves.make(subject, subject_book, popularity),
        by_author=_Shelves.make(author, every, popularity),
    )  # fmt: skip


def _values(column: str) -> pl.Expr:
    return pl.col(column).fill_null("").str.split("|")


def _numbered(values: pl.DataFrame) -> tuple[Ints, Ints]:
    """Number the texts of a list column `value` in alphabetical order: (number, row) of every entry."""
    flat = values.with_row_index("row").explode("value")
    number = flat["value"].rank("dense").cast(pl.Int64).to_numpy() - 1
    return number, flat["row"].cast(pl.Int64).to_numpy()


def _volumes(books: pl.DataFrame) -> tuple[Ints, Ints]:
    """The next and the previous volume of each book's series, -1 where there is none."""
    row = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    volumes = books.select(row, "series", "series_number").filter(pl.col("series").is_not_null())
    volumes = volumes.sort("series", "series_number", "row")
    pairs = volumes.select("row", next=pl.col("row").shift(-1).over("series")).drop_nulls()
    following, previous = np.full(len(books), -1), np.full(len(books), -1)
    following[pairs["row"].to_numpy()] = pairs["next"].to_numpy()
    previous[pairs["next"].to_numpy()] = pairs["row"].to_numpy()
    return following, previous


def _unit(rows: Floats) -> Floats:
    length: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(length, 1e-12)


# --- the readers


def _activity(n_readers: int, n_ratings: int, n_books: int, rng: np.random.Generator, strengths: Strengths) -> Ints:
    """How many books each reader rates; nobody more than half of them unless the numbers force it."""
    half = n_books // 2
    limit = half if half >= MIN_RATINGS and half * n_readers >= n_ratings else n_books
    weight = np.exp(strengths.activity * rng.standard_normal(n_readers))
    counts = np.full(n_readers, MIN_RATINGS)
    while rest := n_ratings - int(counts.sum()):
        room = limit - counts
        share = np.where(room > 0, weight, 0.0)
        extra = (rest * (share / share.sum())).astype(np.int64)
        if not extra.any():  # fewer left than readers with room
            extra[np.argsort(-share, kind="stable")[:rest]] = 1
        counts += np.minimum(extra, room)
    return counts


def _chunk(world: _World, first: int, counts: Ints, rng: np.random.Generator) -> pl.DataFrame:
    """The ratings of readers first .. first + len(counts) - 1, counted from 0."""
    tastes = rng.standard_normal((len(counts), world.strengths.dimensions))
    pairs = _choose(world, counts, tastes, rng)
    reader, book = np.divmod(pairs, len(world.ids))
    stars = _stars(world, pairs, tastes, rng)
    return pl.DataFrame({"user_id": reader + first + 1, "book_id": world.ids.gather(book), "rating": stars})


def _choose(world: _World, counts: Ints, tastes: Floats, rng: np.random.Generator) -> Ints:
    """What is read, as pairs reader * books + book: by reader, then in the order of reading.

    The first round draws half of a reader's books, so that the later ones have something to follow.
    """
    n = len(world.ids)
    affinity = np.log(world.by_subject.mass()) + world.strengths.focus * (tastes @ world.subjects.T)
    odds = np.cumsum(np.exp(affinity - affinity.max(axis=1, keepdims=True)), axis=1)
    odds = odds / odds[:, -1:] + np.arange(len(counts))[:, None]  # row u runs from u to u + 1
    pairs = np.empty(0, np.int64)
    have = np.zeros_like(counts)
    for number in range(ROUNDS):
        wanted = (counts + 1) // 2 if number == 0 else counts
        lacking = np.maximum(wanted - have, 0)
        reader = np.repeat(np.arange(len(counts)), lacking + (lacking > 0) * (lacking // 2 + 2))
        drawn = reader * n + _draw(world, reader, odds, pairs, rng)
        pairs, have = _first_of_each(np.concatenate([pairs, drawn]), wanted, n)
    for late in np.flatnonzero(have < counts):  # few: they have read nearly all that they would choose
        left = np.setdiff1d(np.arange(n), pairs[pairs // n == late] - late * n)
        more = late * n + rng.choice(left, counts[late] - have[late], replace=False)
        pairs = np.concatenate([pairs, more])
    return pairs[np.argsort(pairs // n, kind="stable")]


def _draw(world: _World, reader: Ints, odds: Floats, pairs: Ints, rng: np.random.Generator) -> Ints:
    """A book for each entry of `reader`, perhaps one that was read before."""
    n, n_subjects = len(world.ids), odds.shape[1]
    way = rng.choice(4, size=len(reader), p=world.strengths.ways)
    start = np.searchsorted(pairs // n, np.arange(len(odds) + 1))
    have = np.diff(start)[reader]
    way[(have == 0) & (way > SUBJECT)] = SUBJECT
    book = world.everything.draw(np.zeros_like(reader), rng)

    by_subject = way == SUBJECT
    point = reader[by_subject] + rng.random(by_subject.sum())
    place = np.searchsorted(odds.ravel(), point, side="right") - reader[by_subject] * n_subjects
    book[by_subject] = world.by_subject.draw(np.minimum(place, n_subjects - 1), rng)

    loyal = np.flatnonzero(way > SUBJECT)
    read = pairs[start[reader[loyal]] + (rng.random(len(loyal)) * have[loyal]).astype(np.int64)] % n
    following = np.where(way[loyal] == SERIES, world.following[read], -1)
    same_author = world.by_author.draw(world.author[read], rng)
    book[loyal] = np.where(following >= 0, following, same_author)
    return book


def _first_of_each(pairs: Ints, wanted: Ints, n_books: int) -> tuple[Ints, Ints]:
    """Drop repeated pairs, then all but each reader's first `wanted`; also how many each reader has."""
    _, first = np.unique(pairs, return_index=True)
    pairs = pairs[np.sort(first)]
    pairs = pairs[np.argsort(pairs // n_books, kind="stable")]
    reader = pairs // n_books
    have = np.bincount(reader, minlength=len(wanted))
    place = np.arange(len(pairs)) - (np.cumsum(have) - have)[reader]
    return pairs[place < wanted[reader]], np.minimum(have, wanted)


def _stars(world: _World, pairs: Ints, tastes: Floats, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    by, n, n_authors = world.strengths, len(world.ids), int(world.author.max()) + 1
    reader, book = np.divmod(pairs, n)
    harshness = rng.standard_normal(len(tastes))
    match = np.einsum("ij,ij->i", tastes[reader], world.content[book])
    ties, tie = np.unique(reader * n_authors + world.author[book], return_inverse=True)
    loyalty = rng.standard_normal(len(ties))
    before = world.previous[book]
    sequel = (before >= 0) & np.isin(reader * n + before, pairs)
    noise = (np.euler_gamma - rng.gumbel(size=len(pairs))) * (np.sqrt(6) / np.pi)
    stars: Floats = (
        by.mean
        + by.quality * world.quality[book]
        + by.harshness * harshness[reader]
        + by.taste * match
        + by.loyalty * loyalty[tie]
        + by.sequel * sequel
        + by.noise * noise
    )
    return np.clip(np.rint(stars), 1, 5).astype(np.int8)


# --- the shipped sample


def write_sample(folder: Path) -> None:
    """Write the sample, books.csv as shipped and ratings.csv.gz simulated anew, into `folder`."""
    content = (SAMPLE / "books.csv").read_bytes()
    ratings = simulate_ratings(pl.read_csv(content), SAMPLE_READERS, SAMPLE_RATINGS, seed=SAMPLE_SEED)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "books.csv").write_bytes(content)
    text = ratings.write_csv().encode()
    (folder / "ratings.csv.gz").write_bytes(gzip.compress(text, compresslevel=9, mtime=0))
