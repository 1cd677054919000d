"""A model measured over blocks by other engines: the same measures."""

from __future__ import annotations

import pytest
from tiny_world import rows_of_a_world, train_on, write_world

from shelfwise import Rules, Run, evaluate, lab
from shelfwise.engine import Engine
from shelfwise.engine.local import Local
from shelfwise.evaluation.report import Report
from shelfwise.models import blocks

FEW = ("bias-ordinal", "ease")  # of the baselines: one with probabilities, one that makes lists


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = write_world(tmp_path_factory.mktemp("evaluate"), rows_of_a_world(n_readers=60))
    return train_on(folder, model="shelf", settings={"epochs": 1})


def numbers(report: Report) -> dict[str, float]:
    found = {}
    for result in report.results:
        for kind in ("stars", "ranking"):
            for name, value in getattr(result.measures, kind).items():
                found[f"{result.model} {name}"] = value
    return found


@pytest.mark.parametrize("engine", ["processes", pytest.param("ray", marks=pytest.mark.xdist_group("ray"))])
def test_measures_are_the_same(
    engine: str, request: pytest.FixtureRequest, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: Engine = Local(2) if engine == "processes" else request.getfixturevalue("ray_engine")
    monkeypatch.setattr(blocks, "PREDICT_BLOCK", 16)
    monkeypatch.setattr("shelfwise.models.blocks.RANK_BLOCK", 16)
    all_baselines = lab.baselines
    monkeypatch.setattr(lab, "baselines", lambda *asked: all_baselines(*asked[:3], FEW))  # processes start for each
    rules = Rules(per_author=1)
    here, there = numbers(evaluate(run, rules=rules)), numbers(evaluate(run, rules=rules, engine=at_work))
    assert {name.split()[0] for name in here} == {"shelf", *FEW}
    assert len(here) > 30
    assert there == pytest.approx(here, rel=1e-5)
