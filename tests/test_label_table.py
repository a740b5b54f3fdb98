"""Which columns of a catalog are labels, and how they are named."""

from pathlib import Path
from typing import Any

import pytest
from helpers_catalog import new_catalog, product

from siamese.attributes.label_table import column_names, is_joined, read_labels
from siamese.catalog import Catalog, CatalogError
from siamese.labels import UNKNOWN


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Ten products: a name each but for two, five codes, a kind, and a column with a `+`."""
    products = []
    for number in range(10):
        attributes: dict[str, Any] = {
            "name": f"Shirt {number}" if number < 8 else "Shirt",
            "code": f"code {number // 2}",
            "kind": "ab"[number % 2],
            "rare": "xy"[number] if number < 2 else None,  # all others lack it
            "age 18+": "no" if number % 3 else "yes",
        }
        products.append(product(f"p{number}", seed=number, **attributes))
    return new_catalog(tmp_path / "catalog", *products)


def test_what_every_product_has_for_itself_is_no_label_unless_it_is_named(
    catalog: Catalog,
) -> None:
    """Five codes of ten products are half as many; nine names of ten and two of two are more."""
    assert read_labels(catalog).columns == ("code", "kind", "age 18+")
    assert read_labels(catalog, ["name"]).columns == ("name",)
    with pytest.raises(CatalogError, match="no column of text or truth values that several"):
        read_labels(catalog, where="product_id IN ('p0', 'p1')")


def test_a_column_whose_own_name_has_a_plus_is_taken_whole(catalog: Catalog) -> None:
    table = read_labels(catalog, ["age 18+", "kind+code"])
    assert table.values[0] == ("no", "yes")
    assert table.labels[:4, 0].tolist() == [1, 0, 0, 1]
    assert table.values[1][0] == "a code 0"
    snapshot = catalog.snapshot()
    assert not any(is_joined(snapshot, name) for name in column_names(snapshot))
    assert is_joined(snapshot, "kind+code")
    with pytest.raises(CatalogError, match="no column 'age 19'"):
        read_labels(catalog, ["age 19+"])


def test_a_column_that_is_named_twice_counts_once(catalog: Catalog) -> None:
    table = read_labels(catalog, ["kind", "rare", "kind"])
    assert table.columns == ("kind", "rare")
    assert table.labels[:3].tolist() == [[0, 0], [1, 1], [0, UNKNOWN]]
