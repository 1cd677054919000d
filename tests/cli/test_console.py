"""What long work says where the terminal shows no bars."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from shelfwise.cli import console


def test_progress_is_a_plain_line_now_and_then_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress() as on_progress:
        for done in range(1, 25):
            on_progress("fit", 1000 * done, 24_000)
            now += 0.5
        on_progress("rank", 1, 2)  # another stage has a clock of its own
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["fit: 11,000 of 24,000", "fit: 21,000 of 24,000"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_frames_are_written_as_they_come_in_their_order(tmp_path: Path, suffix: str) -> None:
    seen: list[weakref.ref[pl.DataFrame]] = []

    def frames() -> Iterator[pl.DataFrame]:
        for number in range(12):
            assert sum(one() is not None for one in seen) <= 1, "frames are kept"
            books = pl.Series("book", range(1000 * number, 1000 * number + 1000))
            frame = books.to_frame().with_columns(low=pl.lit(None, pl.Float32))
            seen.append(weakref.ref(frame))
            yield frame
            del frame

    target = tmp_path / f"lists.{suffix}"
    assert console.write_frames(frames(), target) == 12_000
    written = pl.read_csv(target) if suffix == "csv" else pl.read_parquet(target)
    assert written["book"].to_list() == list(range(12_000))
    assert [one.name for one in tmp_path.iterdir()] == [target.name]
