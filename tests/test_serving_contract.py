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
