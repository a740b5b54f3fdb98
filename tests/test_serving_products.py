"""The API's products: in pages, one, their thumbnails, and counts of their labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from helpers_serving import (
    IDS,
    assert_problem,
    client_of,
    ids_of,
    make_shop,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def client(shop: Path) -> Iterator[TestClient]:
    with client_of(shop, title="Corner shop") as client:
        yield client


def test_pages_of_products_hold_each_once(client: TestClient) -> None:
    seen: list[str] = []
    cursor = ""
    for _ in range(4):
        answer = client.get("/v1/products", params={"limit": 3, "cursor": cursor})
        seen += ids_of(answer)
        assert answer.json()["total"] == 8
        cursor = answer.json()["next"]
        if cursor is None:
            assert "link" not in answer.headers
            break
        assert 'rel="next"' in answer.headers["link"]
    assert seen == IDS
    assert_problem(client.get("/v1/products?cursor=!!"), 422, "invalid-request")


def test_the_next_page_keeps_the_filters(client: TestClient) -> None:
    wanted: dict[str, Any] = {"limit": 3, "filters": json.dumps({"articleType": ["Tshirts"]})}
    page = client.get("/v1/products", params=wanted)
    seen = ids_of(page)
    page = client.get(page.links["next"]["url"])
    assert seen + ids_of(page) == ["001", "003", "005", "007"]
    assert page.json()["total"] == 4


def test_who_asks_for_the_heading_alone_gets_it(client: TestClient) -> None:
    for address in ("/", "/admin", "/page/page.js", "/health"):
        answer = client.head(address)
        assert answer.status_code == 200
        assert answer.content == b"" or int(answer.headers["content-length"]) > 0


def test_one_product_is_shown_with_its_attributes(client: TestClient) -> None:
    found = client.get("/v1/products/002").json()["product"]
    assert found["attributes"] == {
        "articleType": "It's",
        "baseColour": "Blue",
        "price": 2.5,
        "new": False,
    }
    assert_problem(client.get("/v1/products/999"), 404, "unknown-product")


def test_thumbnails_are_small_cached_and_not_sent_twice(client: TestClient) -> None:
    address = client.get("/v1/products/002").json()["product"]["thumbnail"]
    first = client.get(address)
    assert first.headers["content-type"] == "image/jpeg"
    assert "max-age" in first.headers["cache-control"]
    again = client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert_problem(client.get("/v1/thumbnails/002?photo=1"), 404, "unknown-product")
    assert_problem(client.get("/v1/thumbnails/002?side=321"), 422, "invalid-request")
    assert_problem(client.get("/v1/thumbnails/..%2F..%2Fetc%2Fpasswd"), 404, "unknown-product")


def test_facets_count_under_the_other_filters(client: TestClient) -> None:
    filters = json.dumps({"baseColour": ["Red"]})
    answer = client.get("/v1/facets", params={"filters": filters}).json()
    facets = {facet["name"]: facet for facet in answer["facets"]}
    assert answer["total"] == 2
    assert facets["articleType"]["values"] == [
        {"value": "It's", "count": 2},
        {"value": "Tshirts", "count": 0},
    ]
    assert {v["value"]: v["count"] for v in facets["baseColour"]["values"]} == dict.fromkeys(
        ["Red", "Green", "Blue", "Black"], 2
    )
