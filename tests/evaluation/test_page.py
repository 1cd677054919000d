"""The report page: sound HTML that asks for nothing outside, safe against odd titles, honest about what is lost."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from shelfwise.data.audit import Audit
from shelfwise.evaluation.page import METRICS, gains, metric, number, percent, report_page, segment_rows, size, verdict
from shelfwise.evaluation.protocol import Measures
from shelfwise.evaluation.report import BETTER_IS_MORE, Example, Repeat, Report, Result, lost_to

NAN = float("nan")
VOID = {"meta", "source", "img", "br", "link", "hr", "input"}
SCALE = ("1", "2", "3", "4", "5")
TRUE = dict(zip(SCALE, (0.02, 0.06, 0.25, 0.36, 0.31), strict=True))
HISTORY = [
    {"epoch": e, "train_loss": 0.72 - 0.02 * e, "valid_mse": 0.66 + 0.004 * (e - 4) ** 2, "seconds": 4.1}
    for e in range(1, 8)
]
HOSTILE = '<script>alert("x")</script> & \'"><img src=x onerror=alert(1)>'


def an_audit(**changes: Any) -> Audit:
    quantiles = {"min": 2.0, "10%": 6.0, "25%": 8.0, "50%": 16.0, "75%": 24.0, "90%": 34.5, "max": 199.0, "mean": 18.4}
    values: dict[str, Any] = {
        "name": "goodbooks-10k", "edition": "kaggle", "fingerprint": "690aa2a97e36e1d3" * 4, "scale": "1-5",
        "ids": "goodreads", "duplicates": "last", "n_rows": 981756, "n_out_of_scale": 0, "n_exact_duplicates": 1644,
        "n_repeated": 4487, "n_conflicting_pairs": 2281, "n_unknown_book_rows": 0, "unknown_books": [],
        "n_ratings": 975625, "n_readers": 53424, "n_books": 10000, "n_books_rated": 10000, "density": 0.001826,
        "stars": {"1": 19485, "2": 63010, "3": 247698, "4": 355878, "5": 289554}, "mean_stars": 3.8544,
        "ratings_per_reader": quantiles, "ratings_per_book": quantiles, "n_single_rating_readers": 17,
        "n_capped_books": 7892, "cap": 100, "series_overlap": 0.302, "author_overlap": 0.448,
        "holes": {"authors": 0, "series": 5903, "year": 21, "description": 10000, "isbn13": 585, "tags": 3},
        "n_events": 912705, "n_event_readers": 48871, "n_unknown_event_rows": 0,
        "parts": {"train": 682938, "valid": 195125, "test": 97562}, "test_reader_unseen": 0.0004,
        "test_book_unseen": 0.0,
    }  # fmt: skip
    return Audit.model_validate(values | changes)


def a_result(model: str, factor: float = 1.0, *, likely: bool = False, lists: float = 0.05, **changes: Any) -> Result:
    """A result whose squared error is `factor` of the bias model's."""
    star = {"mse": 0.699 * factor, "rmse": (0.699 * factor) ** 0.5, "mae": 0.66 * factor, "hit": 0.43 / factor}
    kinds = {
        "shelf": {"same series": (29000, 0.62, 1.6), "same author": (14500, 0.66, 1.2), "neither": (54062, 0.75, 0.5)},
        "history": {"0": (40, 0.93, 0), "1-4": (9000, 0.80, 0.4), "5-19": (52000, 0.71, 1), "20+": (36522, 0.65, 1.3)},
        "book ratings": {"1-19": (900, 0.78, 0.8), "20-49": (8500, 0.74, 1), "50-99": (88162, 0.69, 1.02)},
        "basis": {"reader+book": (97522, 0.699, 1), "book": (40, 0.93, 0)},
    }
    segments = {
        name: {label: {"mse": mse * (1 + weight * (factor - 1)), "n": n} for label, (n, mse, weight) in group.items()}
        for name, group in kinds.items()
    }
    stated = [2.6 + 0.22 * k for k in range(10)]
    measures: dict[str, Any] = {
        "stars": {**star, **({"log_loss": 1.21} if likely else {}), "n": 97562},
        "ranking": {"ndcg@10": lists, "recall@10": 0.8 * lists, "mrr@10": 1.1 * lists, "n_readers": 10000,
                    "coverage": 0.31, "novelty": 12.9, "diversity": 0.86, "popularity_bias": 1.07},
        "segments": segments,
        "intervals": {"mse": (0.695 * factor, 0.703 * factor)},
        "calibration": [{"stated": s, "true": 3.85 + (s - 3.85) * (1.7 - 0.7 * factor), "n": 9756.0} for s in stated],
        "histogram": {"true": TRUE, "named": dict(zip(SCALE, (0.001, 0.01, 0.22, 0.62, 0.149), strict=True))},
        "reliability": {
            k: [{"stated": p / 10, "true": min(1, max(0, p / 10 + 0.03 * (int(k) - 3))), "n": 9.0} for p in range(11)]
            for k in SCALE[1:]
        } if likely else {},
    }  # fmt: skip
    return Result(
        model=model,
        settings={"kind": model, "size": 64, "recipe": "default"},
        part="test",
        measures=Measures.model_validate(measures | changes),
        fit_seconds=41.2,
        measure_seconds=6.3,
    )


def a_report(results: list[Result], **changes: Any) -> Report:
    return Report(audit=an_audit(), results=results, tried=[], **changes)


def an_example(user_id: str, ndcg: float, found: tuple[int, ...] = ()) -> Example:
    shelf = ["The Fellowship of the Ring (The Lord of the Rings, #1)", "Ender's Game", "Neuromancer", "Dune (Dune, #1)"]
    listed = ["Dune Messiah (Dune, #2)", "The Two Towers (The Lord of the Rings, #2)", "Foundation", "Hyperion",
              "Snow Crash", "The Left Hand of Darkness", "Ubik", "Solaris", "Speaker for the Dead", "Emma"]  # fmt: skip
    return Example(
        user_id=user_id, ndcg=ndcg, liked=shelf * 4, disliked=["Twilight (Twilight, #1)"] if ndcg else [],
        listed=listed, found=[place in found for place in range(10)],
    )  # fmt: skip


def a_full_report() -> Report:
    results = [
        a_result("hybrid", 0.892, likely=True, lists=0.061), a_result("bias", 1.0, lists=0.012),
        a_result("global-mean", 1.42, ranking={"n_readers": 0}), a_result("popularity", 1.42, lists=0.021),
        a_result("item-knn", 0.921, lists=0.05), a_result("coreading-knn", 1.0, lists=0.109),
        a_result("ease", 1.0, lists=0.118),
    ]  # fmt: skip
    examples = [an_example("314", 0.63, (0, 1, 8)), an_example("27182", 0.0), an_example("1618", 0.39, (2,)),
                an_example("577", 0.0)]  # fmt: skip
    return a_report(
        results,
        skipped={"mf": "needs at least 100 ratings of a book"},
        examples=examples,
        repeats=[Repeat(seed=s, results=[a_result("hybrid", 0.89 + s / 500), a_result("bias")]) for s in range(3)],
        digest="ab12" * 16,
        peak_memory_bytes=3 * 2**30,
    )


def the_page(report: Report, history: list[dict[str, float]] | None = None, title: str = "A report") -> str:
    return report_page(report, title=title, command="shelfwise train goodbooks-10k", history=history or [])


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps tags, table rows by first cell, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def full() -> str:
    return the_page(a_full_report(), HISTORY)


def test_page_is_sound_and_asks_for_nothing(full: str) -> None:
    reader = Reader(full)
    assert full.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|@import|url\(|<script|<link", full, re.IGNORECASE)
    for tag, attributes in reader.tags:
        for name in ("src", "srcset", "href"):
            if name in attributes:
                assert re.match(r"data:image/svg\+xml;base64,|#", attributes[name] or ""), (tag, attributes[name])
        assert not any(name.startswith("on") for name in attributes)
    anchors = {a["href"] for tag, a in reader.tags if tag == "a"}
    assert anchors == {f"#{a['id']}" for tag, a in reader.tags if tag == "section"}


def test_page_can_be_heard_and_read_on_a_phone(full: str) -> None:
    tags = Reader(full).tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    tables = [place for place, (tag, _) in enumerate(tags) if tag == "table"]
    assert all(tags[place + 1][0] == "caption" and tags[place - 1][1].get("class") == "scroll" for place in tables)


def test_plots_are_drawn_for_light_and_for_dark(full: str) -> None:
    tags = Reader(full).tags
    light = [a["src"] or "" for tag, a in tags if tag == "img"]
    dark = [a["srcset"] or "" for tag, a in tags if tag == "source"]
    assert len(light) == len(dark) == 6
    for one, other in zip(light, dark, strict=True):
        day, night = (base64.b64decode(uri.partition(",")[2]).decode() for uri in (one, other))
        assert "<svg" in day
        assert day != night
    assert the_page(a_full_report(), HISTORY) == full


def test_every_part_of_the_report_is_told(full: str) -> None:
    text = Reader(full).text
    for words in (
        "hybrid loses on NDCG@10, recall@10 and MRR@10 to coreading-knn and ease",
        "[0.620, 0.627]", "0.892", "same series", "29,000",
        "log-loss", "needs at least 100 ratings", "Speaker for the Dead", "and 4 more", "Over 3 seeds (0, 1, 2)",
        "3.00 GiB", "Audit of goodbooks-10k (kaggle)", "fingerprint", "31.0 %", "shelfwise train goodbooks-10k",
    ):  # fmt: skip
        assert words in text, words


def test_hostile_words_are_escaped() -> None:
    result = a_result("hybrid").model_copy(update={"settings": {HOSTILE: HOSTILE}})
    example = an_example(HOSTILE, 0.5, (1,)).model_copy(update={"listed": [HOSTILE] * 10, "liked": [HOSTILE]})
    report = a_report([result, a_result("bias")], examples=[example], skipped={HOSTILE: HOSTILE})
    report = report.model_copy(update={"audit": an_audit(name=HOSTILE, edition=HOSTILE, stars={HOSTILE: 1})})
    page = report_page(report, title=HOSTILE, command=HOSTILE, history=[])
    tags = Reader(page).tags
    assert "script" not in {tag for tag, _ in tags}
    assert all("onerror" not in attributes for _, attributes in tags)
    assert HOSTILE in Reader(page).text


def test_a_run_that_no_command_made_names_none() -> None:
    report = a_report([a_result("hybrid"), a_result("bias")])
    assert "Made by" not in report_page(report, title="a run", command="", history=[])
    assert "Made by" in report_page(report, title="a run", command="shelfwise train", history=[])


def marked(page: str) -> int:
    return sum(a.get("class") == "wins" for _, a in Reader(page).tags)


def test_what_a_model_loses_is_marked() -> None:
    page = the_page(a_report([a_result("mf", 0.95, lists=0.01), a_result("bias", 1.0, lists=0.02)]))
    assert marked(page) == 3
    text = Reader(page).text
    assert "mf loses on NDCG@10, recall@10 and MRR@10 to bias. On everything else" in text
    assert "▲ marks where" in text


def test_a_model_that_loses_nothing_has_no_mark() -> None:
    page = the_page(a_report([a_result("mf", 0.95), a_result("bias")]))
    assert marked(page) == 0
    assert "mf loses to no baseline" in Reader(page).text
    assert "▲" not in page


def test_a_report_of_nothing() -> None:
    report = Report(
        audit=an_audit(parts={}, test_reader_unseen=None, test_book_unseen=None, cap=None), results=[], tried=[]
    )
    text = Reader(the_page(report)).text
    assert "nothing was measured" in text
    assert "Audit of goodbooks-10k" in text


def test_nan_and_missing_parts() -> None:
    bare = {"ranking": {"n_readers": 0}, "segments": {}, "intervals": {}, "calibration": [], "histogram": {}}
    nothing = a_result("mf", stars={"mse": NAN, "rmse": NAN, "mae": NAN, "hit": NAN, "n": 0}, **bare)
    text = Reader(the_page(a_report([nothing]), [{"epoch": 1, "train_loss": 0.7, "valid_mse": NAN}])).text
    assert "nan" not in text.lower()
    assert "No lists were measured." in text
    assert "No baseline was measured" in text
    partly = a_result("mf", segments={"history": {"0": {"mse": NAN, "n": 0}, "1-4": {"mse": 0.7, "n": 4}}})
    assert "nan" not in Reader(the_page(a_report([partly, a_result("bias", segments={})]))).text.lower()


def test_segments_compare_with_the_bias_model() -> None:
    model, bias = a_result("mf", 0.9), a_result("bias")
    row = segment_rows(model, bias, "shelf")[0]
    assert (row.label, row.n, row.share) == ("same series", 29000, pytest.approx(29000 / 97562))
    assert row.ratio == pytest.approx(1 + 1.6 * -0.1)
    assert segment_rows(model, None, "shelf")[0].ratio is None
    assert sum(gains(model, bias).values()) == pytest.approx(1)
    assert gains(a_result("mf", 1.1), bias) == {}
    assert gains(bias, bias) == {}


def test_verdict() -> None:
    assert list(METRICS) == list(BETTER_IS_MORE)
    results = [a_result("mf", 1.1), a_result("bias"), a_result("item-knn", 0.9)]
    lost = lost_to(results)
    assert verdict(results, lost).startswith("mf loses on MSE, MAE and hit to bias and item-knn. On")
    assert verdict([], {}) == "Nothing was measured."


def test_numbers() -> None:
    assert [number(v, 2) for v in (1234.567, None, NAN)] == ["1,234.57", "–", "–"]
    assert [percent(v) for v in (0.256, None, NAN)] == ["25.6 %", "–", "–"]
    assert [metric(0.4312, "hit"), metric(0.4312, "mse"), metric(None, "hit")] == ["43.12", "0.4312", "–"]
    assert [size(5 * 2**20), size(3 * 2**30)] == ["5 MiB", "3.00 GiB"]
