"""What stands before every route, as plain ASGI: limits, headers, other sites, request ids, logs and latencies."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shelfwise.errors import KeyRoleError, ShelfwiseError, TooLargeError
from shelfwise.service.problems import problem, too_slow, unforeseen
from shelfwise.service.settings import ServiceSettings

log = logging.getLogger("shelfwise.service")
MAX_HEAD = 32_768  # bytes of a request's line and headers
SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
)
Observe = Callable[[str, str, int, float], None]  # method, route, status, seconds


class Guards:
    """The outermost layer: what it refuses reaches no route, and nothing is answered without its headers."""

    def __init__(
        self, app: ASGIApp, *, settings: ServiceSettings, uploads: dict[str, int], hosts: set[str], observe: Observe
    ) -> None:
        """uploads  bytes allowed beyond settings.max_body, for paths that begin so"""
        self.app, self.max_body, self.body_seconds = app, settings.max_body, settings.body_seconds
        self.uploads, self.hosts, self.observe, self.log_ids = uploads, hosts, observe, settings.log_ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, request_id = time.perf_counter(), uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500
        begun = False

        async def sending(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                own = {name.lower() for name, _ in message["headers"]}  # a page has a policy of its own
                added = [header for header in HEADERS if header[0] not in own]
                added.append((b"x-request-id", request_id.encode()))
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            headers = dict(scope["headers"])
            self._refuse(scope, headers)
            body = await self._body(scope, headers, receive)
            await self.app(scope, _replay(body, receive), sending)
        except ShelfwiseError as error:
            if not begun:
                await problem(Request(scope), error)(scope, receive, sending)
        except TimeoutError:
            if not begun:
                await too_slow(Request(scope), self.body_seconds)(scope, receive, sending)
        except Exception:
            log.exception("failed", extra={"fields": {"request_id": request_id}})
            if begun:  # the server cuts the answer off
                raise
            await unforeseen(Request(scope))(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self.observe(scope["method"], route, status, seconds)
            entry = {"method": scope["method"], "route": route, "status": status, "ms": round(1000 * seconds, 2)}
            if self.log_ids:
                entry["path"] = scope["path"]
            log.info("request", extra={"fields": {"request_id": request_id, **entry}})

    def _refuse(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raise for too large a head, a name that is not ours (a site may point its own here), other sites' posts."""
        head = len(scope["path"]) + len(scope["query_string"]) + sum(len(k) + len(v) for k, v in scope["headers"])
        if head > MAX_HEAD:
            raise TooLargeError(f"headers of more than {MAX_HEAD:,} bytes", hint="send fewer, or shorter ones")
        host = headers.get(b"host", b"").decode("latin-1")
        name = urlsplit(f"//{host}").hostname or ""
        if self.hosts and name not in self.hosts:
            raise KeyRoleError(f"this service is not called {name!r}", hint="call it by its address on this machine")
        if scope["method"] in SAFE:
            return
        site, origin = headers.get(b"sec-fetch-site", b""), headers.get(b"origin")
        if site in (b"cross-site", b"same-site") or (
            origin is not None and urlsplit(origin.decode("latin-1")).netloc != host
        ):
            raise KeyRoleError("a request from another site", hint="call the service from its own pages or a program")

    async def _body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, counted as it arrives. Raises TooLargeError, TimeoutError."""
        declared = headers.get(b"content-length", b"0")
        most = next((n for path, n in self.uploads.items() if scope["path"].startswith(path)), self.max_body)
        if declared.isdigit() and int(declared) > most:
            raise _too_large(most)
        if scope["method"] in SAFE and declared == b"0" and b"transfer-encoding" not in headers:
            return b""
        body = bytearray()
        async with asyncio.timeout(self.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return bytes(body)
                body += message.get("body", b"")
                if len(body) > most:
                    raise _too_large(most)
                if not message.get("more_body", False):
                    return bytes(body)


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"a body of more than {most:,} bytes", hint="send less at once")


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then what the connection says."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


class Buckets:
    """At most `rate` requests a second and `burst` at once, by name; the names longest not heard of are forgotten."""

    KEPT = 10_000

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float | None = None) -> bool:
        """Whether one more is allowed; counts it if so."""
        if not self.rate:
            return True
        now = time.monotonic() if now is None else now
        left, last = self._left.pop(name, (float(self.burst), now))
        left = min(self.burst, left + (now - last) * self.rate)
        allowed = left >= 1
        self._left[name] = (left - 1 if allowed else left, now)
        if len(self._left) > self.KEPT:
            self._left.popitem(last=False)
        return allowed


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {"time": round(record.created, 3), "level": record.levelname.lower()}
        entry |= {"event": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def log_to_stderr() -> None:
    """Let the service's log go to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
