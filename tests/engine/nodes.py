"""Two Ray nodes, in two network namespaces of this machine that are joined by one cable."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

RAY = str(Path(sys.executable).with_name("ray"))
PORT = 6379
STARTS = 120.0  # seconds at most until a node is up
# A node is given up after some 6 seconds without an answer, and not after a minute.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass
class Node:
    """One node: its namespace, its end of the cable, its address, and the process that holds it."""

    name: str
    cable: str
    ip: str
    temp: Path
    cpus: int = 1
    process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str) -> list[str]:
        """The words as a command within the namespace."""
        return ["ip", "netns", "exec", self.name, *words]

    def pids(self) -> list[int]:
        """All processes in the namespace."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def workers(self) -> list[int]:
        """Those of them that do the work; without Ray's own agents, with which a node stands and falls."""
        found = []
        for pid in self.pids():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                if words.startswith(b"ray::") and b"Agent" not in words:
                    found.append(pid)
        return found

    def kill(self) -> None:
        """Kill every process of the node at once."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def cut(self) -> None:
        """Pull the cable."""
        subprocess.run(self.run("ip", "link", "set", self.cable, "down"), check=True)

    def mend(self) -> None:
        """Put the cable in again."""
        subprocess.run(self.run("ip", "link", "set", self.cable, "up"), check=True)

    def lose(self, how: str) -> None:
        """Be 'killed' or 'cut'."""
        {"killed": self.kill, "cut": self.cut}[how]()


@dataclass
class Cluster:
    head: Node
    other: Node
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.head.ip}:{PORT}"

    def start(self, node: Node, **more: str) -> None:
        """Start a node's Ray, and wait until it is up."""
        joins = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        if node is not self.head:
            joins = [f"--address={self.address}"]
        with (node.temp / "start.log").open("wb") as log:
            node.process = subprocess.Popen(
                node.run(
                    RAY, "start", *joins, f"--node-ip-address={node.ip}", f"--num-cpus={node.cpus}",
                    f"--temp-dir={node.temp}", "--object-store-memory=100000000", "--disable-usage-stats", "--block",
                ),
                env=os.environ | self.environment | more, stdout=log, stderr=log,
            )  # fmt: skip
        start = time.monotonic()
        while b"Ray runtime started" not in (node.temp / "start.log").read_bytes():
            assert node.process.poll() is None, (node.temp / "start.log").read_text()
            assert time.monotonic() - start < STARTS, (node.temp / "start.log").read_text()
            time.sleep(0.2)

    def driver(self, *words: object) -> subprocess.Popen[str]:
        """tests/engine/driver.py on the head's machine, with its output as one stream of lines."""
        command = [sys.executable, str(Path(__file__).with_name("driver.py")), self.address, *map(str, words)]
        return subprocess.Popen(
            self.head.run(*command), env=os.environ | self.environment, text=True, bufsize=1,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


@contextmanager
def two_nodes(head_cpus: int = 1, **more: str) -> Iterator[Cluster]:
    """Both nodes, up; `more` goes into the environment of Ray. Skips where namespaces cannot be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program ip")
    mark = secrets.token_hex(2)
    folder = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))  # short: sockets lie in it
    nodes = [Node(f"sw{mark}{k}", f"sw{mark}v{k}", f"10.77.0.{k}", folder / str(k)) for k in (1, 2)]
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    nodes[0].cpus = head_cpus
    cluster = Cluster(*nodes, environment=HEALTH | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)})
    cluster.environment |= {"PYTHONPATH": str(Path(__file__).parent), **more}
    try:
        for node in nodes:
            node.temp.mkdir()
            subprocess.run(["ip", "netns", "add", node.name], check=True)
            subprocess.run(node.run("ip", "link", "set", "lo", "up"), check=True)
        one, two = nodes
        cable = ["ip", "link", "add", one.cable, "netns", one.name, "type", "veth"]
        subprocess.run([*cable, "peer", "name", two.cable, "netns", two.name], check=True)
        for node in nodes:
            subprocess.run(node.run("ip", "address", "add", f"{node.ip}/24", "dev", node.cable), check=True)
            subprocess.run(node.run("ip", "link", "set", node.cable, "up"), check=True)
            cluster.start(node)
        yield cluster
    finally:
        for node in nodes:
            node.kill()
            if node.process is not None:
                node.process.wait()
            subprocess.run(["ip", "netns", "delete", node.name], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(driver: subprocess.Popen[str], word: str, times: int = 1) -> list[str]:
    """Read the driver's lines until `word` has come so many times."""
    assert driver.stdout is not None
    lines: list[str] = []
    for line in driver.stdout:
        lines.append(line)
        times -= word in line
        if not times:
            return lines
    raise AssertionError(f"the driver ended first: {''.join(lines)[-4000:]}")


def finish(driver: subprocess.Popen[str], seconds: float = 300) -> str:
    """Wait for the driver's end; its last lines. Fails unless it ended well."""
    out, _ = driver.communicate(timeout=seconds)
    assert driver.returncode == 0, out[-4000:]
    return out


def ends_badly(driver: subprocess.Popen[str], seconds: float = 120) -> str:
    """Wait for the driver's end; the error that it told."""
    out, _ = driver.communicate(timeout=seconds)
    assert driver.returncode == 1, out
    return out[out.index("error: ") :]
