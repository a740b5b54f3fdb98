"""The shop changes its catalog through the server; customers find it at once, everywhere."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from helpers_serving import (
    ADMIN,
    IDS,
    ids_of,
    make_shop,
    picture,
    put,
    search,
    soon,
)

from siamese.catalog import Catalog
from siamese.serving.table import rows_of_csv


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


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


def test_the_table_of_put_products_survives_json(client: TestClient, photo: bytes) -> None:
    """What comes back is what was sent, by kind."""
    sent = {"a": 1, "b": 1.5, "c": True, "d": "1", "e": "é"}
    back = put(client, "x", photo, **sent).json()["product"]["attributes"]
    assert json.dumps(back) == json.dumps(sent)
