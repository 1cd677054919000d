"""The benchmarks run, on sizes so small that their figures mean nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_world import train_on, write_world

from shelfwise.artifact import save_run

ROOT = Path(__file__).parents[1]


def test_scale(tmp_path: Path) -> None:
    sizes = ["--sizes", "3000:100", "4000:150", "--set", "dense_books=120", "--set", "longest_shelf=30"]
    places = ["--out", str(tmp_path), "--runs", str(tmp_path / "runs")]
    command = [sys.executable, str(ROOT / "benchmarks/scale.py"), *places, *sizes]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    small, large = json.loads((tmp_path / "scale.json").read_text())
    assert (small["books"], large["books"]) == (100, 150)
    assert 2900 < small["ratings"] <= 3000 < large["ratings"] <= 4000
    assert large["longest_shelf"] > 30
    assert small["fit_cpu_seconds"] > 0
    assert 0 < small["data_memory"] <= small["memory"] < 16
    assert shown.splitlines()[-1].startswith(f"| {large['ratings']:,} | 150 |")
    for answers, n_books in zip(json.loads((tmp_path / "scale_answers.json").read_text()), (100, 150), strict=True):
        assert answers["books"] == n_books
        assert 0 < answers["p50"] <= answers["p99"]
        assert 0 < answers["disk"] < answers["memory"] < 16
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


def run_benchmark(*words: object) -> str:
    """What a benchmark prints."""
    name, *rest = map(str, words)
    command = [sys.executable, str(ROOT / "benchmarks" / name), *rest]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_requests_and_lists_for_everybody(tmp_path: Path) -> None:
    settings = {"about_dim": 8, "coreading_dim": 8, "epochs": 1}
    save_run(train_on(write_world(tmp_path / "world"), model="shelf", settings=settings), tmp_path / "run")
    run, out = tmp_path / "run", ("--out", tmp_path / "out")
    run_benchmark("request.py", run, "--times", 1, 2, "--shelves", 3, "--requests", 2, *out)
    small, large = json.loads((tmp_path / "out" / "request.json").read_text())
    assert large["books"] == 2 * small["books"]
    assert 0 < small["ms"]["3"]["p50"] <= small["ms"]["3"]["p99"]
    run_benchmark("everybody.py", run, "--rounds", 1, "--readers", 70, *out)
    found = json.loads((tmp_path / "out" / "everybody.json").read_text())
    assert 70 < found["70 readers"]["rows"][0] <= 700  # few books are left to some
    assert found["rules off"]["rows"][0] >= found["rules on"]["rows"][0] > 0
    for plot in ("request.png", "everybody.png"):
        assert (tmp_path / "out" / plot).read_bytes().startswith(b"\x89PNG")


def test_epochs_and_ablation(tmp_path: Path) -> None:
    shown = run_benchmark("epochs.py", "sample", "--models", "hybrid", "--rounds", 1, "--out", tmp_path)
    rates = json.loads((tmp_path / "epochs.json").read_text())["hybrid"]["rates"]
    assert rates["notebook / plain"] == [rates["notebook"][0] / rates["plain"][0]]
    assert 0 < rates["notebook / limit"][0] < 1
    assert 0 < rates["notebook / oneDNN's limit"][0] < 1
    assert 0 < rates["notebook, all epochs / limit"][0] < 1
    assert "| hybrid | default / plain |" in shown
    whole, less = "the whole model", "without author"
    shown = run_benchmark("ablation.py", "sample", "--seeds", 0, "--only", less, "--out", tmp_path)
    found = json.loads((tmp_path / "ablation.json").read_text())["0"]
    assert set(found[less]) == set(found[whole]) == {"mse", "hit", "log_loss", "ndcg@10"}
    assert f"| {less} | {found[less]['mse'] - found[whole]['mse']:+.4f} |" in shown
    assert found["without star head"]["mse"] > found[whole]["mse"]


def test_reading(tmp_path: Path) -> None:
    run_benchmark("reading.py", "--ratings", 3000, "--rounds", 2, "--formats", "csv", "--out", tmp_path)
    [found] = json.loads((tmp_path / "reading.json").read_text())
    kept = found["shelfwise"]["kept"]
    assert kept == found["pandas"]["kept"]
    assert len(kept) == 2
    assert 2500 < kept[0] < 3000  # some pairs are there twice
    assert (tmp_path / "reading.png").read_bytes().startswith(b"\x89PNG")


def test_stages(tmp_path: Path) -> None:
    run_benchmark("stages.py", "3000", "6000", "--books", 100, "--rounds", 1, "--out", tmp_path)
    kept = json.loads((tmp_path / "stages.json").read_text())
    small, large = kept["found"]["3000"], kept["found"]["6000"]
    assert (small["ratings"], large["ratings"]) == ([3000], [6000])
    parts = sum(large[f"{name}, s"][0] for name in ("read", "features", "fit", "report", "save"))
    assert large["shelf, s"][0] == pytest.approx(parts)
    assert large["shelf and baselines, s"][0] == pytest.approx(parts + large["baselines, s"][0])
    assert 0 < large["read, GiB"][0] <= large["save, GiB"][0]
    assert kept["slopes"]["read, s"] == pytest.approx(math.log2(large["read, s"][0] / small["read, s"][0]))
    assert (tmp_path / "stages.png").read_bytes().startswith(b"\x89PNG")


def test_a_gpu(tmp_path: Path) -> None:
    shown = run_benchmark("gpu.py", "sample", "--rounds", 1, "--device", "cpu", "--out", tmp_path)
    assert len(shown.splitlines()) == 2 + 5
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["hybrid notebook"]["cpu"]["per_second"][0] > 0
    assert found["solves all"]["cpu"]["per_second"][0] > 0
    if not torch.cuda.is_available():
        assert run_benchmark("gpu.py", "sample") == "no GPU here: nothing measured\n"


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


def test_matching_and_imports(tmp_path: Path) -> None:
    shown = run_benchmark("matching.py", "sample", "--out", tmp_path)
    found = json.loads((tmp_path / "matching.json").read_text())
    assert found["summary"]["cases"] == sum(sum(row.values()) for row in found["kinds"].values())
    assert f"precision {found['summary']['precision']:.4f}" in shown
    save_run(train_on(write_world(tmp_path / "world")), tmp_path / "run")
    lines = run_benchmark("imports.py", tmp_path / "run", "--rows", 40, "--megabytes", 1, "--most", 150).splitlines()
    assert lines[1].startswith("40 rows: ")
    assert [line.split(": ")[1].split(",")[0] for line in lines[2:]] == ["10", "100", "150", "refused", "refused"]


def test_pages(tmp_path: Path) -> None:
    save_run(train_on(write_world(tmp_path / "world")), tmp_path / "run")
    printed = run_benchmark("pages.py", tmp_path / "run", "--books", 8, "--changes", 2, "--out", tmp_path)
    found = json.loads((tmp_path / "pages.json").read_text())
    assert found["on the shelf"] == 8
    assert len(found["seconds"]["each change"]) == 2
    assert "from 8 books to the first list" in printed


def test_search(tmp_path: Path) -> None:
    save_run(train_on(write_world(tmp_path / "world")), tmp_path / "run")
    printed = run_benchmark("search.py", tmp_path / "run", "--repeats", 1, "--out", tmp_path / "out")
    assert "SQLite: 20 books indexed" in printed
    assert {"SQLite, slip", "SQLite, all"} <= json.loads((tmp_path / "out" / "search.json").read_text()).keys()
