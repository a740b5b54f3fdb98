"""Boxes in tables: x1, y1, x2, y2 in pixels of the upright photo, one column each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamese.errors import UserError
from siamese.preprocessing import Box

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BOX = ("x1", "y1", "x2", "y2")


def box_sides(table: pd.DataFrame) -> np.ndarray:
    """float64 (rows, 4), what is written in the table; NaN where there is no number."""
    import numpy as np
    import pandas as pd

    cells = table.reindex(columns=list(BOX)).apply(pd.to_numeric, errors="coerce")
    return cells.to_numpy(np.float64, na_value=np.nan)


def has_box(table: pd.DataFrame) -> np.ndarray:
    """bool (rows,): whether anything is written in a row's box."""
    return table.reindex(columns=list(BOX)).notna().any(axis=1).to_numpy()


def boxes_of(table: pd.DataFrame) -> list[Box | None]:
    """The box of each row, `None` for those without.

    Raises:
        UserError: A box lacks a side, or one is no number.
    """
    import numpy as np

    sides, given = box_sides(table), has_box(table)
    wrong = np.flatnonzero(given & ~np.isfinite(sides).all(axis=1))
    if len(wrong):
        raise UserError(
            f"row {table.index[wrong[0]]}: the box needs four numbers: {', '.join(BOX)}"
        )
    return [
        (x1, y1, x2, y2) if has else None
        for has, (x1, y1, x2, y2) in zip(given, sides.tolist(), strict=True)
    ]
