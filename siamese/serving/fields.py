"""Fields that are sent as text → what they mean, or one clear problem."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

from fastapi import Request
from pydantic import Field, TypeAdapter, ValidationError

from siamese.preprocessing import Box
from siamese.products import LARGEST_WHOLE
from siamese.recommend.taste import Taste, TasteError, taste_from
from siamese.serving.columns import Filters, Range
from siamese.serving.problems import ProblemError
from siamese.serving.schemas import (
    FILTERS,
    LONGEST_TEXT,
    MOST_ATTRIBUTES,
    TASTE,
    RangeIn,
    Value,
)

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_FILTERS: TypeAdapter[dict[str, list[Value] | RangeIn]] = TypeAdapter(
    Annotated[
        dict[
            Annotated[str, Field(max_length=200)],
            Annotated[list[Value], Field(max_length=500)] | RangeIn,
        ],
        Field(max_length=50),
    ]
)
_ATTRIBUTES: TypeAdapter[dict[str, Value | None]] = TypeAdapter(
    Annotated[
        dict[str, Annotated[str, Field(max_length=LONGEST_TEXT)] | bool | int | float | None],
        Field(max_length=MOST_ATTRIBUTES),
    ]
)


async def known_fields_alone(request: Request) -> None:
    """A dependency of routes: what they would not look at is a mistake, such as `where`.

    Raises:
        ProblemError: A parameter or field that the route does not have.
    """
    own = request.scope["route"].dependant
    needed = (own, *own.dependencies)
    asked = {field.alias for each in needed for field in each.query_params}
    _refuse_unknown("parameter", set(request.query_params), asked)
    if request.headers.get("content-type", "").startswith(FORMS):
        sent = {field.alias for each in needed for field in each.body_params}
        _refuse_unknown("field", set(await request.form()), sent)


def _refuse_unknown(kind: str, given: set[str], known: set[str]) -> None:
    """Raise `ProblemError` for what is not known."""
    if unknown := sorted(given - known):
        have = ", ".join(sorted(known)) or "none"
        raise ProblemError(
            422, "invalid-request", f"no {kind} {unknown[0][:60]!r} here; there are {have}"
        )


def filters_of(text: str) -> Filters:
    """Filters as they are sent, `""` for none.

    Raises:
        ProblemError: No JSON of that form.
    """
    if not text:
        return {}
    given = _parsed(_FILTERS, "filters", text, FILTERS)
    return {
        name: Range(wanted.lowest, wanted.highest)
        if isinstance(wanted, RangeIn)
        else [_as_kept(v) for v in wanted]
        for name, wanted in given.items()
    }


def _as_kept(value: Value) -> Value:
    """Numbers are kept as fractions; a whole one that none can hold is like no value."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_WHOLE:
        return float(value)
    return value


def attributes_of(text: str) -> dict[str, Value | None]:
    """Attributes as they are sent, `""` for none; `null` takes one away.

    Raises:
        ProblemError: No JSON of that form.
    """
    if not text:
        return {}
    return _parsed(_ATTRIBUTES, "attributes", text, '{"baseColour": "Blue", "price": 19.9}')


def taste_of(text: str) -> Taste:
    """A person's profile as it is sent, `""` for none.

    Raises:
        ProblemError: No JSON of that form.
    """
    if not text:
        return Taste()
    try:
        return taste_from(json.loads(text))
    except (TasteError, ValueError, RecursionError) as error:
        message = f"taste: {error}; write it like {TASTE}"
        raise ProblemError(422, "invalid-request", message) from error


def box_of(text: str) -> Box | None:
    """A box as it is sent, `""` for none.

    Raises:
        ProblemError: No four numbers in order.
    """
    if not text:
        return None
    try:
        x1, y1, x2, y2 = (float(side) for side in text.split(","))
    except ValueError:
        x1 = y1 = x2 = y2 = math.nan
    if not (0 <= x1 < x2 < 1e6 and 0 <= y1 < y2 < 1e6):
        raise ProblemError(422, "invalid-request", "box: write x1,y1,x2,y2 with x1 < x2, y1 < y2")
    return x1, y1, x2, y2


def _parsed(adapter: TypeAdapter[Any], name: str, text: str, example: str) -> Any:
    """JSON text as what an adapter expects."""
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        message = f"{name}: {what}; write it like {example}"
        raise ProblemError(422, "invalid-request", message) from error
