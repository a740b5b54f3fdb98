"""Errors as RFC 9457 problem documents (application/problem+json); none shows its inside."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from siamese.errors import UserError
from siamese.photos import PhotoError
from siamese.products import StorageError
from siamese.serving.settings import Settings
from siamese.serving.uploads import NotAPhotoError

MEDIA_TYPE = "application/problem+json"
NAMED = {413: "content-too-large"}  # others by their phrase, which for this one has changed
LONGEST = 300  # characters of a detail
DOCUMENTED: dict[str, Any] = {
    "description": "What is wrong and what to do",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "request_id"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "request_id": {"type": "string"},
                },
            },
            "example": {
                "type": "urn:siamese:problem:queue-full",
                "title": "Too Many Requests",
                "status": 429,
                "detail": "the server is busy; come again",
                "request_id": "0b1e6a",
            },
        }
    },
}


class ProblemError(Exception):
    """An answer other than success.

    Args:
        status: HTTP status.
        kind: Short name of the problem, for programs.
        detail: What is wrong and what to do, for people.
        headers: Further ones.
    """

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})


def problem(
    error: ProblemError, request_id: str, more: Mapping[str, Any] | None = None
) -> Response:
    """The answer that tells it."""
    document = {
        "type": f"urn:siamese:problem:{error.kind}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.detail[:LONGEST],
        "request_id": request_id,
        **(more or {}),
    }
    content = json.dumps(document, ensure_ascii=False)
    return Response(content, error.status, error.headers, MEDIA_TYPE)


def install(app: FastAPI, settings: Settings) -> None:
    """Make the app answer every error this way.

    Args:
        app: The app.
        settings: With places that are nobody's business and hidden in messages.
    """

    @app.exception_handler(ProblemError)
    async def told(request: Request, error: ProblemError) -> Response:
        return problem(error, id_of(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [
            {"where": ".".join(map(str, fault["loc"])), "what": fault["msg"]}
            for fault in error.errors()
        ]
        summary = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults[:3])
        return problem(
            ProblemError(422, "invalid-request", summary), id_of(request), {"errors": faults}
        )

    @app.exception_handler(UserError)
    async def refused(request: Request, error: UserError) -> Response:
        told = of_user_error(error)
        told.detail = without_places(told.detail, settings)
        return problem(told, id_of(request))

    @app.exception_handler(Exception)  # raised again behind this, and logged by `Telemetry`
    async def failed(request: Request, error: Exception) -> Response:
        return problem(
            ProblemError(500, "internal", "failed; the server's log knows this id"), id_of(request)
        )

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase
        kind = NAMED.get(error.status_code, phrase.lower().replace(" ", "-"))
        headers = error.headers
        return problem(
            ProblemError(error.status_code, kind, str(error.detail), headers), id_of(request)
        )


def without_places(text: str, settings: Settings) -> str:
    """A message without the paths of catalog and checkpoint."""
    for place, name in ((settings.catalog, "catalog"), (settings.checkpoint, "checkpoint")):
        # As a whole word, for it may be short, and as Lance writes it: without the first `/`.
        text = re.sub(rf"(?<![\w./-])/?{re.escape(place.strip('/'))}(?![\w-])", name, text)
    return text


def of_user_error(error: UserError) -> ProblemError:
    """What a user of the API can mend; a catalog that is gone is none of it."""
    if isinstance(error, StorageError):
        return ProblemError(503, "catalog-unavailable", str(error))
    if isinstance(error, NotAPhotoError):
        return ProblemError(415, "not-a-photo", str(error))
    if isinstance(error, PhotoError):
        return ProblemError(422, "unusable-photo", str(error))
    return ProblemError(422, "unusable-request", str(error))


def id_of(request: Request) -> str:
    """The request's id."""
    return str(request.scope.get("request_id", ""))


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its document; any route may be busy or too slow."""
    return dict.fromkeys((*statuses, 400, 422, 429, 503), DOCUMENTED)
