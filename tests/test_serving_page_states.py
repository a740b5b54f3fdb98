"""What the page says while it works, where something is wrong, and of shops of other kinds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_browser import Visit, idle, ids, upload, visits
from helpers_comparison import tiny_comparison
from helpers_serving import copy_of, make_shop, place_of, served
from PIL import Image

import infer
from siamese.catalog import Catalog
from siamese.checkpoint_file import load_checkpoint
from siamese.default_checkpoint import KEPT
from siamese.isolation import Garment
from siamese.pair_score import Calibration
from siamese.serving import services


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def address(shop: Path) -> Iterator[str]:
    with served(shop, title="Corner shop", captions=("articleType", "price")) as address:
        yield address


def test_a_photo_chosen_before_the_page_knows_the_shop_is_searched_for(
    visit: Visit, shop: Path
) -> None:
    page = visit().page
    about: list[Any] = []
    search: list[Any] = []
    page.route("**/v1/about", lambda route: about.append(route))
    page.route("**/v1/search", lambda route: search.append(route))
    page.reload()
    with page.expect_request("**/v1/search"):
        page.set_input_files("#file", place_of(shop, "005"))
    with page.expect_response("**/v1/facets*"):
        about.pop().continue_()
    page.wait_for_timeout(100)  # in which the search would be given up
    search.pop().continue_()
    page.wait_for_selector(".score")
    assert ids(page)[0] == "005"


def test_faults_are_told_with_a_way_on(visit: Visit, shop: Path, tmp_path: Path) -> None:
    page = visit().page
    page.wait_for_selector(".card")
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    page.set_input_files("#file", tmp_path / "bad.jpg")
    page.wait_for_selector("#error:has-text('no JPEG')")
    assert page.is_visible("#drop")
    assert not page.is_visible("#asked")
    assert page.query_selector("#error button") is None  # it would fail again
    page.route("**/v1/search", lambda route: route.fulfill(status=503, body="{}"))
    page.set_input_files("#file", place_of(shop, "003"))
    page.wait_for_selector("#error >> text=Try again")
    page.unroute("**/v1/search")
    page.click("#error >> text=Try again")
    page.wait_for_selector(".score")
    assert ids(page)[0] == "003"


def held_searches(page: Any) -> list[Any]:
    """Searches by photo that wait to be continued."""
    held: list[Any] = []
    page.route("**/v1/search", lambda route: held.append(route))
    return held


def test_a_filter_chosen_while_a_photo_is_searched_for_counts_for_that_photo(
    visit: Visit, shop: Path
) -> None:
    page = visit().page
    upload(page, place_of(shop, "000"))
    first = page.url
    held = held_searches(page)
    with page.expect_request("**/v1/search"):
        page.set_input_files("#file", place_of(shop, "003"))
    with page.expect_request("**/v1/search"):
        page.click("#facets >> text=Tshirts")
    assert page.url == first  # the answer that stands there is still the first photo's
    held[-1].continue_()
    page.wait_for_selector(".card[data-id='000']", state="detached")
    idle(page)
    assert ids(page)[0] == "003"
    assert "f=" in page.url
    assert not set(ids(page)) - {"001", "003", "005", "007"}
    page.go_back()
    page.wait_for_selector(".card[data-id='000']")
    idle(page)
    assert ids(page)[0] == "000"


def test_a_photo_that_cannot_be_used_leaves_the_one_before(
    visit: Visit, shop: Path, tmp_path: Path
) -> None:
    page = visit().page
    upload(page, place_of(shop, "003"))
    before, shown = page.url, page.get_attribute("#photo", "src")
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    page.set_input_files("#file", tmp_path / "bad.jpg")
    page.wait_for_selector("#error:has-text('no JPEG')")
    assert page.url == before
    page.wait_for_function("document.querySelector('#photo').naturalWidth > 0")  # not torn
    assert page.get_attribute("#photo", "src") != shown  # made anew of the photo of before
    page.click(".card >> text=♥ Like >> nth=1")
    page.wait_for_selector("#error", state="hidden")
    idle(page)
    assert ids(page)


def test_the_keyboard_stays_where_it_is_when_products_are_drawn_anew(
    visit: Visit, shop: Path
) -> None:
    page = visit().page
    upload(page, place_of(shop, "003"))
    second = ids(page)[1]
    key = f"like {second}"
    page.focus(f"[data-key='{key}']")
    with page.expect_response("**/v1/search?**"):
        page.keyboard.press("Enter")
    page.wait_for_selector("#chosen button")
    idle(page)
    assert page.evaluate("document.activeElement.dataset.key") == key
    page.focus("#chosen button")
    with page.expect_response("**/v1/search?**"):
        page.keyboard.press("Enter")
    idle(page)
    assert page.evaluate("document.activeElement.id") == "results"
    page.focus("#garments button")
    with page.expect_response("**/v1/search"):
        page.keyboard.press("Enter")
    idle(page)
    assert page.evaluate("document.activeElement.dataset.key") == "whole"


def test_thanks_are_in_sight_where_the_customer_is(visit: Visit, shop: Path) -> None:
    page = visit(size="phone").page
    upload(page, place_of(shop, "003"))
    page.click(".card .picture >> nth=7")
    page.click("dialog >> text=This is it")
    page.wait_for_selector("#told:has-text('Thank you')")
    box, height = page.query_selector("#told").bounding_box(), page.viewport_size["height"]
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= height


def test_a_busy_server_is_asked_again_by_itself(visit: Visit, shop: Path) -> None:
    page, answers = visit().page, []

    def busy(route: Any) -> None:
        answers.append(route)
        if len(answers) == 1:
            route.fulfill(status=429, headers={"Retry-After": "1"}, body="{}")
        else:
            route.continue_()

    page.wait_for_selector(".card")
    page.route("**/v1/search", busy)
    upload(page, place_of(shop, "003"))
    assert len(answers) == 2
    assert not page.is_visible("#error")


def test_a_camera_that_must_not_be_used_is_told(visit: Visit) -> None:
    page = visit(permissions=[]).page
    page.wait_for_selector(".card")
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = async () => { throw Error(); }; }")
    page.click("#shoot")
    page.wait_for_selector("dialog [role=alert] >> text=choose a photo instead")


def test_a_product_that_is_probably_missing_is_told(visit: Visit, shop: Path) -> None:
    page = visit().page
    page.wait_for_selector(".card")

    def missing(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "in_catalog": False})

    page.route("**/v1/search", missing)
    upload(page, place_of(shop, "003"))
    assert page.is_visible("#notice >> text=probably not in this catalog")
    assert "Probably not in this catalog" in page.inner_text("#status")
    page.unroute("**/v1/search")
    upload(page, place_of(shop, "004"))
    assert page.is_visible("#notice") == ("Probably not" in page.inner_text("#status"))


def test_a_link_with_strange_values_is_mended(visit: Visit) -> None:
    page = visit('/?f={"articleType":null}&n=50').page
    page.wait_for_selector(".card")
    assert page.eval_on_selector("#top", "list => list.value") == "50"
    assert page.is_hidden("#chosen button")


def test_damaged_links_and_a_shop_that_cannot_be_reached_are_told(visit: Visit) -> None:
    visited = visit("/?q=damaged&f={&t=7&n=x")
    page = visited.page
    page.wait_for_selector("#error:has-text('cut off')")
    page.route("**/v1/products*", lambda route: route.abort())
    page.click("#again")
    page.wait_for_selector("#error:has-text('cannot be reached')")
    page.unroute("**/v1/products*")
    page.route("**/v1/products*", lambda route: route.fulfill(status=500, body="{}"))
    page.click("#error >> text=Try again")
    page.wait_for_selector("#error:has-text('not your fault')")
    page.unroute("**/v1/products*")
    page.click("#error >> text=Try again")
    page.wait_for_selector(".card")
    assert not page.is_visible("#error")
    assert len(visited.complaints) == 2  # of Chromium, about these two answers
    visited.complaints.clear()


def test_while_it_searches_the_page_says_so(visit: Visit, shop: Path) -> None:
    page = visit().page
    page.wait_for_selector(".card")
    held: list[Any] = []
    page.route("**/v1/search", lambda route: held.append(route))
    with page.expect_request("**/v1/search"):
        page.set_input_files("#file", place_of(shop, "003"))
    page.wait_for_selector("#grid[aria-busy=true]")
    assert page.inner_text("#results-heading") == "Searching…"
    page.wait_for_selector("#status:has-text('Searching')", state="attached")
    held.pop().continue_()
    page.wait_for_selector("#grid .score")
    assert "best first" in page.inner_text("#results-heading")


class TopAndShoes:
    """Finds a top and shoes in every photo of 60 x 80 pixels."""

    def find(self, photo: Image.Image) -> list[Garment]:
        mask = np.zeros(photo.size[::-1], bool)
        return [
            Garment("upper", (10.0, 10.0, 50.0, 60.0), 0.4, 0.9, mask),
            Garment("shoes", (20.0, 70.0, 30.0, 80.0), 0.02, 0.8, mask),
        ]


@pytest.fixture
def other_shop(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same products, of which a tagger filled in two values; garments are found."""
    copy_of(shop, tmp_path)
    catalog = Catalog.open(tmp_path / "catalog")
    catalog.set_attributes(["003"], {"articleType": "Tshirts", "articleType_predicted": 0.875})
    catalog.set_attributes(["003"], {"baseColour": "Black", "baseColour_predicted": 0.25})
    monkeypatch.setattr(services, "load_finder_of_garments", lambda path: TopAndShoes())
    return tmp_path


def test_garments_are_framed_and_predicted_values_are_told(
    chromium: Any, other_shop: Path, shop: Path
) -> None:
    how = {"isolation": "any", "captions": ("articleType", "baseColour")}
    with served(other_shop, **how) as address, visits(chromium, address) as visit:
        page = visit().page
        upload(page, place_of(shop, "003"))
        pressed = "#garments button[aria-pressed=true]"
        assert page.locator("#garments button").all_inner_texts() == ["Top", "Shoes", "Whole photo"]
        assert page.inner_text(pressed) == "Top"
        assert "77 percent of the width" in page.get_attribute("#box", "aria-label")
        with page.expect_response("**/v1/search"):
            page.click("#garments >> text=Shoes")
        page.wait_for_selector(f"{pressed}:has-text('Shoes')")
        idle(page)
        card = page.locator(".card[data-id='003']")
        assert card.locator("h3").inner_text() == "probably Tshirts"
        assert card.locator(".facts").inner_text() == "perhaps Black"
        card.locator(".picture").click()
        page.wait_for_selector("dialog dd:has-text('Tshirts') >> text=predicted, 88 %")
        assert "_predicted" not in page.content()


def test_an_empty_shop_says_so(chromium: Any, shop: Path, tmp_path: Path) -> None:
    copy_of(shop, tmp_path)
    checkpoint = load_checkpoint(shop / "model.safetensors")
    Catalog.create(tmp_path / "empty", checkpoint.fingerprint, checkpoint.embedding_size)
    empty = served(tmp_path, catalog=str(tmp_path / "empty"))
    with empty as address, visits(chromium, address) as visit:
        visited = visit()
        page = visited.page
        page.wait_for_selector("#grid >> text=This shop has no products yet.")
        assert not page.is_visible("#filters")
        assert visited.accessible() == []
        page.set_input_files("#file", place_of(shop, "003"))
        page.wait_for_selector("#results-heading:has-text('No products')")
        page.wait_for_selector("#grid >> text=This shop has no products yet.")
        assert not page.is_visible("#error")


def test_products_have_no_score_where_the_encoder_was_not_fitted_to_pairs(
    chromium: Any, shop: Path, tmp_path: Path
) -> None:
    place = tmp_path / "catalog"
    words = ["--photos", shop / "photos", "--catalog", place, "--encoder", "colour_histogram"]
    assert infer.main(["index", *map(str, words)]) == 0
    with (
        served(tmp_path, checkpoint=str(place / KEPT)) as address,
        visits(chromium, address) as visit,
    ):
        page = visit().page
        with page.expect_response("**/v1/search"):
            page.set_input_files("#file", place_of(shop, "003"))
        page.wait_for_selector("#results-heading:has-text('best first')")
        idle(page)
        assert ids(page)[0] == "003"
        assert page.locator(".score").count() == 0
        assert not page.is_visible("#notice")
        page.click(".card[data-id='003'] .picture")
        page.wait_for_selector("#dialog[open]")
        assert page.locator(".score").count() == 0


def test_the_order_of_compared_products_stays_when_a_filter_comes(
    chromium: Any, shop: Path, tmp_path: Path
) -> None:
    """A filter asks with the photo again, for its embedding would give another order."""
    copy_of(shop, tmp_path)
    checkpoint = load_checkpoint(tmp_path / "model.safetensors")
    fitted = Calibration(scale=9.0, bias=-7.0)
    checkpoint.comparison = replace(
        tiny_comparison(tmp_path), scale=0.5, offset=0.2, calibration=fitted
    )
    checkpoint.save(tmp_path / "model.safetensors")
    with served(tmp_path) as address, visits(chromium, address) as visit:
        page = visit().page
        upload(page, place_of(shop, "003"))
        first, link = ids(page), page.url
        page.locator("#facets label", has_text="Tshirts").click()
        page.wait_for_selector("#chosen button")
        idle(page)
        assert ids(page) == [name for name in first if int(name) % 2]
        page.click("#chosen button")
        page.wait_for_selector("#chosen button", state="detached")
        idle(page)
        assert ids(page) == first
        other = visit(link.removeprefix(address)).page
        other.wait_for_selector(".score")
        assert sorted(ids(other)) == sorted(first)
        assert ids(other) != first, "or the comparison changes nothing and nothing was tested"
