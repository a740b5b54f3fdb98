"""Embedding → every label of a product at once, with a probability each.

Shapes: B products, D input size, O outputs of all columns, V values of a column.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from siamese.attributes.tensor_file import TaggerError, load_tensors
from siamese.checkpoint import Checkpoint
from siamese.concatenation import Concatenation
from siamese.encoder import ConcatenationConfig, Encoder
from siamese.files import write_tensors
from siamese.products import Attribute

FORMAT = "siamese-tagger-1"
TRAINED_ON = "trained_on"  # a tensor of the file that is no weight
HIDDEN = 256
DROPOUT = 0.3
Input = Literal["embedding", "features"]
Output = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Column:
    """A label that is predicted.

    Args:
        name: Of the catalog's column, or of several joined by `+`.
        values: V different ones.
        unions: Values that mean several others: {"Unisex": ["Men", "Women"]}.
    """

    name: str
    values: tuple[Attribute, ...]
    unions: dict[str, tuple[str, ...]]

    def codes(self) -> Tensor:
        """Which outputs each value switches on, float32 (V, outputs): 0 or 1.

        Every value has an output of its own, but a union has those of its members.
        """
        own = [value for value in self.values if value not in self.unions]
        place = {value: number for number, value in enumerate(own)}
        codes = torch.zeros(len(self.values), len(own))
        for row, value in enumerate(self.values):
            for member in self.unions.get(str(value), (value,)):
                codes[row, place[member]] = 1.0
        return codes


@dataclass(frozen=True)
class Tag:
    """A predicted label and how likely it is, in (0, 1)."""

    value: Attribute
    probability: float


@dataclass(frozen=True)
class TaggerCard:
    """All that a tagger is besides its weights.

    Args:
        columns: What it predicts.
        size: D, length of its input.
        input: `embedding`, as catalogs keep it, or `features`: before the encoder's neck.
        output: `softmax`: one of the values of each column; `sigmoid`: each output for itself.
        fingerprint: Of the encoder that it was trained with.
    """

    columns: tuple[Column, ...]
    size: int
    input: Input
    output: Output
    fingerprint: str


class Tagger(nn.Module):
    """One hidden layer for all columns, then a group of outputs per column.

    Args:
        card: What to build.

    Attributes:
        trained_on: Hashes of the products that it has seen, int64 (any,), of `hashes_of`; None
            where the file is of a time that did not keep them. It is no weight: encoders that
            are made of a tagger have none of it.
    """

    trained_on: Tensor | None = None
    mean: Tensor
    std: Tensor

    def __init__(self, card: TaggerCard) -> None:
        super().__init__()
        self.card = card
        self.codes = [column.codes() for column in card.columns]
        self.sizes = [codes.shape[1] for codes in self.codes]
        self.register_buffer("mean", torch.zeros(card.size))
        self.register_buffer("std", torch.ones(card.size))
        self.body = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(card.size, HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, sum(self.sizes)),
        )

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Float (B, D) → the logits of each column's outputs, (B, outputs)."""
        logits: Tensor = self.body((inputs - self.mean) / self.std)
        return list(logits.split(self.sizes, dim=1))

    @torch.inference_mode()
    def probabilities(self, inputs: Tensor) -> list[Tensor]:
        """Of every value of each column, float32 (B, V), rows sum to 1.

        Outputs z that are independent given the photo make the value with code c as likely as
        Π σ(z)^c (1 − σ(z))^(1 − c), which is proportional to exp(c · z); among the values that
        there are, that is a softmax of c · z. With one output per value it is the usual softmax.
        """
        self.eval()
        return [
            (logits @ codes.T).softmax(dim=1)
            for logits, codes in zip(self(inputs), self.codes, strict=True)
        ]

    def tags(self, inputs: Tensor) -> list[dict[str, Tag]]:
        """The most likely value of every column, for each of B inputs, float (B, D)."""
        rows: list[dict[str, Tag]] = [{} for _ in range(len(inputs))]
        for column, shares in zip(self.card.columns, self.probabilities(inputs), strict=True):
            best = shares.max(dim=1)
            for row, place, share in zip(
                rows, best.indices.tolist(), best.values.tolist(), strict=True
            ):
                row[column.name] = Tag(column.values[place], round(share, 4))
        return rows

    def reader(self, checkpoint: Checkpoint) -> Checkpoint:
        """What makes this tagger's inputs of photos.

        Raises:
            TaggerError: The tagger was trained with another encoder.
        """
        self.check(checkpoint.fingerprint)
        return checkpoint if self.card.input == "embedding" else without_neck(checkpoint)

    def check(self, fingerprint: str) -> None:
        """Raise `TaggerError` unless the tagger belongs to the encoder of that fingerprint."""
        if fingerprint != self.card.fingerprint:
            raise TaggerError(
                f"the tagger was trained with another encoder ({self.card.fingerprint}, this is "
                f"{fingerprint}); name that --checkpoint and catalog, or train the tagger again"
            )

    def saw(self, product_ids: Sequence[str]) -> Tensor:
        """Which of these products it was trained on, bool (any,); none where nobody knows."""
        if self.trained_on is None:
            return torch.zeros(len(product_ids), dtype=torch.bool)
        return torch.isin(hashes_of(product_ids), self.trained_on)

    def save(self, path: str | Path) -> None:
        """Write whole or not at all; `OSError` if it cannot be written."""
        seen = {} if self.trained_on is None else {TRAINED_ON: self.trained_on}
        write_tensors(path, self.state_dict() | seen, FORMAT, asdict(self.card))


def hashes_of(product_ids: Sequence[str]) -> Tensor:
    """A number for each id, int64 (any,): 8 bytes, so that no two of a catalog are alike."""
    digests = [hashlib.sha256(name.encode()).digest()[:8] for name in product_ids]
    numbers = [int.from_bytes(digest, signed=True) for digest in digests]
    return torch.tensor(numbers, dtype=torch.int64)


def card_from(described: dict[str, Any]) -> TaggerCard:
    """A card from plain JSON values, as files keep it."""
    columns = tuple(
        Column(c["name"], tuple(c["values"]), {k: tuple(v) for k, v in c["unions"].items()})
        for c in described["columns"]
    )
    return TaggerCard(**{**described, "columns": columns})


def without_neck(checkpoint: Checkpoint) -> Checkpoint:
    """An encoder like this one whose embedding are the backbone's pooled features, unit length.

    The neck keeps what tells products apart and drops some of what tells their kinds. Without it
    an adaptation, which is of what comes after, has no meaning.
    """
    encoder = copy.deepcopy(checkpoint.encoder)
    strip_neck(encoder)
    return replace(checkpoint.with_encoder(encoder), adaptation=None)


def strip_neck(encoder: Encoder) -> None:
    """Make an encoder give its pooled features; encoders side by side give theirs."""
    if isinstance(encoder.backbone, Concatenation):
        assert isinstance(encoder.config, ConcatenationConfig)
        members = [cast(Encoder, member) for member in encoder.backbone.encoders]
        for member in members:
            strip_neck(member)
        pairs = list(zip(encoder.config.parts, members, strict=True))
        parts = tuple(replace(part, encoder=member.config) for part, member in pairs)
        size = sum(member.config.embedding_size for part, member in pairs if part.weight)
        encoder.features = encoder.own_features = size
        encoder.backbone.joint = None
        encoder.config = ConcatenationConfig("concatenation", size, parts=parts)
    encoder.neck = nn.Identity()
    encoder.config = replace(encoder.config, embedding_size=encoder.own_features)


def load_tagger(path: str | Path) -> Tagger:
    """Read what `Tagger.save` wrote.

    Raises:
        TaggerError: Missing, damaged or something else.
    """
    weights, card = load_tensors(path, FORMAT, "a tagger", "tagger train")
    try:
        tagger = Tagger(card_from(card))
        tagger.trained_on = weights.pop(TRAINED_ON, None)
        tagger.load_state_dict(weights)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TaggerError(f"{path}: damaged; train it again with infer.py tagger train") from error
    return tagger.eval()


def columns_of(
    names: Sequence[str],
    values: Sequence[tuple[Attribute, ...]],
    unions: dict[str, tuple[str, ...]],
) -> tuple[Column, ...]:
    """The columns of a label table; a union belongs to each column that has its values.

    Raises:
        TaggerError: A column has fewer than two values, or no column has a union's values.
    """
    columns = []
    for name, known in zip(names, values, strict=True):
        if len(known) < 2:
            said = f"only {known[0]!r}" if known else "nothing"
            raise TaggerError(f"column {name!r} says {said}; a tagger needs two values or more")
        own = {
            value: members
            for value, members in unions.items()
            if {value, *members} <= {v for v in known if isinstance(v, str)}
        }
        columns.append(Column(name, known, own))
    unused = [value for value in unions if not any(value in c.unions for c in columns)]
    if unused:
        known_values = "; ".join(f"{c.name}: {', '.join(map(str, c.values))}" for c in columns)
        raise TaggerError(
            f"--union {unused[0]}={'+'.join(unions[unused[0]])}: no column has all of these "
            f"values; there are {known_values[:600]}"
        )
    return tuple(columns)
