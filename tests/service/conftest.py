"""A run, a database of either kind, and a service that really listens."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from tiny_world import N_BOOKS, rows_of_a_world, train_on, write_world

from shelfwise.artifact import save_run
from shelfwise.service.app import UVICORN, create_app
from shelfwise.service.keys import make_key
from shelfwise.service.schema import upgrade
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.store import Store

SMALL = {"epochs": 1, "taste": 1.0, "about_dim": 4, "coreading_dim": 4}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run of shelf; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    save_run(train_on(write_world(folder / "world"), model="shelf", settings=SMALL), folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with other books, and fewer of them."""
    folder = tmp_path_factory.mktemp("smaller")
    books = range(1, N_BOOKS - 4)
    rows = [row for row in rows_of_a_world() if int(str(row[1])) in books]
    world = write_world(folder / "world", rows, books=books)
    save_run(train_on(world, model="shelf", settings=SMALL), folder / "smaller")
    return folder / "smaller"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def _postgresql_folder() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []
    return found[-1] if found else None


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL server that can be stopped and started; called with a name it gives the URL of a new database."""

    folder: Path
    control: Callable[..., object]

    def __call__(self, name: str) -> str:
        admin = sa.create_engine(
            f"postgresql+psycopg://postgres@/postgres?host={self.folder}", isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        admin.dispose()
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self.control("-o", f"{options} -c max_connections=200", "-l", self.folder / "log", "-w", "start")

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server of this session's own, run by an unprivileged user."""
    programs = _postgresql_folder()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="shelfwise-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    run = lambda *words: subprocess.run([*as_user, *map(str, words)], check=True, capture_output=True)  # noqa: E731
    cluster = Cluster(folder, lambda *words: run(programs / "pg_ctl", "-D", folder / "data", *words))
    try:
        run(programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        cluster.start()
        yield cluster
        cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shelfwise.db'}"
    return request.getfixturevalue("cluster")(f"t{time.time_ns()}")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    upgrade(store)
    yield store
    store.close()


@contextmanager
def serving(settings: ServiceSettings, *runs: Path) -> Iterator[httpx.Client]:
    """A client of a service that listens on a free port."""
    app = create_app(settings, runs)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", **UVICORN))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            client.app = app  # type: ignore[attr-defined]
            yield client
    finally:  # a test that fails must not wait for ever
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(url: str, run: Path) -> Iterator[httpx.Client]:
    """A client without a key."""
    with serving(ServiceSettings(database=url), run) as client:
        yield client


@pytest.fixture
def admin(client: httpx.Client) -> httpx.Client:
    """The same with a key that may do anything."""
    service = client.app.state.service  # type: ignore[attr-defined]
    client.headers["Authorization"] = f"Bearer {make_key(service.store, 'test', 'admin')}"
    service.buckets.rate = 0
    return client
