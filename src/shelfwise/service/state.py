"""What all routes share: settings, store, models, desk, metrics; and who may do what."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import prometheus_client as prometheus
from fastapi import Request
from starlette.concurrency import run_in_threadpool

from shelfwise.errors import KeyMissingError, ShelfwiseError, TooLargeError, TooManyError, UsageError
from shelfwise.imports import ImportResult, Limits
from shelfwise.rules import Rules
from shelfwise.service import schema
from shelfwise.service.desk import Desk, Question
from shelfwise.service.feedback import ListKeeper
from shelfwise.service.guards import Buckets
from shelfwise.service.keys import Role, demand, list_keys, role_of
from shelfwise.service.models import Models, Served
from shelfwise.service.pages.memory import forget_absent
from shelfwise.service.pages.view import library_of
from shelfwise.service.schemas import ListRequest, Who
from shelfwise.service.search import Search
from shelfwise.service.settings import ServiceSettings
from shelfwise.service.store import Store

REMEMBERED = 5.0  # seconds that a key's role is known without asking the store: a revoked key ends within that
LATENCIES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))  # anybody may invent others
SHELVES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)


class Metrics:
    """Of one service, in Prometheus' format."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        labels = ["method", "route", "status"]
        self.seconds = prometheus.Histogram(
            "shelfwise_request_seconds", "Time to answer", labels, buckets=LATENCIES, registry=self.registry
        )
        self.shelves = prometheus.Histogram(
            "shelfwise_shelf_ratings", "Ratings in a request", buckets=SHELVES, registry=self.registry
        )
        self.imports = prometheus.Counter(
            "shelfwise_imports", "Export files, by app or why they were refused", ["outcome"], registry=self.registry
        )
        self.model = prometheus.Gauge(
            "shelfwise_model_info", "1 for the model that answers", ["name", "version"], registry=self.registry
        )
        self.age = prometheus.Gauge("shelfwise_model_age_seconds", "Since it was loaded", registry=self.registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self.seconds.labels(method if method in METHODS else "other", route, str(status)).observe(seconds)

    def latencies(self) -> list[dict[str, Any]]:
        """By route: answers, faults (5xx), and within how many seconds half and 99 % of them came, from the buckets."""
        found: dict[str, dict[str, float]] = {}
        faults: dict[str, int] = {}
        for metric in self.seconds.collect():
            for sample in metric.samples:
                if sample.name.endswith("_bucket"):
                    route = f"{sample.labels['method']} {sample.labels['route']}"
                    edges = found.setdefault(route, {})
                    edges[sample.labels["le"]] = edges.get(sample.labels["le"], 0) + sample.value
                elif sample.name.endswith("_count") and sample.labels["status"].startswith("5"):
                    route = f"{sample.labels['method']} {sample.labels['route']}"
                    faults[route] = faults.get(route, 0) + int(sample.value)
        rows = []
        for route, edges in sorted(found.items()):
            n = edges["+Inf"]
            p50, p99 = (next(le for le, held in edges.items() if held >= share * n) for share in (0.5, 0.99))
            said = [f"{1000 * float(le):g} ms" if le != "+Inf" else f"over {LATENCIES[-1]:g} s" for le in (p50, p99)]
            rows.append({"route": route, "n": int(n), "faults": faults.get(route, 0), "p50": said[0], "p99": said[1]})
        return rows

    def imported(self) -> dict[str, int]:
        """How many export files there were, by app or by why they were refused."""
        samples = (sample for metric in self.imports.collect() for sample in metric.samples)
        return {s.labels["outcome"]: int(s.value) for s in samples if s.name.endswith("_total")}

    def text(self, models: Models) -> bytes:
        """All of them, now."""
        served = models.active
        self.model.clear()
        self.model.labels(served.name, served.version).set(1)
        self.age.set(time.time() - served.loaded)
        return prometheus.generate_latest(self.registry)


class Service:
    """Opens the database, brings it to this version's schema, and loads the first run. Raises ShelfwiseError."""

    def __init__(self, settings: ServiceSettings, runs: Sequence[Path]) -> None:
        self.settings = settings
        self.store = Store(settings.database_url)
        schema.upgrade(self.store)
        if not (settings.is_local or settings.allow_open or self._has_key()):
            raise UsageError(
                f"{settings.host} can be reached from other machines, and no key was made",
                hint="make one: shelfwise keys make NAME --role read; or give --allow-open",
            )
        self.search = Search(self.store)
        self.models = Models(runs, self._prepare)
        forget = partial(forget_absent, self.store, settings.forget_days)
        self.lists = ListKeeper(self.store, settings.feedback_days, forget)
        self.desk = Desk(self.models, settings.at_once)
        self.metrics = Metrics()
        self.buckets = Buckets(settings.rate, settings.burst)
        self.changing = threading.Lock()  # of runs on disk
        self.rows_read: dict[str, tuple[int, int]] = {}  # of files that are read now: rows done, rows in all
        self.importing = anyio.CapacityLimiter(1)  # files at once: they are large, and others wait for lists
        self._roles: dict[str, tuple[float, str, Role]] = {}
        self._private = (0.0, False)

    def _prepare(self, served: Served) -> None:
        """Work out what a run needs before it may answer."""
        self.search.prepare(served)
        library_of(served).prepare(served)

    def close(self) -> None:
        """Answer what waits, and let go of the database."""
        self.desk.close()
        self.lists.close()
        self.search.close()
        self.store.close()

    async def is_private(self) -> bool:
        """Whether this machine alone can ask, and no key was made: then reading needs none, and nothing is limited."""
        if self.settings.is_local and time.monotonic() - self._private[0] > REMEMBERED:
            self._private = (time.monotonic(), not await run_in_threadpool(self._has_key))
        return self._private[1]

    async def role(self, token: str) -> tuple[str, Role]:
        """The id and role of a key. Raises KeyMissingError."""
        known = self._roles.get(token)
        if known is None or time.monotonic() - known[0] > REMEMBERED:
            known = (time.monotonic(), *await run_in_threadpool(role_of, self.store, token))
            if len(self._roles) > 1000:
                self._roles.clear()
            self._roles[token] = known
        return known[1], known[2]

    def count(self, name: str) -> None:
        """Count a request of a key or an address. Raises TooManyError."""
        if not self.buckets.take(name):
            raise TooManyError("too many requests", hint=f"at most {self.settings.rate:g} a second; wait a moment")

    def read_export(self, served: Served, content: bytes, **more: Any) -> ImportResult:
        """What an export file says, within the limits of the settings. Raises as Recommender.import_file."""
        limits = Limits(max_bytes=self.settings.max_upload, max_rows=self.settings.max_rows)
        try:
            result = served.recommender.import_file(content, limits=limits, **more)
        except ShelfwiseError as error:
            self.metrics.imports.labels(f"refused: {error.code}").inc()
            raise
        self.metrics.imports.labels(result.source).inc()
        return result

    def question(self, who: Who, n: int = 10, order: str | None = None, rules: Rules | None = None) -> Question:
        """Whom a request is about, as the desk takes it. Raises UsageError, TooLargeError, NotFoundError."""
        if (who.ratings is None) == (who.reader is None):
            raise UsageError("for whom?", hint="give either ratings or a stored reader's id")
        ratings = tuple((rating.book_id, rating.stars) for rating in who.ratings or ())
        if len(ratings) > self.settings.max_ratings:
            raise TooLargeError(f"{len(ratings):,} ratings", hint=f"give at most {self.settings.max_ratings:,}")
        if n > self.settings.max_list:
            raise TooLargeError(f"a list of {n:,} books", hint=f"ask for at most {self.settings.max_list:,}")
        marks: tuple[tuple[str, str], ...] = ()
        if who.reader is not None:
            said = self.store.said(who.reader)
            ratings, marks = tuple(said.ratings.items()), said.marks
        self.metrics.shelves.observe(len(ratings))
        served = self.models.active
        ratings = tuple((served.book_id(book_id), stars) for book_id, stars in ratings)
        return Question(ratings, marks, who.reader, ((n, rules or Rules()),), order)

    def list_question(self, asked: ListRequest) -> Question:
        """As question(), for a list. Raises ConfigError."""
        wanted: dict[str, Any] = {**dict(asked.filters), **dict(asked.rules)}
        question = self.question(asked, asked.n, asked.order, Rules.parse(wanted, where="filters and rules"))
        return replace(question, why=asked.explain)

    def _has_key(self) -> bool:
        now = time.time()
        return any(k.revoked is None and (k.expires is None or k.expires > now) for k in list_keys(self.store))


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service


async def the_service(request: Request) -> Service:
    """service_of() as a dependency: async, since others are called in a thread that has to wake up."""
    return service_of(request)


def needs(role: Role) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets through who may do what needs `role`.

    Raises KeyMissingError, KeyRoleError, TooManyError.
    """

    async def allowed(request: Request) -> None:
        service = service_of(request)
        token = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        is_private, address = await service.is_private(), "" if request.client is None else request.client.host
        if not token:
            if not ((is_private or service.settings.allow_open) and role == "read"):
                raise KeyMissingError("this needs a key", hint="send it as 'Authorization: Bearer KEY'")
            name = address
        else:
            try:
                name, mine = await service.role(token)
            except KeyMissingError:
                service.count(address)  # so that keys are not guessed at will
                raise
            demand(mine, role)
        if not is_private:
            service.count(name)

    return allowed
