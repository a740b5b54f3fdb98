"""The shop changes its catalog through the server; customers find it at once, everywhere."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from helpers_catalog import draw_photo, save_checkpoint
from helpers_serving import (
    ADMIN,
    IDS,
    client_of,
    copy_of,
    ids_of,
    make_shop,
    photo_of,
    picture,
    put,
    search,
    settings_for,
)

import infer
from siamese import products
from siamese.catalog import Catalog, CatalogError
from siamese.serving.shop import Shop
from siamese.serving.table import rows_of_csv

SOON = 10.0  # seconds; a second is promised, a busy machine may be slower


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def folder(shop: Path, tmp_path: Path) -> Path:
    return copy_of(shop, tmp_path)


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with client_of(folder) as client:
        yield client


@pytest.fixture
def photo(tmp_path: Path) -> bytes:
    """Of a product that the shop does not have yet."""
    return draw_photo(tmp_path / "new.png", hue=250, stripes=5).read_bytes()


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true within `SOON`."""
    deadline = time.monotonic() + SOON
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def test_a_product_that_is_added_is_found_at_once(client: TestClient, photo: bytes) -> None:
    answer = put(client, "new/1 é", photo, articleType="Dress", price=12, sale=True)
    assert answer.status_code == 201
    assert answer.json()["created"] is True
    first = search(client, photo, top=1).json()["matches"][0]
    assert first["product_id"] == "new/1 é"
    assert first["attributes"] == {"articleType": "Dress", "price": 12, "sale": True}
    assert client.get(first["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert client.get("/v1/products/new%2F1%20%C3%A9").status_code == 200


def test_an_update_keeps_what_it_does_not_name(client: TestClient, photo: bytes) -> None:
    put(client, "x", photo, baseColour="Blue", price=3)
    answer = put(client, "x", price=4.5, baseColour=None)
    assert (answer.status_code, answer.json()["created"]) == (200, False)
    assert answer.json()["product"]["attributes"] == {"price": 4.5}
    assert search(client, photo, top=1).json()["matches"][0]["product_id"] == "x"


def test_a_value_that_a_tagger_filled_in_is_marked_until_the_shop_gives_one(
    client: TestClient, folder: Path, photo: bytes
) -> None:
    put(client, "x", photo, price=3)
    marked = {"baseColour": "Blue", "baseColour_predicted": 0.75}
    Catalog.open(folder / "catalog").set_attributes(["x"], marked)
    assert soon(lambda: client.get("/v1/products/x").json()["product"]["predicted"] != {})
    for found in (
        client.get("/v1/products/x").json()["product"],
        search(client, photo, top=1).json()["matches"][0],
    ):
        assert found["attributes"] == {"baseColour": "Blue", "price": 3}
        assert found["predicted"] == {"baseColour": 0.75}
    names = [facet["name"] for facet in client.get("/v1/facets").json()["facets"]]
    assert "baseColour_predicted" not in names
    assert "baseColour_predicted" not in client.get("/v1/about").json()["captions"]
    told = client.get("/v1/statistics", headers=ADMIN).json()
    assert "baseColour_predicted" not in [*told["missing"], *(c["name"] for c in told["columns"])]
    given = put(client, "x", baseColour="Green").json()["product"]
    assert (given["attributes"]["baseColour"], given["predicted"]) == ("Green", {})


def test_new_photos_replace_the_old_ones_also_on_the_disk(
    client: TestClient, folder: Path, photo: bytes
) -> None:
    put(client, "x", photo, picture(50, 70))
    stored = list((folder / "serving" / "photos").rglob("*.jpg"))
    assert len(stored) == 2
    assert put(client, "x", picture(90, 90)).json()["product"]["photos"] == 1
    (left,) = (folder / "serving" / "photos").rglob("*.jpg")
    assert left not in stored


def test_a_removed_product_is_gone_with_its_photos(
    client: TestClient, folder: Path, photo: bytes
) -> None:
    put(client, "x", photo)
    assert client.delete("/v1/products/x", headers=ADMIN).status_code == 204
    assert client.get("/v1/products/x").status_code == 404
    assert "x" not in ids_of(search(client, photo))
    assert not list((folder / "serving" / "photos").rglob("*.jpg"))
    assert client.delete("/v1/products/x", headers=ADMIN).status_code == 404


def test_photos_of_the_shops_own_folder_are_never_deleted(client: TestClient, shop: Path) -> None:
    assert client.delete("/v1/products/000", headers=ADMIN).status_code == 204
    assert (shop / "photos" / "000.png").exists()


@pytest.mark.parametrize("name", ["../../x", "a'; DROP TABLE photos; --", "%00", "x" * 501])
def test_ids_are_only_ids(client: TestClient, folder: Path, photo: bytes, name: str) -> None:
    before = set(folder.parent.iterdir())
    answer = put(client, name.replace("/", "%2F"), photo)
    assert answer.status_code in (201, 422)
    assert set(folder.parent.iterdir()) == before
    assert search(client, photo).status_code == 200


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ("[]", "attributes"),
        ('{"price": "cheap"}', "holds numbers"),
        ('{"_rowid": 1}', "cannot be named"),
        ('{"path": "/etc/passwd"}', "path"),
        ('{"embedding": 1}', "embedding"),
        ('{"price": 1e300}', "use text, a number"),
        (f'{{"price": {10**400}}}', "use text, a number"),
        ('{"name": "' + "x" * 2001 + '"}', "attributes"),
    ],
)
def test_wrong_attributes_are_told_and_nothing_is_written(
    client: TestClient, folder: Path, photo: bytes, attributes: str, says: str
) -> None:
    answer = client.put(
        "/v1/products/x",
        files={"photos": photo},
        data={"attributes": attributes},
        headers=ADMIN,
    )
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert str(folder) not in answer.text
    assert client.get("/v1/products/x").status_code == 404
    assert not list((folder / "serving").rglob("*.jpg"))


def test_a_new_product_without_a_photo_is_refused(client: TestClient) -> None:
    assert put(client, "x", price=1).status_code == 422


def test_products_that_are_put_at_the_same_time_are_all_there(
    client: TestClient, photo: bytes
) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: put(client, f"p{n}", photo, price=n), range(12)))
    assert [answer.status_code for answer in answers] == [201] * 12
    assert set(ids_of(client.get("/v1/products"))) == {*IDS, *(f"p{n}" for n in range(12))}


def test_the_catalog_in_numbers(client: TestClient, photo: bytes) -> None:
    put(client, "x", photo, photo)
    answer = client.get("/v1/statistics", headers=ADMIN).json()
    assert (answer["products"], answer["photos"]) == (9, 10)
    assert answer["missing"] == {"articleType": 1, "baseColour": 1, "price": 1, "new": 1}
    columns = {column["name"]: column for column in answer["columns"]}
    assert columns["articleType"]["labels"] == 2
    assert columns["articleType"]["its_share"] == pytest.approx(4 / 9)
    assert columns["articleType"]["imbalance"] == 1.0
    for name in IDS[1:]:
        client.delete(f"/v1/products/{name}", headers=ADMIN)
    assert client.get("/v1/statistics", headers=ADMIN).json()["columns"] == []  # two are too few


def test_what_goes_with_a_product_is_of_other_categories(client: TestClient, photo: bytes) -> None:
    put(client, "shirt", photo, subCategory="Topwear")
    put(client, "jeans", photo, subCategory="Bottomwear")
    found = client.get("/v1/complements/shirt").json()["suggestions"]
    assert [(each["product_id"], each["why"]) for each in found] == [("jeans", "Bottomwear")]
    unknown = client.get("/v1/complements/000")
    assert unknown.status_code == 422
    assert "nothing is known" in unknown.json()["detail"]


def test_a_table_becomes_typed_rows_that_can_be_put(client: TestClient, photo: bytes) -> None:
    table = (
        "id;price;sku;sale;baseColour;path\n107;3,5;0012;TRUE;Blue;a.jpg\n\n008;4;0013;;Red;b.jpg"
    )
    answer = client.post("/v1/tables", files={"table": table.replace(",", ".")}, headers=ADMIN)
    rows = answer.json()["rows"]
    assert rows[0] == {
        "product_id": "107",
        "path": "a.jpg",
        "attributes": {"price": 3.5, "sku": "0012", "sale": True, "baseColour": "Blue"},
    }
    assert rows[1]["attributes"] == {"price": 4.0, "sku": "0013", "baseColour": "Red"}
    assert put(client, "107", photo, **rows[0]["attributes"]).status_code == 201


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "needs a heading"),
        (b"name\nx", "no column product_id or id, but name"),
        (b"id,price\n,3", "row 2 has no id"),
        (b"id,price\na,1,2", "row 2 has another number of cells"),
        (b"\xff\xfe", "no CSV in UTF-8"),
        (b"id,price\na,cheap", "'price' cannot hold 'cheap'"),
        (b"id,price,price\na,1,2", "has the column 'price' twice"),
        (b"id,price\na,1\nb,2\na,3", "two rows of 'a' have different attributes"),
    ],
)
def test_a_wrong_table_is_told(client: TestClient, content: bytes, says: str) -> None:
    answer = client.post("/v1/tables", files={"table": content}, headers=ADMIN)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_a_column_is_typed_as_a_whole() -> None:
    rows = rows_of_csv(b"id,size,code,n\na,38,007,1000\nb,XL,8,-.5\nc,nan,9,0.25", {})
    assert [row[2]["size"] for row in rows] == ["38", "XL", "nan"]
    assert [row[2]["code"] for row in rows] == ["007", "8", "9"]
    assert [row[2]["n"] for row in rows] == [1000.0, -0.5, 0.25]


@pytest.mark.parametrize("code", ["12E4", "1234_01"])
def test_article_numbers_that_python_reads_as_numbers_stay_text(code: str) -> None:
    content = f"id,sku\na,{code}\nb,7".encode()
    assert [row[2]["sku"] for row in rows_of_csv(content, {})] == [code, "7"]


def test_what_another_process_adds_is_found_soon(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    draw_photo(tmp_path / "late.png", hue=200, stripes=7)
    began = time.monotonic()
    words = ["add", "late", f"{tmp_path}/late.png", "--catalog", f"{folder}/catalog"]
    assert infer.main([*words, "--checkpoint", f"{folder}/model.safetensors"]) == 0
    assert soon(lambda: client.get("/v1/products/late").status_code == 200)
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("way", ["another folder", "in place"])
def test_another_catalog_of_the_same_version_is_taken_up(
    client: TestClient, folder: Path, shop: Path, tmp_path: Path, way: str
) -> None:
    smaller, live = tmp_path / "smaller", folder / "catalog"
    for name in ("003.png", "004.png"):
        (tmp_path / "two").mkdir(exist_ok=True)
        shutil.copy(shop / "photos" / name, tmp_path / "two")
    words = ["--photos", tmp_path / "two"]
    places = ["--catalog", smaller, "--checkpoint", folder / "model.safetensors"]
    assert infer.main(["index", *map(str, [*words, *places])]) == 0
    assert Catalog.open(smaller).version == Catalog.open(live).version
    if way == "in place":
        for part in live.iterdir():
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    else:
        shutil.rmtree(live)
    shutil.copytree(smaller, live, dirs_exist_ok=True)
    assert soon(lambda: client.get("/health").json()["products"] == 2)


def test_of_a_catalog_that_is_gone_the_old_version_is_served(
    client: TestClient, folder: Path, photo: bytes
) -> None:
    shutil.rmtree(folder / "catalog")
    assert soon(lambda: client.get("/health").json()["status"] == "old")
    assert client.get("/v1/variants/003").status_code == 200
    assert client.get("/v1/statistics", headers=ADMIN).json()["products"] == len(IDS)
    assert search(client, photo).status_code == 200
    refused = put(client, "fresh", photo)
    assert refused.status_code == 503  # not the client's fault
    told = [client.get("/health").text, refused.text]
    assert not [text for text in told if str(folder).strip("/") in text]


def test_a_checkpoint_that_cannot_be_used_is_told_without_its_place(
    client: TestClient, folder: Path
) -> None:
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert soon(lambda: client.get("/health").json()["status"] == "old")
    assert str(folder) not in client.get("/health").text


def test_a_text_where_probabilities_are_kept_is_refused_and_old_ones_do_no_harm(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("abc", 1.5, True):
        refused = put(client, "003", articleType_predicted=value)
        assert refused.status_code == 422
        assert "kept for probabilities" in refused.json()["detail"]
    monkeypatch.setattr(products, "_check_mark", lambda *_: None)  # as versions before wrote
    Catalog.open(folder / "catalog").set_attributes(["003"], {"articleType_predicted": "abc"})
    assert soon(lambda: client.get("/health").json()["catalog_version"] > 1)
    assert client.get("/v1/products/003").json()["product"]["predicted"] == {}
    assert client.get("/v1/products").status_code == 200


def test_a_picture_that_was_changed_where_it_lies_has_another_address(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    place = draw_photo(tmp_path / "own.png", hue=250, stripes=5)
    words = ["--catalog", str(folder / "catalog"), "--checkpoint", f"{folder}/model.safetensors"]
    addresses = []
    for command in ("add", "update"):
        assert infer.main([command, "own", str(place), *words]) == 0
        version = Catalog.open(folder / "catalog").version
        assert soon(lambda: client.get("/health").json()["catalog_version"] == version)  # noqa: B023
        addresses.append(client.get("/v1/products/own").json()["product"]["thumbnail"])
        draw_photo(place, hue=30, stripes=1)
    assert addresses[0] != addresses[1]
    assert "max-age" in client.get(addresses[0]).headers["cache-control"]
    without = client.get("/v1/thumbnails/own?side=160").headers
    assert without["cache-control"] == "no-cache"
    assert without["etag"]


def test_a_new_checkpoint_with_its_catalog_is_taken_up_without_a_dropped_request(
    client: TestClient, folder: Path, shop: Path
) -> None:
    """The catalog is replaced first, the checkpoint later: until both fit, the old are served."""
    old = client.get("/health").json()["encoder"]
    content, statuses = photo_of(shop, "003"), set()
    new = save_checkpoint(folder / "next.safetensors", seed=9)
    words = ["index", "--photos", f"{shop}/photos", "--catalog", f"{folder}/catalog"]
    assert infer.main([*words, "--checkpoint", str(new), "--overwrite"]) == 0

    def status() -> str:
        statuses.add(search(client, content).status_code)
        return str(client.get("/health").json()["status"])

    assert soon(lambda: status() == "old")
    health = client.get("/health").json()
    assert health["encoder"] == old
    assert "another encoder" in health["why"]
    assert str(folder) not in health["why"]
    assert search(client, content, top=1).json()["matches"][0]["product_id"] == "003"
    new.replace(folder / "model.safetensors")
    assert soon(lambda: status() == "ok")
    assert client.get("/health").json()["encoder"] != old
    assert search(client, content, top=1).json()["matches"][0]["product_id"] == "003"
    assert statuses == {200}


def test_a_damaged_checkpoint_is_not_taken_up(client: TestClient, folder: Path) -> None:
    (folder / "bad").write_bytes(b"no checkpoint")
    (folder / "bad").replace(folder / "model.safetensors")
    assert soon(lambda: client.get("/health").json()["status"] == "old")
    assert search(client, picture()).status_code == 200


def test_with_an_admin_a_missing_catalog_is_made_and_without_one_it_is_an_error(
    folder: Path,
) -> None:
    nowhere = str(folder / "nowhere")
    with pytest.raises(CatalogError, match="no such catalog"):
        Shop(settings_for(folder, catalog=nowhere, admin_token=None))
    assert Shop(settings_for(folder, catalog=nowhere)).goods.snapshot.product_ids == []
    assert Catalog.open(nowhere).count() == 0


def test_a_request_keeps_the_version_that_it_began_with(folder: Path) -> None:
    shop = Shop(settings_for(folder))
    before = shop.goods
    Catalog.open(folder / "catalog").remove(["000"])
    after = shop.refresh()
    assert "000" in before.snapshot.product_ids
    assert before.columns.products == 8
    assert "000" not in after.snapshot.product_ids
    assert shop.refresh() is after  # nothing newer: nothing is read


def test_the_table_of_put_products_survives_json(client: TestClient, photo: bytes) -> None:
    """What comes back is what was sent, by kind."""
    sent = {"a": 1, "b": 1.5, "c": True, "d": "1", "e": "é"}
    back = put(client, "x", photo, **sent).json()["product"]["attributes"]
    assert json.dumps(back) == json.dumps(sent)
