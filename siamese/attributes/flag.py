"""Any one column of a catalog, predicted from a product's other attributes and its embedding.

A flag such as isFragile, or a label. Logistic regression, kept as plain numbers.

Shapes: N products, D embedding size, F inputs, V values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from siamese.attributes.tagger import Tag
from siamese.attributes.tensor_file import TaggerError, load_tensors
from siamese.files import write_tensors
from siamese.products import Attribute

FORMAT = "siamese-flag-1"
REGULARISATION = 0.1  # C of scikit-learn: inputs are standardised, many, and alike
ITERATIONS = 500


@dataclass(frozen=True)
class FlagCard:
    """All that a flag's model is besides its numbers.

    Args:
        name: Of the column that is predicted.
        values: Its V values.
        kinds: Values of each column of text or truth values that is looked at.
        numbers: Columns of numbers that are looked at, and what stands for an unknown one: the
            mean of those known in training, so that it speaks for no value.
        embedding: Whether the embedding is looked at.
        fingerprint: Of the encoder of these embeddings.
    """

    name: str
    values: tuple[Attribute, ...]
    kinds: dict[str, tuple[Attribute, ...]]
    numbers: dict[str, float]
    embedding: bool
    fingerprint: str


@dataclass(frozen=True)
class Flag:
    """A trained model.

    Args:
        card: What it is.
        mean, std: Of the inputs in training, float64 (F,).
        weights: float64 (F, V).
        bias: float64 (V,).
        frequency: Of the values in training, float64 (V,).
    """

    card: FlagCard
    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    frequency: np.ndarray

    def balanced(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities as if all values were equally frequent, (N, V), of inputs (N, F)."""
        logits = (inputs - self.mean) / self.std @ self.weights + self.bias
        return _softmax(logits)

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities among products like those of the training, (N, V).

        Bayes: what is likely where all values are equally frequent, times how frequent they are.
        """
        shares = self.balanced(inputs) * self.frequency
        return shares / shares.sum(axis=1, keepdims=True)

    def tags(self, inputs: np.ndarray) -> list[Tag]:
        """The value that the balanced model finds most likely, with its true probability.

        So a rare value is named where the inputs speak for it, though its probability may be
        below one half.
        """
        best = self.balanced(inputs).argmax(axis=1)
        likely = self.probabilities(inputs)[np.arange(len(best)), best]
        return [
            Tag(self.card.values[place], round(float(share), 4))
            for place, share in zip(best, likely, strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Write whole or not at all; `OSError` if it cannot be written."""
        arrays = {k: v for k, v in vars(self).items() if k != "card"}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
        write_tensors(path, tensors, FORMAT, asdict(self.card))


def load_flag(path: str | Path) -> Flag:
    """Read what `Flag.save` wrote.

    Raises:
        TaggerError: Missing, damaged or something else.
    """
    tensors, card = load_tensors(path, FORMAT, "a flag", "flag train")
    try:
        card["values"] = tuple(card["values"])
        card["kinds"] = {name: tuple(values) for name, values in card["kinds"].items()}
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        if isinstance(card["numbers"], list):
            card["numbers"] = _numbers_of_before(card, arrays["mean"])
        return Flag(FlagCard(**card), **arrays)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise TaggerError(f"{path}: damaged; train it again with infer.py flag train") from error


def inputs_of(
    card: FlagCard, columns: Mapping[str, Sequence[Attribute]], embeddings: np.ndarray
) -> np.ndarray:
    """What a flag looks at.

    Args:
        card: Says what.
        columns: The catalog's columns, N values each; a missing one counts as all unknown.
        embeddings: float32 (N, D).

    Returns:
        float64 (N, F): a 1 for the value of each column of kinds (none for an unknown or a new
        one); each number, or what stands for it, and a 1 where it is not known; the embedding.
    """
    count = len(embeddings)
    parts = [np.zeros((count, 0))]
    for name, values in card.kinds.items():
        column = columns.get(name, [None] * count)
        parts.append(np.array([[own == value for value in values] for own in column], float))
    for name, usual in card.numbers.items():
        numbers = np.array([_number(value) for value in columns.get(name, [None] * count)])
        unknown = np.isnan(numbers)
        parts.append(np.stack([np.where(unknown, usual, numbers), unknown.astype(float)], axis=1))
    if card.embedding:
        parts.append(embeddings.astype(np.float64))
    return np.concatenate([part.reshape(count, -1) for part in parts], axis=1)


def train_flag(card: FlagCard, inputs: np.ndarray, labels: np.ndarray) -> Flag:
    """Fit a logistic regression in which all values weigh the same, however rare.

    Args:
        card: What to train.
        inputs: float64 (N, F), see `inputs_of`.
        labels: int64 (N,), places among the card's values; every one known.

    Raises:
        TaggerError: Fewer than two values are there.
    """
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    if len(present) < 2:
        raise TaggerError(
            f"column {card.name!r} has fewer than two values in the products to train on; it "
            "needs two"
        )
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)
    std[std < 1e-9] = 1.0
    model = LogisticRegression(
        C=REGULARISATION, class_weight="balanced", max_iter=ITERATIONS, random_state=0
    )
    model.fit((inputs - mean) / std, labels)
    two = len(present) == 2  # scikit-learn then keeps the logit of the second value alone
    weights = np.zeros((inputs.shape[1], len(card.values)))
    bias = np.full(len(card.values), -np.inf)
    weights[:, present] = (
        np.stack([-model.coef_[0] / 2, model.coef_[0] / 2], 1) if two else (model.coef_.T)
    )
    bias[present] = np.array([-1, 1]) * model.intercept_[0] / 2 if two else model.intercept_
    frequency = np.bincount(labels, minlength=len(card.values)) / len(labels)
    return Flag(card, mean, std, weights, bias, frequency)


def _numbers_of_before(card: Mapping[str, Any], mean: np.ndarray) -> dict[str, float]:
    """What stands for unknown numbers in a flag that was trained with 0 for them.

    Where the training had unknown ones, the flag learned what a 0 means; elsewhere it is the mean.

    Args:
        card: Its numbers are names alone.
        mean: Of the inputs in training, float64 (F,).
    """
    first = sum(len(values) for values in card["kinds"].values())
    return {
        name: float(mean[place]) if mean[place + 1] == 0 else 0.0
        for place, name in zip(range(first, len(mean), 2), card["numbers"], strict=False)
    }


def _number(value: Attribute) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Rows sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares
