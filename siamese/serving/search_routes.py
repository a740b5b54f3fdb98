"""Search by photo, by what stood for one, and by a product; why a product was found; feedback."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile

from siamese.explanation import explain
from siamese.explanation_sheet import PHOTO, overlaid
from siamese.photos import PhotoError
from siamese.preprocessing import Box
from siamese.products import PATH
from siamese.roles import Role
from siamese.serving import queries
from siamese.serving.fields import box_of, filters_of, known_fields_alone, taste_of
from siamese.serving.outgoing import answer_out, photo_places
from siamese.serving.problems import ProblemError, id_of, problems
from siamese.serving.queries import Seen, choice_of, known_taste, look
from siamese.serving.schemas import (
    GARMENTS,
    Answer,
    BoxText,
    ExplanationOut,
    FeedbackIn,
    FilterForm,
    FilterQuery,
    Noted,
    ProductId,
    TasteText,
    Token,
    Top,
)
from siamese.serving.services import Served, Services
from siamese.serving.shop import Goods
from siamese.serving.tokens import embedding_of
from siamese.serving.uploads import as_stored, check_upload, encoded

router = APIRouter(prefix="/v1", tags=["search"], dependencies=[Depends(known_fields_alone)])
EXPLAINED_QUALITY = 85
Photo = Annotated[UploadFile, File(description="JPEG, PNG, WebP, AVIF or GIF")]
Garment = Annotated[
    str,
    Form(
        pattern=f"^({'|'.join(GARMENTS)})$",
        description="The garment to look at: `auto` takes the largest, `none` all of the photo",
        examples=["auto"],
    ),
]


@router.post("/search", responses=problems(413, 415))
async def search_by_photo(
    request: Request,
    services: Served,
    photo: Photo,
    top: Annotated[Top, Form()] = 20,
    filters: FilterForm = "",
    box: Annotated[BoxText, Form()] = "",
    garment: Garment = queries.WHOLE,
    taste: Annotated[TasteText, Form()] = "",
) -> Answer:
    """Which product does the photo show? Nothing of the photo is kept unless the shop says so."""
    goods, part = services.shop.goods, box_of(box)
    person = known_taste(goods, taste_of(taste))
    choice = choice_of(goods, filters_of(filters), person)
    content = await photo.read()
    seen = await services.in_thread(
        services.decoders, _seen, services, goods, content, part, garment
    )
    asked = queries.Query(
        goods,
        top,
        seen.pixels,
        None,
        choice.photos,
        person,
        whole=seen.box is None,
        compared=seen.compared,
    )
    found = await services.ask(asked)
    column = services.vote_column(goods)
    return answer_out(goods, found, choice.products, id_of(request), column, seen)


@router.get("/search", responses=problems(410))
async def search_again(
    request: Request,
    services: Served,
    query: Annotated[Token, Query()],
    top: Annotated[Top, Query()] = 20,
    filters: FilterQuery = "",
    taste: Annotated[TasteText, Query()] = "",
) -> Answer:
    """Ask again for what an earlier answer's `query` stands for, as a link does.

    By the embedding alone: a comparison of the best products needs the photo.
    With a `taste`, likes move the query and dislikes are not shown; its token stays the same.
    """
    goods = services.shop.goods
    person = known_taste(goods, taste_of(taste))
    choice = choice_of(goods, filters_of(filters), person)
    size = goods.checkpoint.embedding_size
    embedding = embedding_of(query, goods.checkpoint.fingerprint, size)
    found = await services.ask(queries.Query(goods, top, None, embedding, choice.photos, person))
    return answer_out(goods, found, choice.products, id_of(request), services.vote_column(goods))


@router.get("/similar/{product_id:path}", responses=problems(404))
async def similar(
    request: Request,
    services: Served,
    product_id: ProductId,
    top: Annotated[Top, Query()] = 20,
    filters: FilterQuery = "",
) -> Answer:
    """Products like one of the catalog, without it."""
    goods = services.shop.goods
    place = queries.place_of(goods, product_id)
    if place is None:
        raise unknown_product()
    choice = choice_of(goods, filters_of(filters), but=product_id)
    asked = queries.Query(goods, top, None, goods.snapshot.means[place], choice.photos)
    found = await services.ask(asked)
    return answer_out(goods, found, choice.products, id_of(request), services.vote_column(goods))


@router.post("/explain", responses=problems(404, 413, 415))
async def explain_match(
    services: Served,
    photo: Photo,
    product_id: Annotated[ProductId, Form()],
    box: Annotated[BoxText, Form()] = "",
) -> ExplanationOut:
    """Why this product? Both photos, lit where they are alike."""
    goods, part = services.shop.goods, box_of(box)
    content = await photo.read()
    places = photo_places(goods, product_id)
    if not places:
        raise unknown_product()
    return await services.in_thread(
        services.decoders, _explained, services, goods, content, places, part
    )


@router.post("/feedback", status_code=201, responses=problems(404))
async def feedback(request: Request, services: Served, said: FeedbackIn) -> Noted:
    """Tell the shop; the line is on its disk when this is answered."""
    goods = services.shop.goods
    if queries.place_of(goods, said.product_id) is None:
        raise unknown_product()
    if said.query is not None:
        _check_query(goods, said.query)
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "request_id": id_of(request),
        **said.model_dump(exclude_none=True),
    }
    await services.in_thread(services.decoders, services.feedback.append, entry)
    return Noted(request_id=id_of(request))


def unknown_product() -> ProblemError:
    """The answer where there is no such product."""
    return ProblemError(404, "unknown-product", "the catalog has no such product")


def _check_query(goods: Goods, query: str) -> None:
    """Refuse what is no query; one of an earlier encoder is still what the customer was shown."""
    try:
        embedding_of(query, goods.checkpoint.fingerprint, goods.checkpoint.embedding_size)
    except ProblemError as problem:
        if problem.status != 410:
            raise


def _seen(services: Services, goods: Goods, content: bytes, box: Box | None, garment: str) -> Seen:
    """Check and decode an upload; keep it where the shop keeps them."""
    limit = services.settings.max_pixels
    height, width = check_upload(content, limit)
    preprocessing = goods.checkpoint.preprocessing
    seen = look(content, preprocessing, box, garment, services.isolation, (width, height))
    comparison = goods.checkpoint.comparison
    if comparison is not None and comparison.preprocessing == preprocessing:
        seen = replace(seen, compared=seen.pixels)
    elif comparison is not None:
        role = Role.PERSON if seen.box is None else Role.GARMENT
        seen = replace(seen, compared=comparison.read(content, seen.box, role))
    if services.uploads.wanted:
        services.uploads.keep(as_stored(content, limit))
    return seen


def _explained(
    services: Services, goods: Goods, content: bytes, places: range, box: Box | None
) -> ExplanationOut:
    """Draw the photo and the product's most alike one, by which it was found."""
    check_upload(content, services.settings.max_pixels)
    (query,) = goods.checkpoint.embed([content], [box], people=True).numpy()
    best = places[int((goods.snapshot.embeddings[places] @ query).argmax())]
    path = goods.snapshot.rows[PATH][best].as_py()
    explanation = explain(goods.checkpoint, content, [path], box)
    (of_product,), (cosine,) = explanation.products, explanation.cosines
    if of_product is None or cosine is None:
        raise PhotoError("the product's own photo cannot be opened; choose another product")
    drawn = [
        base64.b64encode(encoded(overlaid(photo, overlay, PHOTO), EXPLAINED_QUALITY)).decode()
        for photo, overlay in ((content, explanation.query), (path, of_product))
    ]
    return ExplanationOut(
        photo=drawn[0],
        product=drawn[1],
        cosine=round(cosine, 5),
        exact=explanation.exact,
        regions=len(explanation.query.regions),
    )
