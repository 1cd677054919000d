"""The service for a minute at a fixed rate (or for as many seconds as SHELFWISE_SOAK says): nothing grows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_memory_files_threads_and_the_log_stay_flat(trained: Path) -> None:
    seconds = os.environ.get("SHELFWISE_SOAK", "60")
    words = ["--seconds", seconds, "--rate", "20", "--exchange-every", "10"]
    command = [sys.executable, str(ROOT / "benchmarks/soak.py"), str(trained), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| yes |") == 5
    assert " 0 failed" in done.stdout
