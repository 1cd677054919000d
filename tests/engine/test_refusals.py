"""What a cluster cannot do is said at once and in words."""

from __future__ import annotations

import builtins
import socket
import sys
from types import ModuleType
from typing import Any

import pytest

from shelfwise.engine import Engine, cluster, open_engine
from shelfwise.errors import EngineError


def test_an_address_that_nobody_answers_at_is_told_in_time() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"nobody answers at {address}"), open_engine("ray", address=address):
            pass


@pytest.mark.parametrize("address", ["a..b:6379", "127.0.0.1:99999", "[::1]:1"])
def test_an_address_of_no_machine_is_told(address: str) -> None:
    with pytest.raises(EngineError, match="nobody answers at"), open_engine("ray", address=address):
        pass


def test_another_program_at_the_address_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "SPEAK_SECONDS", 20.0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()  # and says nothing
        with pytest.raises(EngineError, match="is no Ray cluster, or one that hangs"):
            cluster._assert_speaks(f"127.0.0.1:{other.getsockname()[1]}")


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "ray://head:10001x", "head:²"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(EngineError, match="is no address"), open_engine("ray", address=address):
        pass


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_ray(name: str, *more: Any, **options: Any) -> Any:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(EngineError, match="not installed") as caught, open_engine("ray"):
        pass
    assert "pip install 'shelfwise[ray]'" in caught.value.hint


@pytest.mark.xdist_group("ray")
def test_a_machine_with_another_shelfwise_is_named(ray_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "__version__", "9.9")
    monkeypatch.setitem(sys.modules, "newer", newer := ModuleType("newer"))
    exec("def work(shared, block): return block", vars(newer))
    with pytest.raises(
        EngineError, match=rf"{socket.gethostname()} has shelfwise .*, the command is of shelfwise 9\.9"
    ):
        list(ray_engine.map(newer.work, range(3), None))
