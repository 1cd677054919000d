"""The container file and the systemd unit: what matters in them holds, and they agree with the settings."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shelfwise.service.settings import PREFIX, ServiceSettings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "shelfwise.service"


def steps() -> list[tuple[str, str]]:
    """Instruction and rest of each step of the container file."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Containerfile").read_text(encoding="utf-8"), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [tuple(line.split(" ", 1)) for line in lines if line]
    assert all(len(one) == 2 and one[0].isupper() for one in found)
    return found  # type: ignore[return-value]


def last(instruction: str) -> str:
    return [rest for name, rest in steps() if name == instruction][-1]


def test_the_container_is_of_the_pinned_versions_and_runs_as_nobody_in_particular() -> None:
    installs = [rest for name, rest in steps() if name == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("-c constraints.txt" in rest and "--no-cache-dir" in rest for rest in installs)
    images = {rest.split()[0] for name, rest in steps() if name == "FROM"}
    assert len(images) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.11-slim-\w+", images.pop())
    names = [name for name, _ in steps()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    uid, gid = map(int, last("USER").split(":"))
    assert uid > 0
    assert gid > 0
    assert f"--uid {uid}" in " ".join(rest for name, rest in steps() if name == "RUN")
    assert "ADD" not in names


def test_the_container_keeps_its_data_and_says_whether_it_is_well() -> None:
    settings = dict(re.findall(rf"{PREFIX}(\w+)=(\S+)", last("ENV")))
    assert {name.lower() for name in settings} <= set(ServiceSettings.model_fields)
    read = ServiceSettings.parse({name.lower(): value for name, value in settings.items()}, where="Containerfile")
    assert not read.is_local  # so that it asks for a key
    assert json.loads(last("VOLUME")) == [str(read.data_folder)]
    assert last("EXPOSE") == str(read.port)
    assert f"127.0.0.1:{read.port}/readyz" in last("HEALTHCHECK")
    program = json.loads(last("HEALTHCHECK").split(" CMD ", 1)[-1].removeprefix("CMD "))
    assert program[:2] == ["python", "-c"]
    compile(program[2], "HEALTHCHECK", "exec")
    assert json.loads(last("ENTRYPOINT")) == ["shelfwise"]
    assert json.loads(last("CMD"))[0] == "serve"
    assert last("STOPSIGNAL") == "SIGTERM"


def test_what_is_copied_into_the_container_is_there() -> None:
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert let_in[0] == "*"
    for name, rest in steps():
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in let_in


def test_the_unit_is_closed_in() -> None:
    unit = configparser.RawConfigParser(strict=False, delimiters="=", interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT, encoding="utf-8")
    service = unit["Service"]
    for name in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictNamespaces"):
        assert service[name] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["User"] not in ("", "root")
    assert int(service["TimeoutStopSec"]) > ServiceSettings().drain_seconds
    named = {word.split("=")[0] for word in service["Environment"].split() if word.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in named} <= set(ServiceSettings.model_fields)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """On a copy that starts a program which is here, since it looks whether there is one."""
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"(?<=^ExecStart=)\S+", sys.executable, UNIT.read_text(encoding="utf-8"), flags=re.M))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
