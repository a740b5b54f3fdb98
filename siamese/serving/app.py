"""The web application: routes within guards within telemetry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.formparsers import MultiPartParser

from siamese.serving import page_routes, product_routes, search_routes, suggestion_routes
from siamese.serving.guards import Guards
from siamese.serving.problems import install
from siamese.serving.services import Services
from siamese.serving.settings import Settings
from siamese.serving.telemetry import Telemetry, forget_dead_workers, log_as_json

# Everything comes from this server; pictures also from the page's own memory (blob:).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # links carry queries
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)
ABOUT = (
    "Finds, in a shop's catalog, the product that a person in a photo is wearing. Errors are "
    "application/problem+json; a busy server answers 429 with Retry-After."
)


def create_app(settings: Settings) -> Any:
    """The application with its models loaded; an ASGI app.

    Raises:
        UserError: Something that shall be served cannot be used.
    """
    services = Services(settings)
    # Uploads stay in memory, whose use queue and max_upload bound; none touches the disk.
    MultiPartParser.spool_max_size = settings.max_upload

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        services.start()
        yield
        services.stop()

    # FastAPI's own pages of documentation fetch scripts from elsewhere.
    app = FastAPI(
        title="Siamese",
        version="1",
        description=ABOUT,
        lifespan=life,
        max_body_size=settings.max_upload,
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    for routes in (search_routes, suggestion_routes, product_routes, page_routes):
        app.include_router(routes.router)
    install(app, settings)
    guarded = Guards(app, settings, services.metrics)
    return Telemetry(guarded, services.metrics, HEADERS)


def from_environment() -> Any:
    """What uvicorn calls in each worker process."""
    log_as_json()
    forget_dead_workers()
    return create_app(Settings.from_environment())
