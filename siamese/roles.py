"""What photos show: decides how they are embedded."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from siamese.preprocessing import Box


class Role(Enum):
    """What a photo shows, and how much of it."""

    PRODUCT = "product"
    PERSON = "person"
    """All of a person's photo."""
    GARMENT = "garment"
    """The part of a person's photo that somebody marked."""


def roles_of(people: Sequence[bool], boxes: Sequence[Box | None]) -> list[Role]:
    """Of each photo its role, from whether it shows a person and the part to look at."""
    of_person = [Role.PERSON if box is None else Role.GARMENT for box in boxes]
    pairs = zip(people, of_person, strict=True)
    return [role if person else Role.PRODUCT for person, role in pairs]
