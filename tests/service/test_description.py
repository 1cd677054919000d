"""The OpenAPI description: pinned, so that the API changes only on purpose; and its examples are true to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from conftest import serving

from shelfwise.service.description import EXAMPLES, OPEN
from shelfwise.service.settings import ServiceSettings

GOLDEN = Path(__file__).parents[1] / "golden" / "openapi.json"


@pytest.fixture(scope="module")
def client(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(ServiceSettings(data_folder=tmp_path_factory.mktemp("data")), trained) as client:
        yield client


@pytest.fixture(scope="module")
def description(client: httpx.Client) -> dict[str, Any]:
    return client.get("/openapi.json").json()


def test_the_api_is_what_it_was(description: dict[str, Any]) -> None:
    """After a change that is meant: GOLDEN=write pytest tests/service/test_description.py"""
    description["info"].pop("version")
    shown = json.dumps(description, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8")


def test_every_body_and_answer_has_an_example_that_fits(description: dict[str, Any]) -> None:
    schemas, tried = description["components"]["schemas"], set()
    for path, methods in description["paths"].items():
        for method, about in methods.items():
            contents = [about.get("requestBody", {}), *(about["responses"][status] for status in about["responses"])]
            for content in contents:
                for media in content.get("content", {}).values():
                    reference = media.get("schema", {}).get("$ref")
                    if reference is None:
                        raw = media == {} or path.startswith("/v1/imports")  # a file
                        assert path in (*OPEN, "/metrics") or raw, (method, path)
                        continue
                    name = reference.rsplit("/", 1)[1]
                    assert schemas[name].get("examples"), name
                    tried.add(name)
    assert set(EXAMPLES) <= tried
    for name in tried:
        validator = jsonschema_rs.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **description})
        for example in schemas[name]["examples"]:
            validator.validate(example)


def test_every_example_of_a_list_is_answered(client: httpx.Client, description: dict[str, Any]) -> None:
    for example in description["components"]["schemas"]["ListRequest"]["examples"]:
        assert client.post("/v1/recommendations", json=example).status_code in (200, 404)


def test_it_says_where_a_key_is_needed(description: dict[str, Any]) -> None:
    assert set(description["components"]["securitySchemes"]) == {"bearer", "header"}
    for path, methods in description["paths"].items():
        for about in methods.values():
            assert bool(about["security"]) == (path not in OPEN)
