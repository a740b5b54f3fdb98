"""From a photo, or what stands for one, to a ranking: what the batches compute.

Shapes: H height, W width, D embedding size, M photos of the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from siamese.garment_choice import FindsGarments
from siamese.isolation import LARGEST, Garment, choose, with_margin
from siamese.photos import PhotoError, check_not_blank, named, open_photo
from siamese.preprocessing import Box, Preprocessing
from siamese.ranking import Ranking
from siamese.recommend.personal import PersonalFinder
from siamese.recommend.taste import Taste
from siamese.roles import Role
from siamese.serving.columns import Filters
from siamese.serving.shop import Goods

NO_TASTE = Taste()
NO_PRODUCT = Ranking("", (), 0.0, False)
WHOLE, AUTO = "none", "auto"  # look at all of the photo; at the largest garment if there is one


@dataclass(frozen=True)
class Query:
    """One question to the catalog; exactly one of `pixels` and `embedding` is given.

    Args:
        goods: What to ask.
        top: How many products.
        pixels: A photo as the encoder wants it, uint8 (H, W, 3).
        embedding: A unit embedding, float32 (D,).
        chosen: Places of the photos to rank, ascending int64; `None` for all.
        taste: Of the person who asks; knows only products and values of the catalog.
        whole: Whether the pixels are all of the photo, not a part that was chosen.
        compared: The photo as the checkpoint's comparison wants it, uint8 (its H, its W, 3); None:
            the best products are not looked at again.
    """

    goods: Goods
    top: int
    pixels: np.ndarray | None = None
    embedding: np.ndarray | None = None
    chosen: np.ndarray | None = None
    taste: Taste = NO_TASTE
    whole: bool = False
    compared: np.ndarray | None = None

    @property
    def role(self) -> Role:
        """What its photo shows."""
        return Role.PERSON if self.whole else Role.GARMENT

    @property
    def alone(self) -> bool:
        """Whether it ranks other products than most do, or otherwise."""
        return self.chosen is not None or bool(self.taste)


@dataclass(frozen=True)
class Found:
    """The answer.

    Args:
        embedding: Of the query, float32 (D,).
        ranking: Without matches where there was nothing to rank.
    """

    embedding: np.ndarray
    ranking: Ranking


@dataclass(frozen=True)
class Seen:
    """What was looked at in a photo.

    Args:
        pixels: uint8 (H, W, 3), for the encoder.
        box: The part in pixels of the upright photo, `None` for all of it.
        garments: All that were found, largest first.
        size: (width, height) of the upright photo.
        compared: As of `Query`.
    """

    pixels: np.ndarray
    box: Box | None
    garments: tuple[Garment, ...]
    size: tuple[int, int]
    compared: np.ndarray | None = None


def answer(queries: Sequence[Query]) -> list[Found]:
    """Answer concurrent queries: one forward pass and one matrix product for all that share goods.

    Every query gets what it would get alone (see `siamese.exact_search`).
    """
    found: dict[int, Found] = {}
    for goods in {id(query.goods): query.goods for query in queries}.values():
        places = [place for place, query in enumerate(queries) if query.goods is goods]
        answers = _answer_of(goods, [queries[place] for place in places])
        found.update(zip(places, answers, strict=True))
    return [found[place] for place in range(len(queries))]


def _answer_of(goods: Goods, queries: Sequence[Query]) -> list[Found]:
    """`answer` for one version of checkpoint and catalog."""
    new = [place for place, query in enumerate(queries) if query.pixels is not None]
    embeddings = torch.zeros(len(queries), goods.checkpoint.embedding_size)
    focus = torch.full((len(queries), 4), torch.nan)
    if new:
        pixels = np.stack([queries[place].pixels for place in new])  # type: ignore[misc]
        roles = [queries[place].role for place in new]
        seen = goods.checkpoint.see(pixels, roles)
        embeddings[new], focus[new] = seen
    sights = _sights(goods, queries, focus)
    for place, query in enumerate(queries):
        if query.embedding is not None:
            embeddings[place] = torch.from_numpy(query.embedding)
    rankings = [NO_PRODUCT] * len(queries)
    together = [place for place, query in enumerate(queries) if not query.alone]
    if together and goods.snapshot.product_ids:
        top = max(queries[place].top for place in together)
        own = [sights[place] for place in together]
        ranked = goods.finder.rank_in(goods.snapshot, embeddings[together], top, sights=own)
        for place, ranking in zip(together, ranked, strict=True):
            rankings[place] = replace(ranking, matches=ranking.matches[: queries[place].top])
    for place, query in enumerate(queries):
        if query.alone and (query.chosen is None or len(query.chosen)):
            finder = PersonalFinder(goods.finder, query.taste) if query.taste else goods.finder
            (rankings[place],) = finder.rank_in(
                goods.snapshot,
                embeddings[place : place + 1],
                query.top,
                query.chosen,
                sights=[sights[place]],
            )
    return [Found(e.numpy(), r) for e, r in zip(embeddings, rankings, strict=True)]


def _sights(
    goods: Goods, queries: Sequence[Query], focus: torch.Tensor
) -> list[torch.Tensor | None]:
    """What the comparison sees in each photo that it gets, as `Finder.rank_in` takes it.

    focus: Where the encoder looked closer, (Q, 4), see `siamese.checkpoint.SeenPixels`.
    """
    sights: list[torch.Tensor | None] = [None] * len(queries)
    shown = [place for place, query in enumerate(queries) if query.compared is not None]
    comparison = goods.checkpoint.comparison
    if comparison is not None and shown:
        pixels = np.stack([queries[place].compared for place in shown])  # type: ignore[misc]
        roles = [queries[place].role for place in shown]
        known = goods.checkpoint.focus_for(comparison, focus[shown])
        found = comparison.sights(pixels, roles, known)
        for place, seen in zip(shown, found.split(1), strict=True):
            sights[place] = seen
    return sights


@dataclass(frozen=True)
class Choice:
    """What is ranked.

    Args:
        photos: Their places, ascending int64; `None` for all.
        products: How many products that are.
    """

    photos: np.ndarray | None
    products: int


def choice_of(
    goods: Goods, filters: Filters, taste: Taste = NO_TASTE, but: str | None = None
) -> Choice:
    """The products that filters and a person's taste leave.

    Args:
        goods: The catalog.
        filters: By column.
        taste: What is never shown.
        but: A product that is left out as well.

    Raises:
        CatalogError: A filter cannot be used.
    """
    if not filters and not taste and but is None:
        return Choice(None, len(goods.snapshot.product_ids))
    kept = goods.columns.mask(filters)
    if taste:
        kept &= taste.allows(goods.snapshot)
    if but is not None:
        kept[place_of(goods, but)] = False
    return Choice(np.flatnonzero(kept[goods.snapshot.product]), int(kept.sum()))


def known_taste(goods: Goods, taste: Taste) -> Taste:
    """The taste without products that have left the catalog since; an old link shall still work.

    Raises:
        CatalogError: It names a column or value that the catalog does not have.
    """
    likes, dislikes = (
        tuple(name for name in names if place_of(goods, name) is not None)
        for names in (taste.likes, taste.dislikes)
    )
    known = replace(taste, likes=likes, dislikes=dislikes)
    known.check(goods.snapshot)
    return known


def place_of(goods: Goods, product_id: str) -> int | None:
    """A product's place among all, `None` if there is no such product."""
    place = int(np.searchsorted(goods.product_ids, product_id))
    known = place < len(goods.product_ids) and goods.product_ids[place] == product_id
    return place if known else None


def look(
    content: bytes,
    preprocessing: Preprocessing,
    box: Box | None,
    garment: str,
    isolation: FindsGarments | None,
    size: tuple[int, int],
) -> Seen:
    """Decode a checked upload and choose the part to look at.

    Args:
        content: The photo.
        preprocessing: Of the encoder.
        box: The part to look at; wins over `garment`.
        garment: `none`, `auto`, or one of `siamese.isolation.CHOICES`.
        isolation: What finds garments, if anything does.
        size: (width, height) of the upright photo.

    Raises:
        PhotoError: Damaged or blank, the box has no pixel of it, or it shows no such garment.
    """
    if box is not None or garment == WHOLE or (garment == AUTO and isolation is None):
        photo = preprocessing.open(content, box)
        with named(content):
            check_not_blank(photo)
            return Seen(preprocessing.shrink(photo, box), box, (), size)
    if isolation is None:
        raise PhotoError("garment: this server finds none; give a box instead")
    photo = open_photo(content)
    with named(content):
        check_not_blank(photo)
    garments = tuple(isolation.find(photo))
    wanted = choose(garments, LARGEST if garment == AUTO else garment)
    if wanted is None and garment != AUTO:
        seen = ", ".join(each.group for each in garments) or "nothing"
        raise PhotoError(f"garment: no {garment} found ({seen} was); give a box instead")
    box = None if wanted is None else with_margin(wanted.box, photo.size)
    return Seen(preprocessing.shrink(photo, box), box, garments, size)
