"""What the API takes and gives; the OpenAPI description is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, create_model

from shelfwise.config import Config
from shelfwise.rules import Rules
from shelfwise.rules.feedback import Action

BookId = int | Annotated[str, StringConstraints(min_length=1, max_length=200)]
ReaderId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f/]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Names = Annotated[list[Name], Field(max_length=200)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Order = Literal["blend", "stars", "pickup"]
FILTERS = (
    "language",
    "year_from",
    "year_to",
    "tag",
    "not_tag",
    "author",
    "not_author",
    "series",
    "holdings",
    "exclude",
)
SHELF: list[JsonValue] = [{"book_id": 1, "stars": 5}, {"book_id": 7, "stars": 4}]


def _part(name: str, doc: str, fields: list[str]) -> type[Config]:
    """Some of the settings of Rules, as a class of their own."""
    picked: dict[str, Any] = {f: (Rules.model_fields[f].annotation, Rules.model_fields[f]) for f in fields}
    made: type[Config] = create_model(name, __base__=Config, __doc__=doc, **picked)
    return made


Filters = _part("Filters", "Which books may be listed (docs/rules.md).", list(FILTERS))
ListRules = _part(
    "ListRules", "What the list is to be like (docs/rules.md).", [f for f in Rules.model_fields if f not in FILTERS]
)


class Asked(BaseModel):
    """Base of all requests: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Rating(Asked):
    """Stars on the scale of the run."""

    book_id: BookId
    stars: Annotated[float, Field(allow_inf_nan=False)]


class Who(Asked):
    """Ratings of anybody, which are not stored, or a stored reader's id."""

    ratings: list[Rating] | None = None
    reader: ReaderId | None = None


class ListRequest(Who):
    """What to read next?"""

    n: Annotated[int, Field(ge=1)] = 10
    order: Order | None = None
    filters: Filters = Field(default_factory=Filters)  # type: ignore[valid-type]
    rules: ListRules = Field(default_factory=ListRules)  # type: ignore[valid-type]
    explain: bool = False

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"ratings": SHELF, "n": 10, "order": "blend", "filters": {"language": ["en"]},
                 "rules": {"first_unread": True, "per_author": 1}, "explain": True},
                {"reader": "ann", "n": 5},
            ]
        },
    )  # fmt: skip


class PredictionRequest(Who):
    """What stars would books get?"""

    books: Annotated[list[BookId], Field(min_length=1, max_length=1000)]

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ratings": SHELF, "books": [2, 3]}]})


class NewBook(Who):
    """A book that has just appeared, and, if somebody is to be told of it, whom."""

    title: Name
    authors: Names = Field(default_factory=list)
    series: Name | None = None
    series_number: Number | None = None
    year: Annotated[int, Field(ge=-5000, le=3000)] | None = None
    language: Name | None = None
    tags: Names = Field(default_factory=list)
    text: Annotated[str, Field(max_length=20_000)] = ""
    vector: Annotated[list[Number], Field(max_length=10_000)] | None = None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"title": "The Lantern Keeper", "authors": ["Jane Doe"], "year": 2026, "tags": ["fantasy"],
                          "text": "A young adult tale of magic and war.", "ratings": SHELF}]
        },
    )  # fmt: skip


class ModelName(BaseModel):
    """Which run answered: the name of its folder, and the beginning of its manifest's SHA-256."""

    name: str
    version: str


class ReasonOut(BaseModel):
    """`code` is stable; contribution in stars; book_id of the reader's own book that is named."""

    code: str
    text: str
    contribution: float | None
    book_id: BookId | None


class Listed(BaseModel):
    """A book of a list. stars  expected; low, high  the smallest range that holds 80 %, where the model says."""

    book_id: BookId
    title: str
    authors: list[str]
    stars: float
    low: float | None
    high: float | None
    score: float
    reasons: list[ReasonOut]


class ListAnswer(BaseModel):
    """short  why there are fewer books than asked for; unknown_books  rated books that the catalogue has not."""

    books: list[Listed]
    model: ModelName
    recommendation_id: str
    short: str | None
    unknown_books: list[str]


class Prediction(BaseModel):
    """basis  on what it rests: reader+book, book, reader or mean; most_likely, sd, low, high where the model says."""

    book_id: BookId
    stars: float
    most_likely: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    basis: str


class PredictionAnswer(BaseModel):
    """In the order asked."""

    predictions: list[Prediction]
    model: ModelName


class Book(BaseModel):
    """A book of the catalogue. ratings  in training; mean_stars  expected of somebody unknown."""

    book_id: BookId
    title: str
    authors: list[str]
    series: str | None
    series_number: float | None
    year: int | None
    language: str | None
    subjects: list[str]
    description: str | None
    isbn13: str | None
    ratings: int
    mean_stars: float
    model: ModelName


class Similar(BaseModel):
    """similarity  cosine of contents"""

    book_id: BookId
    title: str
    similarity: float


class SimilarAnswer(BaseModel):
    """Nearest first."""

    books: list[Similar]
    model: ModelName


class NewBookAnswer(BaseModel):
    """prediction  for the reader, if one was given, and else for somebody unknown; similar books of the catalogue;
    known_tags  those of its tags, or found in its text, that the model knows."""

    prediction: Prediction
    similar: list[Similar]
    known_tags: list[str]
    model: ModelName


class Mark(Asked):
    """What a reader says beside stars: subject is a book id, for hide-author a name."""

    action: Action
    subject: BookId

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"action": "dismiss", "subject": 27}]})


class NewReader(Asked):
    """A reader to be remembered."""

    reader_id: ReaderId

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reader_id": "ann"}]})


class Ratings(Asked):
    """Ratings to set, all or none; given again, they change nothing."""

    ratings: list[Rating]

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ratings": SHELF}]})


class Marks(Asked):
    """Marks to set, all or none."""

    marks: list[Mark]


class Said(BaseModel):
    """What is kept of a reader."""

    reader_id: str
    ratings: list[Rating]
    marks: list[Mark]


class Export(BaseModel):
    """Everything that is kept of a reader, table by table; `training` is what served runs know, by their names."""

    readers: list[dict[str, Any]]
    ratings: list[dict[str, Any]]
    marks: list[dict[str, Any]]
    lists: list[dict[str, Any]]
    responses: list[dict[str, Any]]
    training: dict[str, list[Rating]]


class Erased(BaseModel):
    """From where a reader was deleted."""

    stored: bool
    runs: list[str]


class ImportCandidate(BaseModel):
    """A book that a row may be; confidence from 0 to 1."""

    book_id: BookId
    title: str
    authors: list[str]
    confidence: float


class ImportProblem(BaseModel):
    """A value of a row that could not be read and counts as absent. code  stars, isbn, date or text"""

    code: str
    text: str


class ImportRow(BaseModel):
    """A row of an export: what it says, what it is (book_id, rating on the run's scale), or may be (candidates)."""

    row: int
    outcome: Literal["matched", "review", "not-in-catalogue", "unreadable"]
    how: str
    reason: str
    title: str
    authors: list[str]
    isbns: list[str]
    stars: float | None
    status: str | None
    shelf: str
    read_on: str
    problems: list[ImportProblem]
    book_id: BookId | None
    rating: float | None
    rounded: bool
    counted_in: int | None
    suggested: bool
    candidates: list[ImportCandidate]


class ImportAnswer(BaseModel):
    """What a file says. counts  rows = matched + review + not-in-catalogue + unreadable; stored  whose it is now"""

    source: str
    encoding: str
    scale: str
    counts: dict[str, int]
    notes: list[str]
    rows: list[ImportRow]
    ratings: list[Rating]
    marks: list[Mark]
    stored: str | None
    model: ModelName


class ServedModel(BaseModel):
    """A run that may answer. loaded  seconds since 1970, or null"""

    name: str
    active: bool
    version: str | None
    loaded: float | None


class ModelList(BaseModel):
    """previous  what a roll-back would activate"""

    models: list[ServedModel]
    previous: str | None
