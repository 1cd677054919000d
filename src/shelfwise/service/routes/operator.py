"""The operator's view: which run answers, how good it is, how fast, and what is wrong with its data."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from shelfwise.artifact import load_document, read_manifest
from shelfwise.errors import KeyMissingError, KeyRoleError, NotFoundError, RunError
from shelfwise.service.keys import demand
from shelfwise.service.models import Models
from shelfwise.service.pages.render import page
from shelfwise.service.report import feedback_report
from shelfwise.service.routes.pages import not_too_often
from shelfwise.service.state import Service, service_of

COOKIE = "shelfwise-key"
REPORT = "report.html"
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; form-action 'none'"
)
AUDIT = ("n_ratings", "n_books", "n_readers", "name", "edition", "holes")
COLUMNS = {"mse": "MSE", "hit": "hit %", "ndcg@10": "NDCG@10"}


router = APIRouter(prefix="/operator", include_in_schema=False, dependencies=[Depends(not_too_often)])


async def _operator(request: Request) -> Service:
    """The service, for who holds an admin's key. Raises KeyMissingError, KeyRoleError."""
    service = service_of(request)
    _, role = await service.role(request.cookies.get(COOKIE, ""))
    demand(role, "admin")
    return service


Here = Annotated[Service, Depends(_operator)]


@router.get("")
async def view(request: Request) -> Response:
    """All of it, or the way in."""
    try:
        service = await _operator(request)
    except (KeyMissingError, KeyRoleError):
        wrong = bool(request.cookies.get(COOKIE))
        return page(request, "operator_key.html", here="operator", wrong=wrong)
    values = await run_in_threadpool(_values, service)
    return page(request, "operator.html", here="operator", **values)


@router.post("")
async def enter(request: Request) -> Response:
    """Keep the key in a cookie that no script and no other site sees."""
    form = dict(parse_qsl((await request.body())[:10_000].decode("utf-8", "replace")))
    response = RedirectResponse("/operator", status_code=303)
    key, secure = form.get("key", "").strip(), request.url.scheme == "https"
    key = key if re.fullmatch(r"\w{1,200}|[\w-]{1,200}", key, re.ASCII) else "none"  # what a cookie may hold
    response.set_cookie(COOKIE, key, path="/operator", httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/leave")
def leave() -> Response:
    """Let go of the key."""
    response = RedirectResponse("/operator", status_code=303)
    response.delete_cookie(COOKIE, path="/operator")
    return response


@router.post("/activate/{name}")
def activate(name: str, service: Here) -> Response:
    """Let another run answer, as POST /v1/models/{name}/activate."""
    with service.changing:
        service.models.activate(name)
    return RedirectResponse("/operator", status_code=303)


@router.post("/rollback")
def roll_back(service: Here) -> Response:
    """Let the run that answered before answer again."""
    with service.changing:
        service.models.roll_back()
    return RedirectResponse("/operator", status_code=303)


@router.get("/report/{name}")
def report(name: str, service: Here) -> Response:
    """The quality report of a run, as `train` wrote it."""
    if name not in service.models.paths:
        raise NotFoundError(f"no model {name!r} is served here", hint="go back to the operator's view")
    text = load_document(service.models.paths[name], REPORT)
    headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(text, headers=headers)


def _values(service: Service) -> dict[str, Any]:
    models = service.models
    return {
        "runs": [_run(models, name) for name in models.paths],
        "previous": None if models.previous is None else models.previous.name,
        "latencies": service.metrics.latencies(),
        "rows": service.store.counts(),
        "feedback": _feedback(service),
        "imported": service.metrics.imported(),
    }


def _feedback(service: Service) -> dict[str, Any] | None:
    """What became of lists, by model and by kind of list; None for nothing yet."""
    try:
        return feedback_report(service.store)
    except NotFoundError:
        return None


def _run(models: Models, name: str) -> dict[str, Any]:
    """What the manifest of a run says; of one that cannot be read that it cannot."""
    found: dict[str, Any] = {"name": name, "active": models.active.name == name, "results": [], "audit": None}
    found["fault"], found["has_report"], found["trained"] = None, False, ""
    try:
        manifest = read_manifest(models.paths[name])
    except RunError as error:
        return found | {"fault": str(error)}
    found["has_report"] = REPORT in manifest.documents
    try:
        settings, report = manifest.settings, manifest.report
        found["trained"] = f"{manifest.model['kind']}, {manifest.data['name']}, seed {settings['seed']}"
        found["audit"] = {name: report["audit"][name] for name in AUDIT}
        for result in report["results"]:
            measures = {**result["measures"]["stars"], **result["measures"]["ranking"]}
            found["results"].append((result["model"], [measures.get(column) for column in COLUMNS]))
    except (KeyError, TypeError):
        found["fault"] = "its report is of another version"
    return found
