"""What goes with a product of the catalog: other colours of it, and other kinds to wear with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from siamese.recommend.complements import complements
from siamese.recommend.defaults import CATEGORY, DIFFERENT, SAME
from siamese.recommend.variants import Suggestion, variants
from siamese.serving.fields import known_fields_alone
from siamese.serving.outgoing import product_out
from siamese.serving.problems import ProblemError, problems
from siamese.serving.queries import place_of
from siamese.serving.schemas import ProductId, SuggestionOut, Suggestions, Top
from siamese.serving.search_routes import unknown_product
from siamese.serving.services import Served
from siamese.serving.shop import Goods

router = APIRouter(prefix="/v1", tags=["suggestions"], dependencies=[Depends(known_fields_alone)])
EACH = 2  # products of a category


@router.get("/variants/{product_id:path}", responses=problems(404))
async def other_colours(
    services: Served, product_id: ProductId, top: Annotated[Top, Query()] = 12
) -> Suggestions:
    """The same kind of product in other colours: of each colour the one that is most alike."""
    goods = services.shop.goods
    _check(goods, product_id, DIFFERENT)
    same = [name for name in SAME if name in goods.columns.by_name]
    found = await services.in_thread(
        services.decoders, variants, goods.snapshot, product_id, top, same
    )
    return _out(goods, found)


@router.get("/complements/{product_id:path}", responses=problems(404))
async def goes_with(services: Served, product_id: ProductId) -> Suggestions:
    """Products of other categories to wear with this one, category by category."""
    goods = services.shop.goods
    _check(goods, product_id, CATEGORY)
    found = await services.in_thread(
        services.decoders, complements, goods.snapshot, product_id, top=EACH
    )
    return _out(goods, found)


def _check(goods: Goods, product_id: str, column: str) -> None:
    """Refuse what cannot be answered, before any work."""
    if place_of(goods, product_id) is None:
        raise unknown_product()
    if column not in goods.columns.by_name:
        raise ProblemError(422, "unusable-request", f"the catalog has no column {column}")


def _out(goods: Goods, found: Sequence[Suggestion]) -> Suggestions:
    """Suggestions with where to find their pictures."""
    return Suggestions(
        suggestions=[
            SuggestionOut(
                **product_out(goods, each.product_id, each.path, each.attributes).model_dump(),
                why=each.why,
                cosine=each.cosine,
            )
            for each in found
        ]
    )
