"""Boxes are read from tables alike by training, catalogs and evaluation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from siamese.boxes import BOX, box_sides, boxes_of, has_box
from siamese.errors import UserError

TABLE = pd.DataFrame(
    [[1, 2, 3.5, 4], ["5", " 6", "7", "8"], [None, None, None, None]], columns=list(BOX)
)


def test_numbers_and_texts_of_numbers_are_boxes_and_empty_rows_have_none() -> None:
    assert boxes_of(TABLE) == [(1.0, 2.0, 3.5, 4.0), (5.0, 6.0, 7.0, 8.0), None]
    assert has_box(TABLE).tolist() == [True, True, False]
    assert np.isnan(box_sides(TABLE)[2]).all()
    assert box_sides(TABLE)[1].tolist() == [5, 6, 7, 8]


def test_a_table_without_the_columns_has_no_boxes() -> None:
    table = pd.DataFrame({"path": ["a", "b"]})
    assert boxes_of(table) == [None, None]
    assert not has_box(table).any()
    assert box_sides(table).shape == (2, 4)
    assert boxes_of(table[:0]) == []


@pytest.mark.parametrize("side", [None, "wide", float("inf")])
def test_a_box_without_four_numbers_is_an_error_with_its_row(side: float | str | None) -> None:
    table = TABLE.astype(object).set_axis([7, 8, 9])
    table.loc[8, "x2"] = side
    with pytest.raises(UserError, match="row 8: the box needs four numbers: x1, y1, x2, y2"):
        boxes_of(table)


def test_a_table_that_lacks_a_column_has_halves_of_boxes() -> None:
    with pytest.raises(UserError, match="row 0: the box needs four numbers"):
        boxes_of(TABLE.drop(columns="y2"))
