"""What the benchmarks share: a process for each measurement, so that its memory is its own, and rounds in turn."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any


def peak_memory() -> float:
    """Highest resident memory of this process so far, GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts KiB, on macOS bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def in_own_process(file: str, *words: object, threads: int | None = None) -> dict[str, Any]:
    """What `python FILE --one WORDS` prints as JSON in its last line. Ends this program where that fails."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    if threads is not None:
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    command = [sys.executable, file, "--one", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def in_turn(kinds: dict[str, Callable[[], dict[str, float]]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """What each kind measures, one after the other, so many times: found[kind][name] is one value a round."""
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds}
    for _ in range(rounds):
        for kind, measure in kinds.items():
            for name, value in measure().items():
                found[kind].setdefault(name, []).append(value)
    return found


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(over, under, strict=True)]


def shown(values: list[float]) -> str:
    """Median (smallest to largest)."""
    return f"{median(values):,.3g} ({min(values):,.3g} to {max(values):,.3g})"


def keep(folder: Path | None, name: str, found: Any) -> None:
    """Write FOLDER/NAME.json."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def print_result(found: dict[str, Any]) -> None:
    """What in_own_process reads."""
    print(json.dumps(found))
