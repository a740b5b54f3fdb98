"""Attributes become classes, and heads learn them where they are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from datasets.labels import classes_of, kinds_of
from datasets.manifest import ManifestError
from siamese.labels import LabelHeads


def test_values_are_numbered_in_order_and_empty_cells_are_unknown() -> None:
    frame = pd.DataFrame(
        {"type": ["shirt", None, "hat", "shirt"], "size": [38.0, 40.0, np.nan, 40.0]}
    )
    classes = classes_of(frame, ["type", "size"])
    assert classes.dtype == np.int64
    assert classes.tolist() == [[1, 0], [-1, 1], [0, -1], [1, 1]]
    assert classes_of(frame, []).shape == (4, 0)


def test_values_of_several_kinds_in_a_column_are_numbered_too() -> None:
    frame = pd.DataFrame({"type": pd.Series([3, "hat", True, 3], dtype="object")})
    assert classes_of(frame, ["type"])[:, 0].tolist() == [0, 2, 1, 0]


def test_joined_columns_are_one_label_that_is_known_where_both_are() -> None:
    frame = pd.DataFrame(
        {"a": ["x", "x", "y", None, "x"], "b": [1, 2, 1, 1, 1], "a+b": list("vvwww")}
    )
    assert classes_of(frame.drop(columns="a+b"), ["b+a"])[:, 0].tolist() == [0, 2, 1, -1, 0]
    assert classes_of(frame, ["a+b"])[:, 0].tolist() == [0, 0, 1, 1, 1]  # a column of that name
    with pytest.raises(ManifestError, match=r"no column c for data\.labels"):
        classes_of(frame, ["a+c"])


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("tpye", "no column tpye for data.labels; the manifest has type, empty, one"),
        ("empty", "column empty has 0 values"),
        ("one", "column one has 1 values in the training split; data.labels needs two"),
    ],
)
def test_columns_that_tell_nothing_apart_are_refused(name: str, complaint: str) -> None:
    frame = pd.DataFrame({"type": ["a", "b"], "empty": [None, None], "one": ["x", None]})
    with pytest.raises(ManifestError, match=complaint):
        classes_of(frame, [name])


def test_products_are_of_one_kind_where_all_columns_agree() -> None:
    frame = pd.DataFrame(
        {
            "product_id": list("abcdefg"),
            "type": ["shirt", "shirt", "shirt", "hat", None, None, "sh"],
            "gender": ["Men", "Women", "Men", "Men", "Men", "Men", "irtMen"],
        }
    )
    kinds = kinds_of(frame, ["type", "gender"])
    assert kinds.dtype == np.int64
    assert kinds.tolist() == [0, 1, 0, 2, 3, 4, 5]  # empty cells make a kind of one's own
    both = pd.concat([frame, frame], ignore_index=True)  # a product's photos stay together
    assert kinds_of(both, ["type", "gender"]).tolist() == 2 * kinds.tolist()
    with pytest.raises(ManifestError, match=r"no column tpye for data\.alike; the manifest has"):
        kinds_of(frame, ["tpye"])
    assert kinds_of(frame, ["type+gender"]).tolist() == kinds.tolist()


def test_the_loss_is_the_mean_over_attributes_of_the_mean_over_known_photos() -> None:
    torch.manual_seed(0)
    heads = LabelHeads(5, [3, 2, 4])
    features = torch.randn(6, 5)
    labels = torch.tensor(
        [[0, 1, -1], [2, -1, -1], [-1, 0, -1], [1, 1, -1], [-1, -1, -1], [0, 0, -1]]
    )
    expected = 0.0
    for column, head in enumerate(heads.heads):
        losses = []
        for photo, label in zip(features, labels[:, column].tolist(), strict=True):
            if label >= 0:
                logits = head(photo)
                losses.append(float(logits.exp().sum().log() - logits[label]))
        expected += sum(losses) / len(losses) / 3 if losses else 0.0  # the third is never known
    assert heads.loss(features, labels).item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_any_known_class_pulls_at_nothing() -> None:
    heads = LabelHeads(5, [3])
    features = torch.randn(2, 5, requires_grad=True)
    heads.loss(features, torch.full((2, 1), -1)).backward()
    assert features.grad is not None
    assert not features.grad.any()


def test_a_product_is_of_the_kind_that_any_of_its_rows_tells() -> None:
    """As where a shop's table has its labels beside the product photo alone."""
    frame = pd.DataFrame(
        {"product_id": list("aabbcc"), "label": ["x", None, None, "x", None, None]}
    )
    assert kinds_of(frame, ["label"]).tolist() == [0, 0, 0, 0, 1, 1]
