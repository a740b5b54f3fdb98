"""What photos of people show besides the product that a table has them for.

Shapes: R photos, A products at most that one of them shows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from siamese.boxes import has_box

ALSO_WORN = "also_worn"  # column: ids of other products in the photo
SEPARATOR = ";"  # of several ids


def worn_products(frame: pd.DataFrame, products: list[str]) -> np.ndarray:
    """Numbers of all products that photos show, int64 (R, A): first each row's own, then others.

    A photo of a whole person asks for everything that is worn there; one with a box, for what is
    in the box.

    Args:
        frame: Manifest rows: `product_id`, and where known `also_worn`, ids between semicolons.
        products: Ids in the order of their numbers, each row's own among them.

    Returns:
        -1 where a photo shows no more, or what is no product of these.
    """
    number = {name: place for place, name in enumerate(products)}
    own = [[number[name]] for name in frame["product_id"]]
    if ALSO_WORN in frame:
        boxed = has_box(frame)
        for row, others in enumerate(frame[ALSO_WORN]):
            if isinstance(others, str) and not boxed[row]:
                # A single id may hold a semicolon itself.
                names = [others] if others in number else others.split(SEPARATOR)
                own[row] += [number.get(name, number.get(name.strip(), -1)) for name in names]
    most = max(map(len, own), default=1)
    return np.array([row + [-1] * (most - len(row)) for row in own], np.int64).reshape(-1, most)
