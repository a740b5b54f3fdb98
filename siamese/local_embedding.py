"""What each position of a photo adds to its embedding, whatever the encoder and however it looks.

Exact where the encoder's parts are known, see `siamese.parts`, through a second look and an
adaptation. Other encoders are asked by occlusion (Zeiler & Fergus 2014): a part is the difference
that hiding a patch makes to the embedding. These parts do not sum to it.

Shapes: B photos, H height, W width, h x w positions, D embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from siamese.adaptation import Adaptation
from siamese.checkpoint import Checkpoint
from siamese.parts import of_unit_sum, parts_of
from siamese.preprocessing import Box
from siamese.roles import Role
from siamese.second_look import back_in_place, closer, focus_of

PATCHES = 8  # hidden in turn along the longer side of a photo
HIDING = (0, 255)  # black and white: one of them at least differs from any garment
BATCH = 64  # photos with a hidden patch per forward pass
NONE: Mapping[int, SecondLook] = MappingProxyType({})


@dataclass(frozen=True)
class LocalEmbeddings:
    """What the positions of photos add to their embeddings.

    Args:
        parts: float32 (B, h, w, D).
        whole: The unit embeddings, float32 (B, D).
        exact: Whether the parts sum to the whole; otherwise they were found by occlusion.
    """

    parts: Tensor
    whole: Tensor
    exact: bool


@dataclass(frozen=True)
class SecondLook:
    """At part of a photo, whose embedding is the mean of both looks.

    Args:
        pixels: uint8 (H, W, 3).
        box: Where they lie in the first look, see `siamese.looks.place_in`.
    """

    pixels: np.ndarray
    box: Box


@torch.inference_mode()
def local_embeddings(
    checkpoint: Checkpoint,
    pixels: np.ndarray,
    roles: Sequence[Role] | None = None,
    again: Mapping[int, SecondLook] = NONE,
) -> LocalEmbeddings:
    """The parts of preprocessed photos; on the CPU.

    Args:
        checkpoint: The encoder.
        pixels: uint8 (B, H, W, 3).
        roles: What each shows; None: products.
        again: Of rows of `pixels` that are looked at a second time; their parts are added where
            they lie in the first look.
    """
    roles = roles or [Role.PRODUCT] * len(pixels)
    looks = [_looks(pixels, row, again) for row in range(len(pixels))]
    whole = checkpoint.embed_pixels(np.concatenate(looks), roles, list(map(len, looks)))
    parts = _exact_parts(checkpoint, torch.as_tensor(pixels), roles)
    if parts is None:
        return LocalEmbeddings(
            occluded_parts(checkpoint, pixels, whole, roles, again), whole, False
        )
    for row, second in again.items():
        own = _parts_of_looks(checkpoint, torch.from_numpy(np.stack([second.pixels])), twice=False)
        assert own is not None  # as those of the first looks
        parts[row] = of_unit_sum(parts[row : row + 1] + _in_first_look(own, second))[0]
    if checkpoint.adaptation is not None:
        parts = _adapted(checkpoint.adaptation, parts, roles)
    return LocalEmbeddings(parts, whole, True)


def _looks(pixels: np.ndarray, row: int, again: Mapping[int, SecondLook]) -> np.ndarray:
    """uint8 (1 or 2, H, W, 3)."""
    return np.stack([pixels[row]] + ([again[row].pixels] if row in again else []))


def _in_first_look(parts: Tensor, second: SecondLook) -> Tensor:
    """Parts of a second look, (1, h, w, D), moved to positions of the first."""
    return back_in_place(parts, torch.tensor([second.box]))


def _adapted(adaptation: Adaptation, parts: Tensor, roles: Sequence[Role]) -> Tensor:
    """Parts of adapted embeddings; the mean that is taken off is taken off each alike."""
    positions = parts.shape[1] * parts.shape[2]
    constant = adaptation.moved(torch.zeros(len(parts), parts.shape[3]), roles)
    return of_unit_sum(parts @ adaptation.axes + constant[:, None, None] / positions)


def _exact_parts(checkpoint: Checkpoint, pixels: Tensor, roles: Sequence[Role]) -> Tensor | None:
    """Parts (B, h, w, D) that sum to the embeddings before they are adapted; None if unknown.

    Photos that are looked at twice go by themselves, as when they are embedded: in another batch
    the first look's last digits differ, and so does the place of the second.
    """
    people = [checkpoint.second_look and role is Role.PERSON for role in roles]
    found: list[Tensor | None] = [None] * len(people)
    for twice in set(people):
        rows = [row for row, each in enumerate(people) if each is twice]
        parts = _parts_of_looks(checkpoint, pixels[rows], twice)
        if parts is None:
            return None
        for row, part in zip(rows, parts, strict=True):
            found[row] = part
    return torch.stack([part for part in found if part is not None])


def _parts_of_looks(checkpoint: Checkpoint, pixels: Tensor, twice: bool) -> Tensor | None:
    """The same of uint8 (B, H, W, 3), all of them looked at once or all of them twice."""
    _, parts = parts_of(checkpoint.encoder, checkpoint.normalised(pixels))
    if parts is None or not twice:
        return None if parts is None else parts.cpu()
    boxes = focus_of(parts, len(pixels)).cpu()
    _, again = parts_of(checkpoint.encoder, checkpoint.normalised(closer(pixels, boxes)))
    assert again is not None  # as those of the whole photos
    return of_unit_sum(parts.cpu() + back_in_place(again.cpu(), boxes))


def occluded_parts(
    checkpoint: Checkpoint,
    pixels: np.ndarray,
    whole: Tensor,
    roles: Sequence[Role] | None = None,
    again: Mapping[int, SecondLook] = NONE,
) -> Tensor:
    """Embedding minus embedding with one patch hidden, the mean over black and white patches.

    Of a second look patches are hidden by themselves, and their parts added in their place.

    Args:
        checkpoint: The encoder.
        pixels: uint8 (B, H, W, 3).
        whole: The unit embeddings, float32 (B, D).
        roles: As of `local_embeddings`.
        again: Likewise.

    Returns:
        float32 (B, h, w, D) with the longer side of `PATCHES` positions.
    """
    roles = roles or [Role.PRODUCT] * len(pixels)
    found = []
    for row, (embedding, role) in enumerate(zip(whole, roles, strict=True)):
        looks = _looks(pixels, row, again)
        part = _without_patches(checkpoint, looks, 0, embedding, role)
        if row in again:
            own = _without_patches(checkpoint, looks, 1, embedding, role)
            part = part + _in_first_look(own[None], again[row])[0]
        found.append(part)
    return torch.stack(found)


def _without_patches(
    checkpoint: Checkpoint, looks: np.ndarray, which: int, embedding: Tensor, role: Role
) -> Tensor:
    """What hiding patches of one of a photo's looks takes from its embedding, float32 (h, w, D).

    Args:
        looks: At the photo, uint8 (1 or 2, H, W, 3).
        which: Of them.
    """
    patches = _patches(*looks.shape[1:3])
    part, count = torch.zeros(patches.size, len(embedding)), len(looks)
    for shade in HIDING:
        hidden = looks[None].repeat(patches.size, axis=0)  # (patches, L, H, W, 3)
        for copy, patch in zip(hidden, patches.ravel(), strict=True):
            copy[which][patch] = shade
        without = [
            checkpoint.embed_pixels(some.flatten(0, 1), [role] * len(some), [count] * len(some))
            for some in torch.from_numpy(hidden).split(BATCH // count)
        ]
        part += (embedding - torch.cat(without)) / len(HIDING)
    return part.view(*patches.shape, -1)


def _patches(height: int, width: int) -> np.ndarray:
    """Where the patches of a photo are, each (rows, columns) as slices: objects, (h, w)."""
    side = max(height, width) / PATCHES
    edges = [
        np.linspace(0, length, max(1, round(length / side)) + 1).round().astype(int)
        for length in (height, width)
    ]
    down, across = ([slice(*pair) for pair in pairwise(edge)] for edge in edges)
    patches = np.empty((len(down), len(across)), object)
    for place in np.ndindex(patches.shape):
        patches[place] = (down[place[0]], across[place[1]])
    return patches
