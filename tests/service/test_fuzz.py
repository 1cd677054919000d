"""The API against generated requests: never a failure of the service, never off its description."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from conftest import serving
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from shelfwise.service.keys import make_key
from shelfwise.service.settings import ServiceSettings

EXAMPLES = 25
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def fuzzed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(ServiceSettings(data_folder=tmp_path_factory.mktemp("fuzz"), rate=0), trained) as client:
        client.headers["X-API-Key"] = make_key(client.app.state.service.store, "fuzz", "admin")  # type: ignore[attr-defined]
        yield client


@pytest.fixture(scope="module")
def api(fuzzed: httpx.Client) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{fuzzed.base_url}/openapi.json")


def test_any_request_gets_an_answer_that_fits_the_description(
    api: schemathesis.BaseSchema, fuzzed: httpx.Client
) -> None:
    headers, tried = {"X-API-Key": fuzzed.headers["X-API-Key"]}, set()
    for found in api.get_all_operations():
        operation = found.ok()

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def fits(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        fits()
        tried.add(operation.label)
    assert len(tried) == 23
