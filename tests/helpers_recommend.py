"""A small catalog of things to wear, whose answers can be told by hand."""

from pathlib import Path

import numpy as np
from helpers_catalog import MADE_BY, SIZE

from siamese.catalog import Catalog, Product


def wardrobe(folder: Path) -> Catalog:
    """Shirts in three colours (the colour is the second coordinate), and things to go with them.

    | id | type | colour | gender | usage |
    """
    rows = [
        ("s1", "Topwear", "Shirts", "Blue", "Men", "Casual"),
        ("s2", "Topwear", "Shirts", "Yellow", "Men", "Casual"),
        ("s3", "Topwear", "Shirts", "Yellow", "Men", "Formal"),
        ("s4", "Topwear", "Shirts", "Black", "Men", "Casual"),
        ("s5", "Topwear", "Shirts", "Black", "Women", "Casual"),
        ("s6", "Topwear", "Tops", "Black", "Women", "Casual"),
        ("s7", "Topwear", "Shirts", None, "Men", "Casual"),
        ("t1", "Bottomwear", "Jeans", "Blue", "Men", "Formal"),
        ("t2", "Bottomwear", "Jeans", "Blue", "Men", "Casual"),
        ("t3", "Bottomwear", "Jeans", "Blue", "Women", "Casual"),
        ("w1", "Watches", "Watches", "Black", "Unisex", "Casual"),
        ("x1", "Unheard of", "Thing", "Black", None, None),
    ]
    columns = ("subCategory", "articleType", "baseColour", "gender", "usage")
    products = []
    for number, (name, *values) in enumerate(rows):
        vector = np.zeros(SIZE)
        vector[0], vector[1] = 1.0, 0.1 * number
        vector[2] = 1.0 if values[0] != "Topwear" else 0.0
        vector /= np.linalg.norm(vector)
        attributes = dict(zip(columns, values, strict=True))
        products.append(
            Product(name, [f"/{name}.jpg"], vector[None].astype(np.float32), attributes)
        )
    return Catalog.create(folder, MADE_BY, SIZE, products)
