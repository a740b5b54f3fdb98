"""What is known of products: set, changed, typed, and refused where it would ruin the table."""

from pathlib import Path

import numpy as np
import pytest
from helpers_catalog import (
    ids,
    new_catalog,
    product,
    rows,
    unit_vectors,
)

from siamese.catalog import Catalog, CatalogError, Product


def listed(catalog: Catalog) -> list[dict[str, object]]:
    """The products with None for unknown attributes."""
    frame = catalog.products().astype(object)
    found = frame.where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in found]


def test_update_replaces_all_photos_and_given_attributes_and_touches_nothing_else(
    tmp_path: Path,
) -> None:
    """Fewer and more photos than before: neither an old nor a doubled row may stay."""
    catalog = new_catalog(
        tmp_path / "c",
        product("fewer", 3, colour="red", price=1),
        product("more", 1, colour="red"),
        product("other", 2, seed=5, colour="blue"),
    )
    untouched = [row for row in rows(catalog) if row["product_id"] == "other"]
    catalog.update(
        [
            product("fewer", 1, seed=1, price=2),
            product("more", 4, seed=2, colour=None),
            product("new", 2, seed=3),
        ]
    )
    found = {
        r["product_id"]: (r["photos"], r.get("colour"), r.get("price")) for r in listed(catalog)
    }
    assert found == {
        "fewer": (1, "red", 2),
        "more": (4, None, None),
        "new": (2, None, None),
        "other": (2, "blue", None),
    }
    vectors = [r["embedding"] for r in rows(catalog) if r["product_id"] == "more"]
    np.testing.assert_array_equal(np.array(vectors, np.float32), unit_vectors(4, seed=2))
    assert [row for row in rows(catalog) if row["product_id"] == "other"] == untouched


def test_attributes_change_without_photos(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c", product("a", 2, price=1, c="x"), product("b", price=1))
    before = {row["photo_key"]: row["embedding"] for row in rows(catalog)}
    catalog.set_attributes(["a"], {"price": 2.5, "c": None, "note": "it's new"})
    assert {row["photo_key"]: row["embedding"] for row in rows(catalog)} == before
    first, second = listed(catalog)
    assert (first["price"], first["c"], first["note"]) == (2.5, None, "it's new")
    assert (second["price"], second["c"], second["note"]) == (1, None, None)
    with pytest.raises(CatalogError, match="has no product x"):
        catalog.set_attributes(["x"], {"price": 1})


def test_each_of_many_products_gets_its_own_attributes_in_one_commit(tmp_path: Path) -> None:
    """More than one condition on ids can hold."""
    count = 1200
    catalog = new_catalog(tmp_path / "c", *(product(f"{n:04}", price=n) for n in range(count + 1)))
    before = catalog.version
    catalog.set_each({f"{n:04}": {"price": None, "size": f"S{n}"} for n in range(count)})
    assert catalog.version <= before + 2  # a new column is a commit of its own
    found = catalog.products()
    assert found["size"].tolist()[:count] == [f"S{n}" for n in range(count)]
    assert found["price"].notna().sum() == 1
    catalog.set_each({})
    with pytest.raises(CatalogError, match="has no product x, nothing was changed"):
        catalog.set_each({"x": {"size": "M"}, "0001": {"size": "M"}})
    assert ids(catalog, "size = 'M'") == []


def test_a_value_that_somebody_sets_is_no_longer_marked_as_predicted(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c", product("a"), product("b"))
    catalog.set_attributes(["a", "b"], {"size": "M", "size_predicted": 0.8})
    catalog.set_attributes(["a"], {"size": "L"})
    catalog.update([product("b", size="S")])
    assert ids(catalog, "size_predicted IS NULL") == ["a", "b"]


def test_later_attributes_get_columns_with_nulls_before(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c", product("a", colour="red"))
    catalog.add([product("b", size="M", new=True, price=9)])
    assert ids(catalog, "size IS NULL") == ["a"]
    assert ids(catalog, "size = 'M' AND new AND price > 8 AND colour IS NULL") == ["b"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cheap", "'price' holds numbers, but product 'b' has 'cheap'"),
        (True, "'price' holds numbers, but product 'b' has True"),
        (float("inf"), "'price' of product 'b' is 'inf'"),
        (2**60, "use text, a number up to 2\\^53"),
        ([1], "'price' of product 'b' is"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_the_product(
    tmp_path: Path, value: object, message: str
) -> None:
    catalog = new_catalog(tmp_path / "c", product("a", price=1))
    with pytest.raises(CatalogError, match=message):
        catalog.add([product("b", price=value)])
    assert ids(catalog) == ["a"]


@pytest.mark.parametrize(
    "name", ["_rowid", "", "a.b", "a`b", "a\nb", "path", "Product_ID", "PRICE"]
)
def test_attributes_that_would_ruin_the_table_are_refused(tmp_path: Path, name: str) -> None:
    """A column `_rowid` makes LanceDB panic at every later read."""
    catalog = new_catalog(tmp_path / "c", product("a", price=1))
    with pytest.raises(CatalogError, match=r"cannot be named|in nothing or in case only"):
        catalog.add([product("b", **{name: "x"})])  # type: ignore[arg-type]
    assert ids(catalog) == ["a"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Product("", ["p"], unit_vectors(1)), "cannot be a product id"),
        (Product("a\nb", ["p"], unit_vectors(1)), "cannot be a product id"),
        (Product("..", ["p"], unit_vectors(1)), "cannot be a product id"),
        (Product("b", [], unit_vectors(0)), "'b' has no photo"),
        (Product("b", ["p"], unit_vectors(1, 5)), "expected finite numbers of shape \\(1, 8\\)"),
        (Product("b", ["p", "q"], unit_vectors(1)), "expected finite numbers of shape \\(2, 8\\)"),
        (Product("b", ["p"], unit_vectors(1) * np.nan), "not finite"),
        (product("good"), "'good' is given twice"),
    ],
)
def test_an_unusable_product_is_refused_with_all_that_came_with_it(
    tmp_path: Path, wrong: Product, message: str
) -> None:
    catalog = new_catalog(tmp_path / "c", product("a"))
    for write in (catalog.add, catalog.update):
        with pytest.raises(CatalogError, match=message):
            write([product("good"), wrong])
    assert ids(catalog) == ["a"]
