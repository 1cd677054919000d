"""An invented catalogue of any size, for tests and benchmarks: titles, authors, subjects, series."""

from __future__ import annotations

import numpy as np
import polars as pl

from shelfwise.data.simulate import CATALOGUE, Ints, random_stream
from shelfwise.errors import ConfigError

COLUMNS = "book_id title authors year language subjects series series_number"  # of books.csv
FIRST = "Ada Bram Celia Dario Edith Farid Greta Hugo Ines Jonas Kaya Leon Mara Nils Odile Pavel Rosa Samir Tilda Yusuf"
INITIALS = "A. B. C. D. E. F. G. H. J. K. L. M. N. O. P. R. S. T. V. W."
SYLLABLES = "bel cor dan el fir gar hol is jor kel lan mor nor ol per quin ros sel tor ul van wes yar zen"
ENDINGS = "berg dale ford ham ley low man mond more ova ridge sen son stone ton well"
SAGAS = "Chronicles Mysteries Saga Tales Trilogy Wars"
ADJECTIVES = "Blind Broken Burning Dark Distant Empty Hidden Hollow Last Long Lost Quiet Silver Sleeping White Wild"
NOUNS = """Bridge City Clock Crown Daughter Door Forest Garden Harbour House Island King Letter Lighthouse Map Mirror
Moon Mountain Night Orchard Promise River Road Sea Secret Shadow Silence Sister Stranger Summer Tower Winter"""
SUBJECTS = """crime detective spy war historical biography politics society social-novel family women romance
coming-of-age children animals fairy-tales fantasy mythology adventure sea travel nature science science-fiction
utopia horror gothic psychological philosophy religion essays poetry drama satire humour short-stories"""
LANGUAGES = {"en": 0.72, "fr": 0.06, "es": 0.06, "de": 0.05, "it": 0.03, "ja": 0.03, "ru": 0.02, "pt": 0.02, "sv": 0.01}


def simulate_catalogue(n_books: int, *, seed: int) -> pl.DataFrame:
    """`n_books` invented books with the columns and types of the sample's books.csv, book_id 1..n_books.

    About 3 books an author, the most prolific having hundreds in a large catalogue; a third of the books in
    series of 2 to 7 volumes; 2 to 4 subjects, beginning with the author's own; no title twice by one author.
    Raises ConfigError.
    """
    if n_books < 1 or seed < 0:
        raise ConfigError(f"{n_books} books, seed {seed}", hint="ask for 1 book or more and a seed of 0 or more")
    rng = random_stream(seed, CATALOGUE)
    n_authors = 1 + int(0.35 * n_books)
    author = (n_authors * rng.random(n_books) ** 1.5).astype(np.int64)
    second = rng.integers(n_authors, size=n_books)
    with_second = (rng.random(n_books) < 0.08) & (second != author)
    volumes = np.where(rng.random(n_authors) < 0.4, rng.integers(2, 8, n_authors), 0)  # of the author's series
    genre = (len(SUBJECTS.split()) * rng.random(n_authors) ** 1.3).astype(np.int64)
    debut = 2012 - (30 * rng.standard_exponential(n_authors)).astype(np.int64)
    language = rng.choice(list(LANGUAGES), n_authors, p=list(LANGUAGES.values()))
    names = _spell(np.arange(n_authors), FIRST, INITIALS, SYLLABLES.title(), SYLLABLES, ENDINGS, form="{} {} {}{}{}")
    books = pl.DataFrame(
        {
            "book_id": np.arange(1, n_books + 1),
            "author": author,
            "volumes": volumes[author],
            "title": _titles(n_books, rng),
            "lead": names.gather(author),
            "second": pl.select(pl.when(pl.Series(with_second)).then(names.gather(second))).to_series(),
            "debut": debut[author],
            "language": language[author],
            "subjects": _subjects(genre[author], rng),
        }
    )
    return _number_volumes(books).select(COLUMNS.split())


def _number_volumes(books: pl.DataFrame) -> pl.DataFrame:
    """Add authors, year, series and series_number, and tell an author's equal titles apart."""
    books = books.with_columns(
        authors=pl.concat_str("lead", "second", separator="|", ignore_nulls=True),
        nth=pl.int_range(pl.len(), dtype=pl.Int64).over("author"),
    )
    books = books.with_columns(
        cycle=pl.col("nth") // pl.col("volumes"),  # null without series: division by 0
        again=pl.int_range(pl.len()).over("authors", "title"),
        year=(pl.col("debut") + 2 * pl.col("nth")).clip(1450, 2024),
    )
    part = pl.format("{}, Part {}", "title", pl.col("again") + 1)
    serial = (pl.col("volumes") > 0) & (pl.len().over("author", "cycle") > 1)
    books = books.with_columns(
        code=pl.when(serial).then((pl.col("author") * pl.len() + pl.col("cycle")).rank("dense").cast(pl.Int64)),
        series_number=pl.when(serial).then(pl.col("nth") % pl.col("volumes") + 1),
        title=pl.when(pl.col("again") == 0).then("title").otherwise(part),
    )
    code = books["code"].fill_null(0).to_numpy()
    series = _spell(code, SYLLABLES.title(), SYLLABLES, SYLLABLES, ENDINGS, SAGAS, form="{}{}{}{} {}")
    return books.with_columns(series=pl.when(pl.col("code").is_not_null()).then(series))


def _titles(n: int, rng: np.random.Generator) -> pl.Series:
    def words(text: str) -> pl.Series:
        return pl.Series(text.split()).gather(rng.integers(len(text.split()), size=n))

    place = _spell(rng.integers(1 << 20, size=n), SYLLABLES.title(), SYLLABLES, ENDINGS, form="{}{}{}")
    parts = {"adjective": words(ADJECTIVES), "noun": words(NOUNS), "other": words(NOUNS), "place": place}
    forms = [
        pl.format("The {} {}", "adjective", "noun"),
        pl.format("The {} of {}", "noun", "place"),
        pl.format("{} {}", "adjective", "noun"),
        pl.format("The {} and the {}", "noun", "other"),
        pl.format("{}: The {} {}", "place", "adjective", "noun"),
    ]
    form = pl.Series(rng.integers(len(forms), size=n))
    title = pl.coalesce(pl.when(form == k).then(text) for k, text in enumerate(forms))
    return pl.DataFrame(parts).select(title).to_series()


def _subjects(genre: Ints, rng: np.random.Generator) -> pl.Series:
    """The subject `genre` and 1 to 3 that stand after it in SUBJECTS, the near ones more often."""
    vocabulary = pl.Series(SUBJECTS.split())
    steps = np.minimum(rng.geometric(0.35, (3, len(genre))), 10)  # three steps never come round to `genre`
    size = rng.integers(2, 5, len(genre))
    columns = [vocabulary.gather(genre).alias("0")]
    for k, distance in enumerate(np.cumsum(steps, axis=0), start=1):
        subject = vocabulary.gather((genre + distance) % len(vocabulary))
        columns.append(pl.select(pl.when(pl.Series(size > k)).then(subject).alias(str(k))).to_series())
    return pl.DataFrame(columns).select(pl.concat_str(pl.all(), separator="|", ignore_nulls=True)).to_series()


def _spell(code: Ints, *parts: str, form: str) -> pl.Series:
    """A text for each number, one word out of each of `parts`: no two alike below the number of combinations."""
    lists = [part.split() for part in parts]
    rest = code * 7919 % int(np.prod([len(words) for words in lists]))  # a prime: neighbours look unlike
    columns = {}
    for k, words in enumerate(lists):
        rest, digit = np.divmod(rest, len(words))
        columns[str(k)] = pl.Series(words).gather(digit)
    return pl.DataFrame(columns).select(pl.format(form, *columns)).to_series()
