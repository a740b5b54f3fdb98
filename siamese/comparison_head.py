"""Is this the product that the person wears? Both photos looked at together, position by position.

An embedding says what a photo shows before anybody knows what it will be compared with. Here each
position of one photo looks for its like in the other (attention: Bahdanau et al. 2015), and what
differs between the two, a print, a collar, is judged by a small network. That costs a thousand
times as much as a cosine, so it is for the best candidates of a ranking alone.

Shapes: P photos of people, T of products, N positions of each, C channels, S numbers of a position.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.joint_head import Standardisation

PAIRS = 1024  # compared at a time, to bound memory
STARTING_SCALE = 3.0
LARGEST = 127  # of int8; -128 is left out
WIDEST = 20.0  # standard deviations of a channel from its mean that count


@dataclass(frozen=True)
class HeadConfig:
    """The sizes of a comparison.

    Args:
        channels: C, of all levels of all networks.
        rows, columns: Of positions, N in all.
        size: S.
        hidden: Numbers that a position's judgement is made of.
    """

    channels: int
    rows: int = 12
    columns: int = 9
    size: int = 64
    hidden: int = 128


class ComparisonHead(nn.Module):
    """What networks see in two photos → log odds that they show one product, up to a constant.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        size, positions = config.size, config.rows * config.columns
        self.standardisation = Standardisation(config.channels)
        self.dropout = nn.Dropout1d(0.0)  # of channels; a training sets its share
        self.map = nn.Linear(config.channels, size)
        self.norm = nn.LayerNorm(size)
        # Where a position is: collars are above hems. Of products' and of people's photos.
        self.place = nn.Parameter(0.1 * torch.randn(2, positions, size))
        self.asking, self.asked = nn.Linear(size, size), nn.Linear(size, size)
        self.different = nn.Linear(size, config.hidden, bias=False)
        self.common = nn.Linear(size, config.hidden, bias=False)
        self.own = nn.Linear(size, config.hidden)
        self.judgement = nn.Linear(config.hidden, 2)
        self.scale = nn.Parameter(torch.tensor(STARTING_SCALE))

    def positions(self, maps: Tensor) -> Tensor:
        """What networks see at each position, float (B, N, C), in a few numbers: (B, N, S)."""
        return self.seen(self.standardised(maps))

    @property
    def step(self) -> float:
        """What the whole numbers count that positions are kept as: no position exceeds 127."""
        gain, shift = self.norm.weight.detach(), self.norm.bias.detach()
        return float((gain.abs() * self.config.size**0.5 + shift.abs()).max()) / LARGEST

    def codes(self, maps: Tensor) -> Tensor:
        """`positions` as whole numbers, to be kept in a quarter of the memory: int8 (B, N, S)."""
        return (self.positions(maps) / self.step).round().to(torch.int8)

    def decoded(self, codes: Tensor) -> Tensor:
        """`positions` again, but for what rounding took: float32 (B, N, S)."""
        return codes.float() * self.step

    def standardised(self, maps: Tensor) -> Tensor:
        """Each channel by itself; what lies far out counts as less far."""
        normal: Tensor = self.standardisation(maps.float())
        return normal.clamp(-WIDEST, WIDEST)

    def seen(self, normal: Tensor) -> Tensor:
        """The same of maps that are standardised already."""
        kept = self.dropout(normal.transpose(1, 2)).transpose(1, 2)
        positions: Tensor = self.norm(self.map(kept))
        return positions

    def forward(self, people: Tensor, products: Tensor) -> Tensor:
        """Each person's photo with each product's.

        Args:
            people: Of `positions`, float (P, N, S).
            products: Likewise, float (T, N, S).

        Returns:
            float32 (P, T), higher for the same product.
        """
        placed = products + self.place[0], people + self.place[1]
        of_products = self._found_again(products, placed[0], people, placed[1])
        of_people = self._found_again(people, placed[1], products, placed[0])
        return self.scale * (of_products.T + of_people)

    def _found_again(
        self, ones: Tensor, placed: Tensor, others: Tensor, others_placed: Tensor
    ) -> Tensor:
        """How well each position of some photos is found again in others, the weighted mean.

        Args:
            ones, placed: What is looked for, (A, N, S), and the same with its place.
            others, others_placed: Where, (B, N, S).

        Returns:
            float32 (A, B).
        """
        asked = self.asked(others_placed) / self.config.size**0.5
        attention = (self.asking(placed)[:, None] @ asked[None].transpose(2, 3)).softmax(dim=3)
        found = attention.to(others.dtype) @ others[None]  # (A, B, N, S)
        own = ones[:, None]
        hidden = self.different((own - found).abs()) + self.common(own * found) + self.own(own)
        judged, weight = self.judgement(functional.gelu(hidden)).float().unbind(dim=3)
        return (weight.softmax(dim=2) * judged).sum(dim=2)

    @torch.inference_mode()
    def logits(self, people: Tensor, products: Tensor) -> Tensor:
        """`forward` with bounded memory, for any number of photos."""
        rows = max(1, PAIRS // max(1, len(products)))
        logits = people.new_empty(len(people), len(products), dtype=torch.float32)
        for start in range(0, len(people), rows):
            some = slice(start, start + rows)
            for first in range(0, len(products), PAIRS):
                others = slice(first, first + PAIRS)
                logits[some, others] = self(people[some], products[others])
        return logits
