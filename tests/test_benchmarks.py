"""The benchmarks run, on sizes so small that their figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tiny_world import train_on, write_world

from shelfwise.artifact import save_run

ROOT = Path(__file__).parents[1]


def test_scale(tmp_path: Path) -> None:
    sizes = ["--sizes", "3000:100", "4000:150", "--set", "dense_books=120", "--set", "longest_shelf=30"]
    command = [sys.executable, str(ROOT / "benchmarks/scale.py"), "--out", str(tmp_path), *sizes]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    small, large = json.loads((tmp_path / "scale.json").read_text())
    assert (small["books"], large["books"]) == (100, 150)
    assert 2900 < small["ratings"] <= 3000 < large["ratings"] <= 4000
    assert large["longest_shelf"] > 30
    assert small["fit_cpu_seconds"] > 0
    assert 0 < small["data_memory"] <= small["memory"] < 16
    assert shown.splitlines()[-1].startswith(f"| {large['ratings']:,} | 150 |")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


def test_reasons_and_rules(tmp_path: Path) -> None:
    save_run(train_on(write_world(tmp_path / "world"), model="bias"), tmp_path / "run")
    for words in (
        ["reasons.py", tmp_path / "run", "--predictions", "20", "--out", tmp_path],
        ["rules.py", tmp_path / "run", "5"],
    ):
        command = [sys.executable, str(ROOT / "benchmarks" / str(words[0])), *map(str, words[1:])]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
        assert len(shown.splitlines()) >= 5
    found = json.loads((tmp_path / "reasons.json").read_text())
    assert found["predictions"] == 20
    assert found["largest difference, stars"] < 1e-4


def test_peers(tmp_path: Path) -> None:
    words = ["sample", "--out", str(tmp_path), "--peers", "bias", "--trials", "1", "--readers", "50"]
    command = [sys.executable, str(ROOT / "benchmarks/peers.py"), *words]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout
    bias = json.loads((tmp_path / "peers.json").read_text())["models"]["bias"]
    assert [trial["settings"] for trial in bias["trials"]] == [bias["chosen"]]
    columns = {"fit_seconds", "predict_seconds", "list_seconds", "mse", "hit", "ndcg@10", "memory"}
    assert set(bias["rounds"][0]) == columns
    assert 0 < bias["rounds"][0]["mse"] < 16
    assert any(line.startswith("| bias (shelfwise ") for line in shown.splitlines())
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")
