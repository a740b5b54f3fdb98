"""schemathesis asks for everything that the API's document allows, and for what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from helpers_serving import ADMIN, copy_of, make_shop, served
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi import checks

OPERATIONS = 16
EXAMPLES = 12  # of each operation and kind
LONGEST = 4000  # characters of a query
NOT_CHECKED = [
    # A photo of random bytes fits the document and is refused all the same.
    checks.positive_data_acceptance,
    # The token is sent with every request, also where schemathesis would leave it out.
    checks.ignored_auth,
]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """That of a server, whose catalog will be changed."""
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    folder: Path = copy_of(shop, tmp_path_factory.mktemp("served"))
    with served(folder) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize("kind", list(GenerationMode), ids=lambda kind: kind.value)
def test_every_request_is_answered_as_the_document_says(
    document: Any, kind: GenerationMode
) -> None:
    asked: dict[str, int] = {}
    for found in document.get_all_operations():
        operation = found.ok()
        with suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
            ask(operation.as_strategy(generation_mode=kind), asked)
    assert len(asked) >= (OPERATIONS if kind is GenerationMode.POSITIVE else 8)


def test_everything_that_goes_in_or_out_has_an_example(document: Any) -> None:
    raw = document.raw_schema
    lacking: list[str] = []
    for path, operations in raw["paths"].items():
        for method, operation in operations.items():
            contents = [operation.get("requestBody", {}), *operation["responses"].values()]
            for body in contents:
                for kind, content in body.get("content", {}).items():
                    if path != "/metrics" and "example" not in content:
                        fields = without_example(content["schema"], raw)
                        lacking += [f"{method} {path} {kind}: {field}" for field in fields]
            for parameter in operation.get("parameters", []):
                if not {"examples", "default"} & {*parameter, *parameter["schema"]}:
                    lacking.append(f"{method} {path}: {parameter['name']}")
    assert lacking == []


def without_example(schema: Any, raw: Any) -> list[str]:
    """The fields of a schema that have none; files and truth values need none."""
    if "$ref" in schema:
        schema = raw["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if {"examples", "enum", "prefixItems"} & schema.keys() or schema.get("type") == "boolean":
        return []
    if schema.get("contentMediaType") or schema.get("format") == "binary":
        return []
    if "properties" in schema:
        parts = schema["properties"].items()
        return [f"{name} {rest}" for name, part in parts for rest in without_example(part, raw)]
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if kind.get("type") != "null"]
        return min((without_example(kind, raw) for kind in kinds), key=len)
    if schema.get("type") == "array":
        return without_example(schema["items"], raw)
    return [""]


def ask(strategy: Any, asked: dict[str, int]) -> None:
    """Send examples of one operation, and count them."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def check(case: Case) -> None:
        # uvicorn itself refuses addresses over 64 kB, before the application sees them.
        assume(len(repr(case.query)) < LONGEST)
        asked[case.operation.label] = asked.get(case.operation.label, 0) + 1
        case.call_and_validate(headers=ADMIN, excluded_checks=NOT_CHECKED)

    check()
