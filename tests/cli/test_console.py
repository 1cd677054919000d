"""What long work says where the terminal shows no bars."""

from __future__ import annotations

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
