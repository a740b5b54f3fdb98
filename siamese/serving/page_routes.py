"""The page's files, what it needs to know, and what operators ask: health and metrics."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from siamese.recommend.defaults import CATEGORY, DIFFERENT
from siamese.serving.problems import ProblemError, problems, without_places
from siamese.serving.schemas import About, Health
from siamese.serving.services import Served

FOLDER = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Read once: no name from outside ever becomes a path.
FILES = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in TYPES}
TAGS = {name: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in FILES.items()}
TELLING = (
    *("productDisplayName", "name", "title", "articleType", "category", "type"),
    *("brand", "baseColour", "colour", "color", "price"),
)
SHOWN = 3  # attributes below a picture
router = APIRouter()


@router.head("/", include_in_schema=False)
@router.get("/", include_in_schema=False)
async def shop_page(request: Request) -> Response:
    """The page for customers."""
    return _file(request, "index.html")


@router.head("/admin", include_in_schema=False)
@router.get("/admin", include_in_schema=False)
async def admin_page(request: Request, services: Served) -> Response:
    """The page for the shop, where there is a token."""
    if services.settings.admin_token is None:
        raise ProblemError(404, "not-found", "start the server with an admin token")
    return _file(request, "admin.html")


@router.head("/page/{name}", include_in_schema=False)
@router.get("/page/{name}", include_in_schema=False)
async def page_file(request: Request, name: str) -> Response:
    """Style, scripts and icon."""
    return _file(request, name)


@router.get("/v1/about", tags=["page"], responses=problems())
async def about(services: Served) -> About:
    """What a page needs to know."""
    goods, settings = services.shop.goods, services.settings
    return About(
        title=settings.title,
        captions=list(settings.captions) or _captions(list(goods.columns.by_name)),
        products=len(goods.snapshot.product_ids),
        has_variants=DIFFERENT in goods.columns.by_name,
        has_complements=CATEGORY in goods.columns.by_name,
        finds_garments=services.isolation is not None,
        compares=goods.checkpoint.comparison is not None,
        uploads_kept_hours=settings.keep_uploads_hours,
    )


@router.head("/health", include_in_schema=False)
@router.get("/health", tags=["operation"])
async def health(services: Served) -> Health:
    """Whether this process answers, for probes."""
    goods, trouble = services.shop.goods, services.shop.trouble
    return Health(
        status="ok" if trouble is None else "old",
        why=None if trouble is None else without_places(trouble, services.settings),
        products=len(goods.snapshot.product_ids),
        catalog_version=goods.snapshot.version,
        encoder=goods.checkpoint.fingerprint,
    )


@router.get("/metrics", tags=["operation"], response_class=Response)
async def metrics(services: Served) -> Response:
    """For Prometheus."""
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _captions(columns: list[str]) -> list[str]:
    """What most likely tells people which product it is; the first columns otherwise."""
    return [name for name in TELLING if name in columns][:SHOWN] or columns[:SHOWN]


def _file(request: Request, name: str) -> Response:
    """A file of the page, or that it has not changed."""
    if name not in FILES:
        raise ProblemError(404, "not-found", "there is no such page")
    headers = {"Cache-Control": "no-cache", "ETag": TAGS[name]}
    if request.headers.get("if-none-match") == TAGS[name]:
        return Response(status_code=304, headers=headers)
    return Response(FILES[name], headers=headers, media_type=TYPES[Path(name).suffix])
