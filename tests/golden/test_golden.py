"""What a user sees, word for word, on a tiny world. After a change that is meant: GOLDEN=write pytest tests/golden

The help of every command below these two pages is pinned by docs/cli.md.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from tiny_world import rows_of_a_world, train_on, write_ratings, write_rows, write_world

from shelfwise.artifact import MANIFEST, save_run
from shelfwise.cli import main

HERE = Path(__file__).parent
# file -> words of the call, made in a folder that holds the world "tiny", the run "run" and the files below
CALLS = {
    "help": ["--help"],
    "help-data": ["data", "--help"],
    "audit": ["audit", "tiny"],
    "audit-json": ["audit", "tiny", "--json"],
    "train": ["train", "tiny", "--model", "bias", "--out", "new"],
    "evaluate": ["evaluate", "run"],
    "evaluate-json": ["evaluate", "run", "--json"],
    "predict": ["predict", "run", "pairs.csv", "--shelf", "shelf.csv"],
    "recommend": ["recommend", "run", "--reader", "3", "-n", "5"],
    "recommend-shelf-json": ["recommend", "run", "--shelf", "shelf.csv", "-n", "2", "--json"],
    "similar": ["similar", "run", "--book", "1", "-n", "5"],
    "import": ["import", "export.csv", "run", "--failures", "failures.csv"],
    "error-no-run": ["recommend", "nowhere", "--all"],
    "error-run-exists": ["train", "tiny", "--out", "run"],
    "error-bad-stars": ["train", "tiny", "--out", "new", "--train-ratings", "bad.csv"],
    "error-wrong-setting": ["train", "tiny", "--out", "new", "--model", "bias", "--set", "warmth=3"],
    "error-for-whom": ["recommend", "run"],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    save_run(train_on(write_world(tmp_path / "tiny")), tmp_path / "run")
    write_rows(Path("pairs.csv"), "note,user_id,book_id", [("a", 2, 5), ("b", 1, 999), ("c", "ann", 1), ("d", 77, 1)])
    write_ratings(Path("shelf.csv"), [("ann", 1, 1), ("ann", 2, 2), ("ann", 999, 2), ("bob", 20, 5)])
    Path("export.csv").write_text(
        "Title,Authors,ISBN/UID,Read Status,Star Rating\nThe dragons of 1,Author 0,,read,4.25\n"
        "The harbour of 2,Author 1,,to-read,\nThe detective of 3,,,read,3\nUnheard of,Nobody,,read,5\n,,,read,2\n"
    )
    write_ratings(Path("bad.csv"), [*rows_of_a_world(), (1, 3, "good")])
    return tmp_path


def without_what_varies(text: str) -> str:
    """Seconds, and digits beyond the fifth of a number, differ between runs and machines."""
    text = re.sub(r'("\w+_seconds": )[\d.e-]+', r"\1SECONDS", text)
    text = re.sub(r"(\d\.\d{4}|–) +\d+\.\d\s*$", r"\1 SECONDS", text, flags=re.M)
    text = re.sub(r"\d+\.\d{5,}(e-\d+)?", lambda number: f"{float(number[0]):.5g}", text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def assert_golden(name: str, shown: str) -> None:
    golden = HERE / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(shown, encoding="utf-8")
    assert golden.exists(), "GOLDEN=write makes it"
    assert shown == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CALLS)
def test_the_output_is_word_for_word_what_it_was(
    name: str, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["shelfwise", *CALLS[name]])
    capfd.readouterr()
    code: object = 0
    try:
        main()
    except SystemExit as stopped:
        code = stopped.code or 0
    out, err = capfd.readouterr()
    assert_golden(name, without_what_varies(f"exit {code}\n--- stdout\n{out}--- stderr\n{err}"))


def test_the_manifest_keeps_its_form(place: Path) -> None:
    """Names and types of all that it holds: what reads older runs relies on them."""

    def form(value: object) -> object:
        if isinstance(value, dict):
            return {name: form(below) for name, below in value.items()}
        return [form(below) for below in value[:1]] if isinstance(value, list) else type(value).__name__

    assert_golden("manifest", json.dumps(form(json.loads((place / "run" / MANIFEST).read_text())), indent=1) + "\n")


def test_every_golden_file_is_compared() -> None:
    assert {file.stem for file in HERE.glob("*.txt")} == {*CALLS, "manifest"}
