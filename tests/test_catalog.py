"""A catalog keeps what was written, whole, for all its readers, and says clearly what it cannot."""

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers_catalog import (
    MADE_BY,
    SIZE,
    ids,
    new_catalog,
    product,
    rows,
    unit_vectors,
)

import siamese.catalog
import siamese.storage
from siamese.catalog import Catalog, CatalogError, Product
from siamese.products import StorageError
from siamese.storage import data_files


def test_what_was_written_comes_back_with_bits_and_types(tmp_path: Path) -> None:
    vectors = unit_vectors(3)
    written = Product("a", ["1.jpg", "2.jpg", "3.jpg"], vectors, {"c": "x", "n": 3, "t": True})
    new_catalog(tmp_path / "c", written)
    snapshot = Catalog.open(tmp_path / "c", MADE_BY).snapshot()
    assert snapshot.product_ids == ["a"]
    assert snapshot.product.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(snapshot.embeddings, vectors)
    attributes = {"c": "x", "n": 3, "t": True}
    assert snapshot.describe(np.array([2, 0])) == [("3.jpg", attributes), ("1.jpg", attributes)]
    listed = Catalog.open(tmp_path / "c").products().to_dict("records")
    assert listed == [{"product_id": "a", "photos": 3, "path": "1.jpg", **attributes}]


def test_an_empty_catalog_is_a_catalog(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c")
    assert (catalog.count(), catalog.embedding_size, catalog.fingerprint) == (0, SIZE, MADE_BY)
    assert catalog.products().empty
    assert catalog.snapshot().embeddings.shape == (0, SIZE)
    catalog.add([product("a")])
    assert ids(catalog) == ["a"]


def test_products_are_ordered_by_id_and_limited(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c", product("b", 2), product("a"), product("c"))
    assert ids(catalog) == ["a", "b", "c"]
    assert catalog.products(limit=2)["photos"].tolist() == [1, 2]
    assert catalog.count() == 3


def test_another_encoder_is_refused_in_one_line(tmp_path: Path) -> None:
    new_catalog(tmp_path / "c", product("a"))
    with pytest.raises(CatalogError, match="was made by another encoder") as raised:
        Catalog.open(tmp_path / "c", "another")
    assert "\n" not in str(raised.value)
    assert "--checkpoint" in str(raised.value)


def test_an_open_catalog_notices_that_another_encoder_replaced_it(tmp_path: Path) -> None:
    reader = new_catalog(tmp_path / "c", product("a"))
    reader.snapshot()
    Catalog.create(tmp_path / "c", "another", SIZE, [product("b")], overwrite=True)
    with pytest.raises(CatalogError, match="replaced by a catalog of another encoder"):
        reader.snapshot()
    with pytest.raises(CatalogError, match="replaced by a catalog of another encoder"):
        reader.add([product("c")])


def test_a_catalog_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    new_catalog(tmp_path / "c", product("a"))
    with pytest.raises(CatalogError, match="--overwrite"):
        new_catalog(tmp_path / "c", product("b"))
    reader = Catalog.open(tmp_path / "c")
    assert ids(reader) == ["a"]
    Catalog.create(tmp_path / "c", MADE_BY, SIZE, [product("b")], overwrite=True)
    assert ids(reader) == ["b"]


def test_adding_a_known_product_adds_nothing_and_names_it(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c", product("a"), product("b"))
    before = rows(catalog)
    with pytest.raises(CatalogError, match="has a, b already"):
        catalog.add([product("new"), product("b", seed=1), product("a", seed=1)])
    assert rows(catalog) == before


def test_removing_an_unknown_product_removes_nothing_and_names_it(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c", product("a"), product("b"))
    with pytest.raises(CatalogError, match="has no product x, y, nothing was changed"):
        catalog.remove(["a", "x", "y"])
    assert ids(catalog) == ["a", "b"]
    catalog.remove(["a"])
    assert ids(catalog) == ["b"]


def test_filters_understand_quotes_kinds_and_spaces(tmp_path: Path) -> None:
    names = ["it's", 'say "hi"', "semi;colon", "100%", "naïve 裙", "a--b"]
    catalog = new_catalog(
        tmp_path / "c",
        *(
            product(name, articleType=name, **{"on sale": number % 2 == 0, "price": number})
            for number, name in enumerate(names)
        ),
    )
    for name in names:
        quoted = name.replace("'", "''")
        assert ids(catalog, f"articleType = '{quoted}'") == [name]
        assert ids(catalog, f"product_id = '{quoted}'") == [name]
    assert catalog.count("`on sale` AND price < 3") == 2
    catalog.remove(names[:3])
    catalog.update([product("it's", 2), product("a--b", 3)])
    assert ids(catalog) == sorted([*names[3:], "it's"])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("prize < 3", "no column prize; there are product_id, path, price, c"),
        ("price = = 3", "sql parser error"),
        ("price", "does not return a boolean"),
        ("price < 'x'", "could not convert"),
        # LanceDB would take what it understands, and drop the rest without a word.
        ("price >= 1 c = 'y'", "Expected: \\)"),
        ("price >= 1, c = 'y'", "not supported"),
        ("price >= 1 LIMIT 0", "Expected"),
        ("price >= 1 AS x", "Expected"),
        ("arrow_cast(price, 'Foo') = 1", "Foo"),
        ("nonsense(price)", "Invalid function"),
        ("price < 3; DROP TABLE photos", "semicolon"),
        ("c = 'open", "Unterminated string"),
        ("", "Expected"),
    ],
)
def test_a_wrong_filter_is_one_clear_line(tmp_path: Path, where: str, message: str) -> None:
    catalog = new_catalog(tmp_path / "c", product("a", price=1, c="x"))
    for read in (catalog.products, catalog.count, catalog.snapshot().select):
        with pytest.raises(CatalogError, match=message) as raised:
            read(where)
        assert "\n" not in str(raised.value)
        assert ".rs:" not in str(raised.value)
        assert repr(where) in str(raised.value)


def test_a_catalog_made_anew_in_the_folder_is_taken_up(tmp_path: Path) -> None:
    """Its version may be the same."""
    catalog = new_catalog(tmp_path / "c", product("a", price=1))
    assert catalog.snapshot().product_ids == ["a"]
    shutil.rmtree(tmp_path / "c")
    new_catalog(tmp_path / "c", product("b", seed=1, price=1))
    assert catalog.snapshot().product_ids == ["b"]
    assert catalog.snapshot().select("price = 1").tolist() == [0]


def test_a_catalog_whose_files_are_gone_is_named_with_the_remedy(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c", product("a", price=1))
    shutil.rmtree(tmp_path / "c" / "photos.lance" / "data")
    for where in (None, "price = 1"):
        with pytest.raises(StorageError) as caught:
            catalog.products(where)
        assert str(caught.value).startswith(f"{tmp_path}/c: the catalog cannot be read")
        assert str(caught.value).endswith("index the photos again")


def test_a_snapshot_stays_as_it_was_and_the_next_one_is_new(tmp_path: Path) -> None:
    catalog = new_catalog(tmp_path / "c", product("b", price=1), product("a", price=2))
    old = catalog.snapshot()
    assert catalog.snapshot() is old
    Catalog.open(tmp_path / "c").add([product("c", price=1)])
    assert catalog.snapshot().product_ids == ["a", "b", "c"]
    assert old.product_ids == ["a", "b"]
    assert old.select("price = 1").tolist() == [1]
    assert catalog.snapshot().select("price = 1").tolist() == [1, 2]


def test_joining_small_files_changes_nothing_for_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siamese.catalog, "DATA_FILES", 3)
    catalog = new_catalog(tmp_path / "c")
    old = catalog.snapshot()
    for number in range(10):
        catalog.add([product(f"{number}", 2, seed=number, price=number)])
        old = catalog.snapshot() if number == 1 else old
    assert data_files(catalog._table) <= 4
    assert len(rows(catalog)) == 20
    assert old.select("price = 1").tolist() == [2, 3]
    assert catalog.snapshot().select("price > 7").tolist() == [16, 17, 18, 19]


def test_a_catalog_that_is_only_updated_does_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siamese.catalog, "VERSIONS", 8)
    monkeypatch.setattr(siamese.storage, "KEPT", timedelta(0))
    catalog = new_catalog(tmp_path / "c")
    catalog.add([product("a", 2, price=0), product("b", 1, price=5)])
    for number in range(30):
        catalog.set_attributes(["a"], {"price": number})
    assert len(list((tmp_path / "c").rglob("*.manifest"))) <= 10
    assert catalog.products().set_index("product_id")["price"].to_dict() == {"a": 29, "b": 5}


@pytest.mark.parametrize("kind", ["missing", "file", "foreign", "no table", "damaged"])
def test_what_is_no_catalog_is_named(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "c"
    if kind == "file":
        place.write_text("x")
    elif kind == "no table":
        place.mkdir()
    elif kind == "foreign":
        import lancedb

        lancedb.connect(place).create_table("photos", pa.table({"a": [1]}))
    elif kind == "damaged":
        new_catalog(place, product("a"))
        for manifest in (place / "photos.lance" / "_versions").iterdir():
            manifest.write_bytes(b"")
    with pytest.raises(CatalogError, match=f"{place}: ") as raised:
        Catalog.open(place)
    assert "\n" not in str(raised.value)
    assert place.exists() == (kind != "missing")


def test_a_place_that_cannot_be_written_is_named() -> None:
    with pytest.raises(CatalogError, match="/proc/catalog: cannot be a catalog"):
        new_catalog(Path("/proc/catalog"))
