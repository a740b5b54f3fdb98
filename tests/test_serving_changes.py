"""Catalogs and checkpoints that change while they are served are taken up, or told not to be."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from helpers_catalog import draw_photo, save_checkpoint
from helpers_serving import (
    ADMIN,
    IDS,
    SOON,
    make_shop,
    photo_of,
    picture,
    put,
    search,
    settings_for,
    soon,
)

import infer
from siamese import products
from siamese.catalog import Catalog, CatalogError
from siamese.serving.shop import Shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


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
