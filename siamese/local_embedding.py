"""What each position of a photo adds to its embedding, whatever the encoder and however it looks.

Exact where the encoder's parts are known, see `siamese.parts`, through a second look and an
adaptation. Other encoders are asked by occlusion (Zeiler & Fergus 2014): a part is the difference
that hiding a patch makes to the embedding. These parts do not sum to it.

Shapes: B photos, H height, W width, h x w positions, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from siamese.adaptation import Adaptation
from siamese.checkpoint import Checkpoint
from siamese.parts import of_unit_sum, parts_of
from siamese.roles import Role
from siamese.second_look import back_in_place, closer, focus_of

PATCHES = 8  # hidden in turn along the longer side of a photo
HIDING = (0, 255)  # black and white: one of them at least differs from any garment
BATCH = 64  # photos with a hidden patch per forward pass


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


@torch.inference_mode()
def local_embeddings(
    checkpoint: Checkpoint, pixels: np.ndarray, roles: Sequence[Role] | None = None
) -> LocalEmbeddings:
    """The parts of preprocessed photos; on the CPU.

    Args:
        checkpoint: The encoder.
        pixels: uint8 (B, H, W, 3).
        roles: What each shows; None: products.
    """
    roles = roles or [Role.PRODUCT] * len(pixels)
    whole = checkpoint.embed_pixels(pixels, roles)
    parts = _exact_parts(checkpoint, torch.as_tensor(pixels), roles)
    if parts is None:
        return LocalEmbeddings(occluded_parts(checkpoint, pixels, whole, roles), whole, False)
    if checkpoint.adaptation is not None:
        parts = _adapted(checkpoint.adaptation, parts, roles)
    return LocalEmbeddings(parts, whole, True)


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
) -> Tensor:
    """Embedding minus embedding with one patch hidden, the mean over black and white patches.

    Args:
        checkpoint: The encoder.
        pixels: uint8 (B, H, W, 3).
        whole: The unit embeddings, float32 (B, D).
        roles: As of `local_embeddings`.

    Returns:
        float32 (B, h, w, D) with the longer side of `PATCHES` positions.
    """
    patches = _patches(*pixels.shape[1:3])
    parts = torch.zeros(len(pixels), patches.size, whole.shape[1])
    roles = roles or [Role.PRODUCT] * len(pixels)
    for photo, embedding, part, role in zip(pixels, whole, parts, roles, strict=True):
        hidden = photo[None].repeat(patches.size, axis=0)
        for shade in HIDING:
            for copy, patch in zip(hidden, patches.ravel(), strict=True):
                copy[patch] = shade
            without = [
                checkpoint.embed_pixels(some, [role] * len(some))
                for some in torch.from_numpy(hidden).split(BATCH)
            ]
            part += (embedding - torch.cat(without)) / len(HIDING)
    return parts.view(len(pixels), *patches.shape, -1)


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
