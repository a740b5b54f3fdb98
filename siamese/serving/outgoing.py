"""Rankings and products of one version of the catalog as the API shows them."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import numpy as np

from siamese.attributes.label_table import is_mark
from siamese.explanation_sheet import in_words
from siamese.isolation import with_margin
from siamese.output import verdict
from siamese.products import PATH, Attribute, probability_of, whole_or_fraction
from siamese.recommend.voting import Vote, vote
from siamese.serving.columns import Facet
from siamese.serving.queries import Found, Seen, place_of
from siamese.serving.schemas import (
    Answer,
    FacetOut,
    FacetValueOut,
    GarmentOut,
    MatchOut,
    PhotoOut,
    ProductOut,
    VoteOut,
)
from siamese.serving.shop import Goods
from siamese.serving.tokens import query_token

GRID_SIDE = 320  # of the thumbnails that answers name


def answer_out(
    goods: Goods,
    found: Found,
    considered: int,
    request_id: str,
    column: str | None = None,
    seen: Seen | None = None,
) -> Answer:
    """A ranking with where to find its pictures.

    Args:
        goods: That were asked.
        found: The answer.
        considered: How many products were ranked.
        request_id: Of the request.
        column: Whose labels the matches vote on, if any.
        seen: What was looked at, if there was a photo.
    """
    ranking, threshold = found.ranking, goods.checkpoint.calibration.known_threshold
    fitted = threshold is not None  # else nothing is known of probabilities
    elected = None if column is None else vote(ranking.matches, column)
    others = (False,) * len(ranking.matches) if elected is None else elected.not_predicted
    matches = []
    for rank, (match, other) in enumerate(zip(ranking.matches, others, strict=True), 1):
        product = product_out(goods, match.product_id, match.path, match.attributes)
        matches.append(
            MatchOut(
                **product.model_dump(),
                rank=rank,
                probability=match.probability if fitted else None,
                likelihood=in_words(match.probability) if fitted else None,
                cosine=round(match.cosine, 5),
                not_predicted=other,
            )
        )
    return Answer(
        request_id=request_id,
        query=query_token(found.embedding, goods.checkpoint.fingerprint),
        in_catalog=ranking.in_catalog if fitted else None,
        probability=ranking.probability if fitted else None,
        verdict=verdict(ranking, threshold),
        matches=matches,
        considered=considered,
        compared=ranking.compared,
        uncompared=ranking.uncompared,
        catalog_version=goods.snapshot.version,
        vote=None if elected is None else vote_out(elected),
        photo=None if seen is None else photo_out(seen),
    )


def vote_out(elected: Vote) -> VoteOut:
    """The result of a vote."""
    label = None if elected.label is None else whole_or_fraction(elected.label)
    return VoteOut(column=elected.column, label=label, share=round(elected.share, 4))


def photo_out(seen: Seen) -> PhotoOut:
    """What was looked at."""
    garments = [
        GarmentOut(
            group=each.group,
            box=with_margin(each.box, seen.size),
            confidence=round(each.confidence, 3),
        )
        for each in seen.garments
    ]
    width, height = seen.size
    return PhotoOut(width=width, height=height, box=seen.box, garments=garments)


def product_out(
    goods: Goods,
    product_id: str,
    path: str | None = None,
    attributes: dict[str, Attribute] | None = None,
) -> ProductOut:
    """A product of the catalog.

    Args:
        goods: The catalog, which has the product.
        product_id: Which.
        path: Its photo to be shown; by default the first.
        attributes: What is known of it, if that was read already.
    """
    places = photo_places(goods, product_id)
    paths = goods.snapshot.rows[PATH].slice(places.start, len(places)).to_pylist()
    if attributes is None:
        ((_, attributes),) = goods.snapshot.describe(np.array([places.start]))
    number = paths.index(path) if path in paths else 0
    # Of the embedding, too: a photo may be changed where it lies, and browsers keep pictures.
    shown = goods.snapshot.embeddings[places.start + number].tobytes()
    version = hashlib.sha256(str(paths[number]).encode() + shown).hexdigest()[:8]
    address = f"/v1/thumbnails/{quote(product_id, safe='')}"
    known = {name: v for name, v in attributes.items() if v is not None and not is_mark(name)}
    marks = {name: probability_of(attributes, name) for name in known}
    return ProductOut(
        product_id=product_id,
        attributes=known,
        predicted={name: mark for name, mark in marks.items() if mark is not None},
        photos=len(paths),
        thumbnail=f"{address}?photo={number}&side={GRID_SIDE}&v={version}",
    )


def photo_places(goods: Goods, product_id: str) -> range:
    """Places of a product's photos; none where there is no such product."""
    place, first = place_of(goods, product_id), goods.snapshot.first
    if place is None:
        return range(0)
    last = place + 1 == len(first)
    return range(int(first[place]), len(goods.snapshot.product) if last else int(first[place + 1]))


def facet_out(facet: Facet) -> FacetOut:
    """A column to filter by."""
    values = [FacetValueOut(value=each.value, count=each.count) for each in facet.values]  # type: ignore[arg-type]
    return FacetOut(name=facet.name, values=values, lowest=facet.lowest, highest=facet.highest)
