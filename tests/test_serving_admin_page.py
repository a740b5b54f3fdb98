"""Real Chromium does what the shop does: products by form, by folder, by table; statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_browser import Visit, fits, ids
from helpers_catalog import draw_photo
from helpers_serving import TOKEN, make_shop, served

from siamese.catalog import Catalog


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    marked = {"baseColour": "Blue", "baseColour_predicted": 0.875}
    Catalog.open(shop / "catalog").set_attributes(["006"], marked)
    return shop


@pytest.fixture(scope="module")
def address(shop: Path) -> Iterator[str]:
    with served(shop, captions=("articleType", "price")) as address:
        yield address


def sign_in(page: Any) -> None:
    """As the shop, until its numbers are there."""
    page.fill("#token", TOKEN)
    page.click("text=Sign in")
    page.wait_for_selector("#totals:has-text('products')")
    page.wait_for_load_state("networkidle")


def test_the_shop_adds_a_product_and_customers_find_it_at_once(
    visit: Visit, shop: Path, tmp_path: Path
) -> None:
    photo = draw_photo(tmp_path / "fresh.png", hue=280, stripes=6)
    visited = visit("/admin")
    page = visited.page
    page.fill("#token", "wrong")
    page.click("text=Sign in")
    page.wait_for_selector("#error:has-text('not the token')")
    sign_in(page)
    assert "8 products" in page.inner_text("#totals")
    assert visited.accessible() == []
    page.fill("#id", "fresh")
    page.set_input_files("#photos", photo)
    page.fill(".attribute input >> nth=0", "articleType")
    page.fill(".attribute input >> nth=1", "Dress")
    page.click("#one >> text=Save")
    page.wait_for_selector("text=Added fresh")
    customer = visit().page
    customer.set_input_files("#file", photo)
    customer.wait_for_selector(".score")
    assert ids(customer)[0] == "fresh"
    assert customer.inner_text(".card h3") == "Dress"
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("text=Remove this product")
    page.wait_for_selector("text=Removed fresh")
    page.wait_for_selector("#totals:has-text('8 products')")


def test_the_shop_adds_a_folder_with_a_table_and_sees_what_failed(
    visit: Visit, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    for number in range(5):
        draw_photo(folder / f"f{number}.png", hue=40 * number, stripes=number)
    (folder / "broken.png").write_bytes(b"no photo")
    (tmp_path / "table.csv").write_text(
        "id,articleType,price\n" + "\n".join(f"f{n},Belt,{n}.5" for n in range(6))
    )
    visited = visit("/admin", "phone", color_scheme="dark")
    page = visited.page
    sign_in(page)
    page.set_input_files("#folder", folder)
    page.set_input_files("#table", tmp_path / "table.csv")
    page.click("text=Add all")
    page.wait_for_selector("text=5 of 7 products written, 2 not")
    assert "broken: photo: is no JPEG" in page.inner_text("#faults")
    assert "f5: photos: a new product needs one" in page.inner_text("#faults")
    assert page.get_attribute("#progress", "max") == "7"
    assert visited.accessible() == []
    assert fits(page)
    found = visit('/?f={"articleType":["Belt"]}').page
    found.wait_for_selector(".card")
    assert ids(found) == [f"f{n}" for n in range(5)]


def test_a_table_without_photos_changes_what_it_names(
    visit: Visit, shop: Path, tmp_path: Path
) -> None:
    (tmp_path / "prices.csv").write_text("id;price\n003;88.5\n004;89.5")
    page = visit("/admin").page
    sign_in(page)
    page.click("text=Add all")
    page.wait_for_selector("#error:has-text('Choose a folder')")
    page.set_input_files("#table", tmp_path / "prices.csv")
    page.click("text=Add all")
    page.wait_for_selector("text=2 of 2 products written")
    table = Catalog.open(shop / "catalog").products().set_index("product_id")
    assert table.loc[["003", "004"], "price"].tolist() == [88.5, 89.5]
    assert table.loc["003", "articleType"] == "Tshirts"


def test_a_form_sends_what_was_changed_and_predicted_values_stay_predicted(
    visit: Visit, shop: Path
) -> None:
    page = visit("/admin").page
    sign_in(page)
    page.fill("#id", "006")
    page.click("text=Fill in from the catalog")
    page.wait_for_selector("[aria-label='Value of price']")
    colour = page.locator("[aria-label='Value of baseColour']")
    assert colour.input_value() == ""
    assert colour.get_attribute("placeholder") == "predicted: Blue"
    page.fill("[aria-label='Value of price']", "77")
    with page.expect_request("**/v1/products/006") as sent:
        page.click("#one >> text=Save")
    assert json.dumps({"price": 77}, separators=(",", ":")) in sent.value.post_data
    page.wait_for_selector("text=Changed 006")
    table = Catalog.open(shop / "catalog").products().set_index("product_id")
    (row,) = table.loc[["006"], ["price", "baseColour", "baseColour_predicted"]].values.tolist()
    assert row == [77, "Blue", 0.875]


def test_digits_stay_text_in_a_column_of_text(visit: Visit, shop: Path) -> None:
    catalog = Catalog.open(shop / "catalog")
    catalog.set_attributes(["005"], {"size": "042"})
    page = visit("/admin").page
    page.fill("#token", f" {TOKEN} ")
    page.click("text=Sign in")
    page.wait_for_selector("#totals:has-text('products')")
    page.click("text=Fill in from the catalog")  # no id yet: the browser tells
    assert page.evaluate("document.activeElement.id") == "id"
    page.fill("#id", " 005 ")
    page.click("text=Fill in from the catalog")
    page.wait_for_selector("[aria-label='Value of size']")
    page.fill("[aria-label='Value of size']", "40")
    page.fill("[aria-label='Value of price']", "7.25")
    page.click("#one >> text=Save")
    page.wait_for_selector("text=Changed 005")
    known = catalog.products().set_index("product_id").loc["005"]
    assert (known["size"], known["price"]) == ("40", 7.25)
    page.fill("[aria-label='Value of price']", "cheap")
    page.click("#one >> text=Save")
    page.wait_for_selector("#error:has-text(\"'price' cannot hold\")")
    box = page.query_selector("#error").bounding_box()
    assert box["y"] >= 0  # scrolled into sight


def test_a_disk_that_cannot_be_written_is_told_to_the_shop(visit: Visit) -> None:
    page = visit("/admin").page
    sign_in(page)
    full = {"detail": "catalog: could not be written (No space left), nothing was changed"}
    page.route("**/v1/products/*", lambda route: route.fulfill(status=503, json=full))
    page.fill("#id", "005")
    page.click("#one >> text=Save")
    page.wait_for_selector("#error:has-text('No space left')")


def test_numbers_are_those_of_explore(visit: Visit, shop: Path) -> None:
    page = visit("/admin").page
    sign_in(page)
    row = page.inner_text("#overview tr:has(td:text-is('articleType'))").split("\t")
    counts = Catalog.open(shop / "catalog").products()["articleType"].value_counts()
    assert row[:2] == ["articleType", str(len(counts))]
    assert counts[row[2]] == counts.max()
    assert float(row[3].removesuffix(" %")) == pytest.approx(
        100 * counts.max() / counts.sum(), abs=0.51
    )
    assert float(row[4]) == pytest.approx(counts.max() / counts.min(), abs=0.051)
    assert row[5] == str((counts < 10).sum())
    assert page.locator(".bars h3").all_inner_texts()[:2] == ["articleType", "baseColour"]


def test_nobody_gets_in_after_signing_out(visit: Visit) -> None:
    page = visit("/admin").page
    sign_in(page)
    page.click("text=Sign out")
    assert not page.is_visible("#inside")
    page.reload()
    page.wait_for_selector("#enter")
    assert not page.is_visible("#inside")


def test_an_upload_can_be_stopped(visit: Visit, tmp_path: Path) -> None:
    for number in range(12):
        draw_photo(tmp_path / "folder" / f"s{number:02}.png", hue=20 * number)
    page = visit("/admin").page
    sign_in(page)
    held: list[Any] = []
    stopped: list[bool] = []

    def hold(route: Any) -> None:
        if stopped:
            route.continue_()
        else:
            held.append(route)

    page.route("**/v1/products/s*", hold)
    page.set_input_files("#folder", tmp_path / "folder")
    page.click("text=Add all")
    page.wait_for_selector("#stop")
    assert page.is_disabled("#add-all")  # not twice at the same time
    page.click("#stop")
    stopped.append(True)
    for route in held:
        route.continue_()
    page.wait_for_selector("text=/^[0-4] of 12 products written, then stopped$/")
    assert page.is_enabled("#add-all")
