from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Cluster, two_nodes

from shelfwise.engine import Engine, open_engine


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Engine]:
    """Two workers of a cluster on this machine; it starts slowly, so all tests share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where workers find engine_work
        with open_engine("ray", workers=2) as engine:
            yield engine


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes in network namespaces of their own."""
    with two_nodes() as nodes:
        yield nodes
