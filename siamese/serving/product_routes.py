"""The catalog: products, their pictures, the columns to filter by, and changing it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, Depends, File, Form, Query, Request, Response, UploadFile
from fastapi.security import HTTPBearer

from siamese.attributes.exploration import label_columns, label_counts, overview, products_of
from siamese.catalog import Product
from siamese.embedding import embed_all
from siamese.errors import UserError
from siamese.photos import PhotoError
from siamese.products import PATH
from siamese.serving.fields import attributes_of, filters_of, known_fields_alone
from siamese.serving.outgoing import facet_out, photo_places, product_out
from siamese.serving.problems import ProblemError, problems
from siamese.serving.queries import place_of
from siamese.serving.schemas import (
    MOST_LISTED,
    ColumnOut,
    Facets,
    FilterQuery,
    ProductId,
    ProductList,
    Statistics,
    TableOut,
    TableRow,
    Value,
    Written,
)
from siamese.serving.search_routes import unknown_product
from siamese.serving.services import Served, Services
from siamese.serving.shop import Goods
from siamese.serving.table import rows_of_csv
from siamese.serving.thumbnails import SIDES
from siamese.serving.uploads import as_stored

router = APIRouter(prefix="/v1", tags=["catalog"], dependencies=[Depends(known_fields_alone)])
# Checked before the body is read, see `guards`; here for the API's document.
token = [Depends(HTTPBearer(auto_error=False, description="The admin token"))]
MOST_PHOTOS = 20  # of a product in one request
CACHED, ASKED_AGAIN = "public, max-age=86400", "no-cache"
Photos = Annotated[list[UploadFile], File(description="All of its photos; none: attributes alone")]


@router.get("/products", responses=problems())
async def products(
    response: Response,
    services: Served,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    cursor: Annotated[str, Query(max_length=2000, description="`next` of a page")] = "",
    filters: FilterQuery = "",
) -> ProductList:
    """Products in order of their ids; stable while others come and go."""
    goods = services.shop.goods
    kept = goods.product_ids[goods.columns.mask(filters_of(filters))]
    start = int(np.searchsorted(kept, _id_of_cursor(cursor), side="right")) if cursor else 0
    page = kept[start : start + limit].tolist()
    more = _cursor_of(page[-1]) if start + limit < len(kept) else None
    if more:
        again = urlencode({"limit": limit, "cursor": more, "filters": filters})
        response.headers["Link"] = f'</v1/products?{again}>; rel="next"'
    found = [product_out(goods, product_id) for product_id in page]
    return ProductList(products=found, total=len(kept), next=more)


@router.get("/products/{product_id:path}", responses=problems(404))
async def product(services: Served, product_id: ProductId) -> Written:
    """One product."""
    return _written(services, product_id, created=False)


@router.put(
    "/products/{product_id:path}",
    dependencies=token,
    responses={201: {"model": Written}, **problems(401, 403, 413, 415)},
)
async def put_product(
    response: Response,
    services: Served,
    product_id: ProductId,
    photos: Photos = [],  # noqa: B006 (FastAPI copies it)
    attributes: Annotated[
        str,
        Form(
            max_length=200_000,
            description="JSON; null takes an attribute away, others stay",
            examples=['{"baseColour": "Blue", "price": 19.9}'],
        ),
    ] = "",
) -> Written:
    """Add a product or change it; on the disk, and found by searches, when this is answered."""
    if len(photos) > MOST_PHOTOS:
        raise ProblemError(422, "invalid-request", f"photos: at most {MOST_PHOTOS} of a product")
    contents = [await photo.read() for photo in photos]
    values = attributes_of(attributes)
    known = await services.in_thread(services.admin, _write, services, product_id, contents, values)
    response.status_code = 200 if known else 201
    return _written(services, product_id, created=not known)


@router.delete(
    "/products/{product_id:path}",
    status_code=204,
    dependencies=token,
    responses=problems(401, 403, 404),
)
async def delete_product(services: Served, product_id: ProductId) -> None:
    """Take a product out of the catalog, with its photos that were added here."""
    await services.in_thread(services.admin, _remove, services, product_id)


@router.get("/thumbnails/{product_id:path}", response_class=Response, responses=problems(404))
async def thumbnail(
    request: Request,
    services: Served,
    product_id: ProductId,
    photo: Annotated[int, Query(ge=0, le=10_000)] = 0,
    side: Annotated[int, Query(description=f"One of {', '.join(map(str, SIDES))}")] = 320,
    v: Annotated[str, Query(max_length=64, description="Its version: may be kept")] = "",
) -> Response:
    """A small picture of a product, JPEG."""
    if side not in SIDES:
        raise ProblemError(422, "invalid-request", f"side: one of {', '.join(map(str, SIDES))}")
    goods = services.shop.goods
    places = photo_places(goods, product_id)
    if photo >= len(places):
        raise unknown_product()
    path = goods.snapshot.rows[PATH][places[photo]].as_py()
    try:
        made = services.thumbnails.known(path, side)
        if made is None:
            made = await services.in_thread(services.pictures, services.thumbnails.make, path, side)
    except (OSError, PhotoError) as error:
        raise ProblemError(404, "no-picture", "the product's photo cannot be opened") from error
    headers = {"Cache-Control": CACHED if v else ASKED_AGAIN, "ETag": f'"{made.tag}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(made.content, headers=headers, media_type="image/jpeg")


@router.get("/facets", responses=problems())
async def facets(services: Served, filters: FilterQuery = "") -> Facets:
    """The columns to filter by, with counts."""
    columns, wanted = services.shop.goods.columns, filters_of(filters)
    total = int(columns.mask(wanted).sum())
    found = await services.in_thread(services.decoders, columns.facets, wanted)
    return Facets(facets=[facet_out(each) for each in found], total=total)


@router.get("/statistics", dependencies=token, responses=problems(401, 403))
async def statistics(services: Served) -> Statistics:
    """The catalog in numbers, for the shop."""
    goods = services.shop.goods
    summed = await services.in_thread(services.admin, _columns, goods)
    return Statistics(
        columns=summed,
        products=len(goods.snapshot.product_ids),
        photos=len(goods.snapshot.product),
        missing=goods.columns.missing(),
        facets=[facet_out(each) for each in goods.columns.facets({})],
    )


@router.post("/tables", dependencies=token, responses=problems(401, 403, 413))
async def read_table(
    services: Served,
    table: Annotated[UploadFile, File(description="CSV with product_id (or id) and attributes")],
) -> TableOut:
    """Read a table, so that its rows can be put one by one; writes nothing."""
    content, types = await table.read(), services.shop.goods.catalog.attribute_types
    rows = await services.in_thread(services.admin, rows_of_csv, content, types)
    return TableOut(
        rows=[TableRow(product_id=n, path=path, attributes=values) for n, path, values in rows]
    )


def _columns(goods: Goods) -> list[ColumnOut]:
    """What `infer.py explore` says of the columns."""
    try:
        table = products_of(goods.snapshot).table
        rows = overview(table, label_counts(table, label_columns(table)))
    except UserError:  # too few products, or no labels
        return []
    return [
        ColumnOut(
            name=row["column"],
            labels=row["labels"],
            most_common=row["most common"],
            its_share=row["its share"],
            imbalance=row["largest / smallest"],
            rare=row["rare labels"],
        )
        for row in rows.to_dict("records")
    ]


def _written(services: Services, product_id: str, created: bool) -> Written:
    """A product as it is now."""
    goods = services.shop.goods
    if place_of(goods, product_id) is None:
        raise unknown_product()
    found = product_out(goods, product_id)
    return Written(product=found, created=created, catalog_version=goods.snapshot.version)


def _write(
    services: Services,
    product_id: str,
    contents: list[bytes],
    attributes: dict[str, Value | None],
) -> bool:
    """Photos first, then the row that names them, then the version with it.

    Returns:
        Whether the product was there before.
    """
    stored = [as_stored(content, services.settings.max_pixels) for content in contents]
    with services.product_photos.changing(product_id):
        goods = services.shop.refresh()
        known = place_of(goods, product_id) is not None
        if stored:
            _write_photos(services, goods, product_id, stored, attributes)
        elif not known:
            raise ProblemError(422, "invalid-request", "photos: a new product needs one at least")
        else:
            goods.catalog.set_attributes([product_id], attributes)
    services.shop.refresh()
    return known


def _write_photos(
    services: Services,
    goods: Goods,
    product_id: str,
    stored: list[bytes],
    attributes: dict[str, Value | None],
) -> None:
    """A product's photos in place of those that it had."""
    comparison = goods.checkpoint.comparison_of(goods.catalog.comparison)
    embedded = embed_all(goods.checkpoint, stored, threads=1, comparison=comparison)
    kept = [goods.snapshot.rows[PATH][place].as_py() for place in photo_places(goods, product_id)]
    paths = services.product_photos.write(product_id, stored)
    try:
        product = Product(
            product_id, paths, embedded.embeddings.numpy(), attributes, embedded.sights_as_bytes()
        )
        goods.catalog.update([product])
        kept = paths
    finally:  # of a failed update, the new photos go
        services.product_photos.keep(product_id, kept)


def _remove(services: Services, product_id: str) -> None:
    """The row first: a row without photos would be worse than photos without a row."""
    with services.product_photos.changing(product_id):
        goods = services.shop.refresh()
        if place_of(goods, product_id) is None:
            raise unknown_product()
        goods.catalog.remove([product_id])
        services.product_photos.keep(product_id, [])
    services.shop.refresh()


def _cursor_of(product_id: str) -> str:
    return base64.urlsafe_b64encode(product_id.encode()).decode()


def _id_of_cursor(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise ProblemError(422, "invalid-request", "cursor: none of this server's") from error
