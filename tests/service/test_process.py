"""The service as a process: how it starts, refuses to, and ends; keys and backups by the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

RATINGS = {"ratings": [{"book_id": 1, "stars": 5}, {"book_id": 4, "stars": 2}], "explain": True}
MAIN = "from shelfwise.cli import main; main()"


def shelfwise(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@contextmanager
def served(*words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of a service that is ready, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", MAIN, "serve", *map(str, words), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(address + "/readyz").status_code == 200:
                    break
            except httpx.ConnectError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.1)
        yield process, address
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def test_when_told_to_stop_it_answers_what_it_took_in(trained: Path, tmp_path: Path) -> None:
    found: list[int] = []

    def ask(address: str) -> None:
        while True:
            try:
                found.append(httpx.post(address + "/v1/recommendations", json=RATINGS).status_code)
            except httpx.TransportError:  # refused, or closed before it was taken in: the log says whether it was
                return

    with served(trained, "--data-folder", tmp_path) as (process, address):
        threads = [threading.Thread(target=ask, args=(address,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait(30) in (0, -signal.SIGTERM)
        log = process.stderr.read() if process.stderr else ""
    assert len(found) >= 6
    assert set(found) == {200}
    logged = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    taken_in = [one["status"] for one in logged if one.get("route") == "/v1/recommendations"]
    assert taken_in == [200] * len(found)
    assert "Traceback" not in log


def test_when_told_to_stop_it_waits_for_a_request_that_is_half_there(trained: Path, tmp_path: Path) -> None:
    body = json.dumps(RATINGS).encode()
    head = "POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head = f"{head}Content-Length: {len(body)}\r\n\r\n".encode()
    with served(trained, "--data-folder", tmp_path) as (process, address):
        with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as one:
            one.settimeout(30)
            one.sendall(head + body[:10])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(httpx.ConnectError):
                httpx.get(address + "/healthz")
            one.sendall(body[10:])
            assert one.recv(100).startswith(b"HTTP/1.1 200")
        assert process.wait(30) in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--host", "0.0.0.0"], 2, "can be reached from other machines, and no key was made"),
        (["--port", "99999"], 2, "port = 99999"),
        (["--database", "postgresql://nobody@/x?host=/nowhere"], 1, "the database does not answer"),
    ],
)
def test_it_refuses_to_start(trained: Path, tmp_path: Path, words: list[str], status: int, message: str) -> None:
    done = shelfwise("serve", trained, "--data-folder", tmp_path, *words)
    assert done.returncode == status
    assert message in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_and_backups_from_the_command_line(tmp_path: Path) -> None:
    where = {"SHELFWISE_SERVE_DATA_FOLDER": str(tmp_path / "data")}
    token = shelfwise("keys", "make", "library", "--role", "admin", **where).stdout.strip()
    assert token.startswith("sw_")
    listed = shelfwise("keys", "list", **where).stdout
    assert token.split("_")[1] in listed
    assert token.split("_", 2)[2] not in listed
    assert shelfwise("backup", tmp_path / "b.gz", **where).returncode == 0
    other = {"SHELFWISE_SERVE_DATA_FOLDER": str(tmp_path / "other")}
    assert "1 keys" in shelfwise("restore", tmp_path / "b.gz", **other).stderr
    assert shelfwise("keys", "revoke", token.split("_")[1], **other).returncode == 0
    assert shelfwise("keys", "revoke", token.split("_")[1], **other).returncode == 1
    refused = shelfwise("restore", tmp_path / "b.gz", **where)
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
