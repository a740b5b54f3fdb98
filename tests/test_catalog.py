"""A catalog keeps what was written, whole, for all its readers, and says clearly what it cannot."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers_catalog import (
    MADE_BY,
    ROOT,
    SIZE,
    environment,
    new_catalog,
    product,
    rows,
    run_python,
    unit_vectors,
)

import siamese.catalog
import siamese.storage
from siamese.catalog import Catalog, CatalogError, Product
from siamese.storage import data_files


def ids(catalog: Catalog, where: str | None = None) -> list[str]:
    return catalog.products(where)["product_id"].tolist()


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


def listed(catalog: Catalog) -> list[dict[str, object]]:
    """The products with None for unknown attributes."""
    frame = catalog.products().astype(object)
    found = frame.where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in found]


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


@contextmanager
def no_lock(uri: str) -> Iterator[None]:
    """As on object storage."""
    yield


def test_writers_without_a_lock_lose_nothing_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On object storage only Lance's commits keep writers apart."""
    monkeypatch.setattr(siamese.catalog, "one_writer", no_lock)
    new_catalog(tmp_path / "c")
    refused: list[str] = []

    def write(writer: int) -> None:
        catalog = Catalog.open(tmp_path / "c")
        for number in range(8):
            catalog.add([product(f"own-{writer}-{number}")])
            try:
                catalog.add([product(f"shared-{number}", 2)])
            except CatalogError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [row["photo_key"] for row in rows(Catalog.open(tmp_path / "c"))]
    assert len(keys) == len(set(keys)) == 2 * 8 + 8 * 2
    assert len(refused) == 8


WRITER = """
import sys
from helpers_catalog import product
from siamese.catalog import Catalog, CatalogError
place, writer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
catalog = Catalog.open(place)
won = 0
for number in range(count):
    catalog.add([product(f"{writer}-{number}")])
    catalog.update([product(f"{writer}-{number}", 2)])
    try:
        catalog.add([product(f"shared-{number}", 2)])
        won += 1
    except CatalogError as error:
        assert "already" in str(error), error
print(won)
"""


def test_two_writing_processes_lose_nothing_and_an_open_reader_sees_both(tmp_path: Path) -> None:
    reader = new_catalog(tmp_path / "c", product("first"))
    assert reader.snapshot().product_ids == ["first"]
    count = 10
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "c"), name, str(count)],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("x", "y")
    ]
    won = [int(writer.communicate(timeout=60)[0]) for writer in writers]
    assert sum(won) == count
    expected = {"first", *(f"{w}-{n}" for w in ("x", "y", "shared") for n in range(count))}
    assert set(reader.snapshot().product_ids) == expected
    keys = [row["photo_key"] for row in rows(reader)]
    assert len(keys) == len(set(keys)) == 1 + 3 * count * 2


ENDLESS_WRITER = """
import sys
from helpers_catalog import product
from siamese.catalog import Catalog
catalog, writer = Catalog.open(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
for number in range(10**6):
    batch = f"{writer}-{number}"
    catalog.add([product(f"{batch}-{i}", 2, batch=batch) for i in range(5)])
    photos = 1 + number % 3
    catalog.update([product(f"fixed-{i}", photos, batch=batch) for i in range(5)])
    catalog.remove([f"{batch}-{i}" for i in range(5)] if number % 2 else [])
"""


def test_a_killed_writer_leaves_whole_batches_and_a_usable_catalog(tmp_path: Path) -> None:
    """Five products at a time are added and removed, and the five fixed ones get other photos.

    Whenever the writer is killed, all five or none are there, and the fixed ones are all there,
    with the same number of photos, of the same round.
    """
    seed = random.randrange(10**6)
    print("seed", seed)
    delays = random.Random(seed)
    fixed = [product(f"fixed-{i}", 2, batch="first") for i in range(5)]
    reader = new_catalog(tmp_path / "c", *fixed)
    for kill in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_WRITER, str(tmp_path / "c"), str(kill)],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delays.uniform(0.05, 0.4))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        keys = [row["photo_key"] for row in rows(reader)]
        assert len(keys) == len(set(keys))
        frame = Catalog.open(tmp_path / "c").products()
        is_fixed = frame["product_id"].str.startswith("fixed-")
        assert len(frame[is_fixed]) == 5
        assert len(frame[is_fixed][["batch", "photos"]].drop_duplicates()) == 1
        assert (frame[~is_fixed].groupby("batch").size() == 5).all()
        assert (frame[~is_fixed]["photos"] == 2).all()
        reader.add([product(f"after-{kill}")])
        reader.remove([f"after-{kill}"])


FULL_DISK = """
import resource, sys
from helpers_catalog import product
from siamese.catalog import Catalog, CatalogError
catalog = Catalog.open(sys.argv[1])
sys.dont_write_bytecode = True  # it would be cut off, and stay so
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
many = [product(f"{i:05d}" * 20, 3) for i in range(500)]
for write in (catalog.add, catalog.update):
    try:
        write(many)
    except CatalogError as error:
        print(error)
"""


def test_a_full_disk_leaves_the_catalog_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: both fail in the middle."""
    catalog = new_catalog(tmp_path / "c", product("a", 2, price=1))
    before = rows(catalog)
    done = run_python(FULL_DISK, tmp_path / "c")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("could not be written") == 2, done.stdout
    assert len(done.stdout.splitlines()) == 2
    assert rows(catalog) == before
    catalog.add([product("b")])
    assert ids(catalog) == ["a", "b"]


HALF_MADE = """
import os, signal, sys
import siamese.catalog, siamese.storage
from helpers_catalog import new_catalog, product
from pathlib import Path
siamese.catalog.commit = lambda uri, write: os.kill(os.getpid(), signal.SIGKILL)
new_catalog(Path(sys.argv[1]), product("a"))
"""


def test_a_catalog_killed_before_its_commit_is_none_and_can_be_made_again(tmp_path: Path) -> None:
    assert run_python(HALF_MADE, tmp_path / "c").returncode == -signal.SIGKILL
    with pytest.raises(CatalogError, match="no such catalog"):
        Catalog.open(tmp_path / "c")
    assert ids(new_catalog(tmp_path / "c", product("b"))) == ["b"]


def test_a_loaded_package_called_datasets_does_not_break_the_import(tmp_path: Path) -> None:
    """LanceDB takes any module `datasets` for Hugging Face's."""
    code = """
import sys
import datasets.manifest
from helpers_catalog import new_catalog, product
from pathlib import Path
catalog = new_catalog(Path(sys.argv[1]), product("a"))
catalog.add([product("b")])
print(catalog.count(), sys.modules["datasets"].__file__)
"""
    done = run_python(code, tmp_path / "c")
    assert done.stdout.split() == ["2", str(ROOT / "datasets" / "__init__.py")], done.stderr
