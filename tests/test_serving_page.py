"""Real Chromium goes through what customers do, at phone and desktop size."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from helpers_browser import Visit, fits, idle, ids, upload
from helpers_serving import ADMIN, make_shop, place_of, served


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def address(shop: Path) -> Iterator[str]:
    with served(shop, title="Corner shop", captions=("articleType", "price")) as address:
        yield address


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_a_photo_finds_its_product_and_every_state_is_accessible(
    visit: Visit, shop: Path, size: str, scheme: str
) -> None:
    visited = visit(size=size, color_scheme=scheme)
    page = visited.page
    page.wait_for_selector(".card")
    assert page.title() == "Corner shop"
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) < 64) == (scheme == "dark")
    assert visited.accessible() == []
    upload(page, place_of(shop, "003"))
    assert ids(page)[0] == "003"
    assert re.search(r"[Ll]ikely|Maybe", page.inner_text(".score"))
    assert "Best: Tshirts" in page.inner_text("#status")
    assert "of the vote" in page.inner_text("#vote")
    label = page.inner_text("#vote").split(": ")[1].split(" (")[0]
    for card in page.query_selector_all("#grid .card"):
        marked = "not predicted" in card.inner_text()
        assert marked == (card.query_selector("h3").inner_text() != label)
    assert visited.accessible() == []
    page.click(".card .picture")
    page.wait_for_selector("dialog[open] dl")
    assert "003" in page.inner_text("dialog")
    assert visited.accessible() == []
    page.click("text=Why this product?")
    page.wait_for_selector(".pair img")
    assert visited.accessible() == []
    assert fits(page)


def test_the_first_product_is_on_the_screen_soon(visit: Visit, shop: Path) -> None:
    page = visit().page
    upload(page, place_of(shop, "002"))
    page.click("#again")
    page.wait_for_selector("#drop:not([hidden])")
    began = time.monotonic()
    page.set_input_files("#file", place_of(shop, "004"))
    page.wait_for_selector(".score")
    assert time.monotonic() - began < 5  # a second is promised, a busy machine may be slower


def test_the_frame_moves_by_mouse_and_by_keyboard_and_changes_what_is_searched(
    visit: Visit, shop: Path
) -> None:
    page = visit().page
    upload(page, place_of(shop, "003"))
    before = page.url
    box = page.query_selector("#box .se").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] - 30, box["y"] - 60, steps=4)
    with page.expect_response("**/v1/search"):
        page.mouse.up()
    page.wait_for_url(lambda url: url != before)
    idle(page)
    before, label = page.url, page.get_attribute("#box", "aria-label")
    page.focus("#box")
    with page.expect_response("**/v1/search"):
        page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_url(lambda url: url != before)
    assert page.get_attribute("#box", "aria-label") != label
    idle(page)
    page.click("text=Whole photo")
    page.wait_for_selector("#garments button[aria-pressed=true]")


def test_filters_have_counts_and_can_be_taken_back(visit: Visit, shop: Path) -> None:
    page = visit().page
    upload(page, place_of(shop, "000"))
    assert len(ids(page)) == 8
    label = page.locator("#facets label", has_text="Tshirts")
    assert label.locator(".count").inner_text() == "4"
    label.click()
    page.wait_for_selector("#chosen button")
    idle(page)
    assert sorted(ids(page)) == ["001", "003", "005", "007"]
    assert page.evaluate("document.activeElement.dataset.key") == "articleType=Tshirts"
    page.click("#chosen button")
    page.wait_for_selector("#chosen button", state="detached")
    idle(page)
    assert len(ids(page)) == 8


def test_back_and_reload_and_a_link_show_the_same_search(
    visit: Visit, shop: Path, address: str
) -> None:
    page = visit().page
    page.wait_for_selector(".card")
    upload(page, place_of(shop, "003"))
    first, link = ids(page), page.url
    page.set_input_files("#file", place_of(shop, "006"))
    page.wait_for_url(lambda url: url != link)
    idle(page)
    assert ids(page)[0] == "006"
    page.go_back()
    page.wait_for_selector("#grid > li:first-child .card[data-id='003']")
    idle(page)
    assert ids(page) == first
    assert page.is_visible("#photo")
    page.go_back()
    page.wait_for_selector("#drop:not([hidden])")
    other = visit(link.removeprefix(address)).page
    other.wait_for_selector(".score")
    assert ids(other) == first
    assert other.is_visible("#from-link")
    assert not other.is_visible("#photo")


def test_a_photo_can_be_pasted_and_dropped(visit: Visit) -> None:
    page = visit().page
    page.wait_for_selector(".card")
    draw = """async (kind) => {
        const canvas = new OffscreenCanvas(60, 80);
        const context = canvas.getContext("2d");
        context.fillStyle = kind === "drop" ? "red" : "blue";
        context.fillRect(10, 10, 40, 60);
        const blob = await canvas.convertToBlob();
        const data = new DataTransfer();
        data.items.add(new File([blob], "a.png", { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data })
                                      : new ClipboardEvent("paste", { clipboardData: data });
        dispatchEvent(event);
    }"""
    for kind in ("paste", "drop"):
        before = page.url
        page.evaluate(draw, kind)
        page.wait_for_url(lambda url, before=before: url != before)
        idle(page)
        assert len(ids(page)) == 8


def test_similar_products_and_feedback(visit: Visit, shop: Path) -> None:
    page = visit().page
    upload(page, place_of(shop, "005"))
    page.click(".card .picture")
    page.click("dialog >> text=This is it")
    page.wait_for_selector("#told:has-text('Thank you')")
    assert '"005", "verdict": "right"' in (shop / "serving" / "feedback.jsonl").read_text()
    page.click(".card .picture")
    page.click("dialog >> text=More like this")
    page.wait_for_selector("#from-product img")
    idle(page)
    assert "005" not in ids(page)
    assert len(ids(page)) == 7


def test_likes_and_dislikes_change_the_answer_and_can_be_taken_back(
    visit: Visit, shop: Path
) -> None:
    page = visit().page
    upload(page, place_of(shop, "005"))
    first, last = ids(page), ids(page)[-1]
    page.click(f".card[data-id='{first[0]}'] >> text=Not this")
    page.wait_for_selector(f".card[data-id='{first[0]}']", state="detached")
    idle(page)
    assert set(ids(page)) == set(first[1:])
    page.click(f".card[data-id='{last}'] >> text=♥ Like")
    page.wait_for_selector(f"#chosen >> [aria-label='Remove More like {last}'] img")
    idle(page)
    assert ids(page).index(last) < len(first) - 2
    told = (shop / "serving" / "feedback.jsonl").read_text()
    assert f'"{first[0]}", "verdict": "less"' in told
    assert f'"{last}", "verdict": "more"' in told
    page.reload()
    page.wait_for_selector(f"#chosen >> [aria-label='Remove Not {first[0]}']")
    for _ in range(2):
        page.click("#chosen button >> nth=0")
        idle(page)
    page.wait_for_selector(f".card[data-id='{first[0]}']")
    assert ids(page) == first


def test_other_colours_are_shown_in_the_products_dialog(visit: Visit, shop: Path) -> None:
    page = visit().page
    upload(page, place_of(shop, "000"))
    page.click(".card .picture")
    page.click("dialog >> text=Other colours")
    page.wait_for_selector("dialog .card >> text=Blue")
    page.click("dialog >> text=Back")
    page.wait_for_selector("dialog dl")
    assert "000" in page.inner_text("dialog dl")
    page.click("dialog >> text=Other colours")
    page.click("dialog .card .picture")
    page.wait_for_selector("dialog dl >> text=Blue")


def test_everything_can_be_reached_by_keyboard(visit: Visit, shop: Path) -> None:
    page = visit().page
    page.wait_for_selector(".card")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"choose", "shoot", "top", "picture", "skip", "brand"} <= reached
    page.focus(".card .picture")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    assert page.evaluate("document.activeElement.className") == "picture"


def test_a_desktops_camera_takes_a_photo(visit: Visit) -> None:
    """Chromium's made-up camera shows a green disc; a phone opens its own app instead."""
    visited = visit(permissions=["camera"])
    page = visited.page
    page.wait_for_selector(".card")
    page.click("#shoot")
    page.wait_for_selector("dialog >> text=Take a photo >> nth=1")
    page.wait_for_selector("dialog .primary:enabled")
    assert visited.accessible() == []
    page.click("dialog .primary")
    page.wait_for_selector("#grid .score")
    assert page.evaluate("document.getElementById('photo').naturalWidth") >= 320
    assert page.evaluate("document.querySelector('video').srcObject.active") is False
    phone = visit(size="phone").page
    phone.wait_for_selector(".card")
    with phone.expect_file_chooser():
        phone.tap("#shoot")


def test_as_many_products_are_shown_as_one_likes_and_more_on_demand(
    visit: Visit, shop: Path
) -> None:
    page = visit("/?n=3").page
    page.wait_for_selector(".card")
    assert page.inner_text("#results-heading") == "All products"
    assert ids(page) == ["000", "001", "002"]
    page.click("text=Show more")
    page.wait_for_selector(".card >> nth=5")
    assert page.evaluate("document.activeElement.closest('.card').dataset.id") == "003"
    page.click("text=Show more")
    page.wait_for_selector(".card >> nth=7")
    assert not page.is_visible("#more")
    upload(page, place_of(shop, "003"))
    assert page.inner_text("#results-heading") == "3 of 8 products, best first"
    page.select_option("#top", "8")
    page.wait_for_selector(".card >> nth=7")
    page.wait_for_url("**n=8**")


def test_a_range_of_prices_and_a_way_back_to_the_products_on_a_phone(visit: Visit) -> None:
    """Few numbers are chosen from; the shop's eight prices become a range when there are more."""
    page = visit(size="phone").page
    page.wait_for_selector(".card")
    facets = {
        "total": 8,
        "facets": [{"name": "price", "values": [], "lowest": 0.5, "highest": 7.5}],
    }
    page.route("**/v1/facets*", lambda route: route.fulfill(json=facets))
    page.reload()
    page.click("#filters summary")
    page.fill("[aria-label='Price, from']", "2")
    page.keyboard.press("Tab")
    page.wait_for_selector("#chosen >> text=Price: 2 to …")
    page.fill("[aria-label='Price, to']", "4.5")
    page.keyboard.press("Tab")
    page.wait_for_selector("#chosen >> text=Price: 2 to 4.5")
    idle(page)
    assert ids(page) == ["002", "003", "004"]
    page.click("text=Show 8 products")
    assert not page.is_visible("#facets")
    assert page.evaluate("document.activeElement.id") == "results"


@pytest.mark.parametrize("left_before", [True, False])
def test_what_is_typed_while_the_filters_load_is_kept(visit: Visit, left_before: bool) -> None:
    """The second end of a range, left before the counts of the first one are there, or after."""
    page = visit().page
    page.wait_for_selector(".card")
    ends = {"name": "price", "values": [], "lowest": 0.5, "highest": 7.5}
    kind = {"name": "kind", "values": [{"value": "hat", "count": 8}]}
    facets = {"total": 8, "facets": [kind, ends, {**ends, "name": "weight"}]}
    page.route("**/v1/facets*", lambda route: route.fulfill(json=facets))
    page.reload()
    page.wait_for_selector("[aria-label='Price, to']")
    page.unroute("**/v1/facets*")
    held: list[Any] = []
    page.route("**/v1/facets*", lambda route: held.append(route))
    page.fill("[aria-label='Price, from']", "2")
    page.keyboard.press("Tab")
    page.wait_for_selector("#chosen >> text=Price: 2 to …")
    page.locator("[aria-label='Price, to']").press_sequentially("4.5")
    if left_before:
        page.keyboard.press("Tab")
        page.wait_for_selector("#chosen >> text=Price: 2 to 4.5")
    assert len(held) == 1 + left_before
    for route in held:
        route.fulfill(json=facets)
    if not left_before:
        page.wait_for_selector("#show-found >> text=Show 8 products", state="attached")
        page.wait_for_timeout(200)
        assert page.evaluate("document.activeElement.ariaLabel") == "Price, to"
        page.keyboard.press("Tab")
    page.wait_for_selector("#chosen >> text=Price: 2 to 4.5")
    names = page.locator("#facets legend").all_inner_texts()
    assert [name.lower() for name in names] == ["kind", "price", "weight"]


def test_what_goes_with_a_product_is_shown(visit: Visit, shop: Path, address: str) -> None:
    with httpx2.Client(base_url=address, headers=ADMIN) as client:
        for name, kind in (("top", "Topwear"), ("trousers", "Bottomwear")):
            files = {"photos": place_of(shop, "002").read_bytes()}
            data = {"attributes": f'{{"subCategory": "{kind}", "articleType": "{name}"}}'}
            client.put(f"/v1/products/{name}", files=files, data=data).raise_for_status()
        page = visit('/?f={"subCategory":["Topwear"]}').page
        page.click(".card .picture")
        page.click("dialog >> text=Goes with it")
        page.wait_for_selector("dialog .card[data-id=trousers] >> text=Bottomwear")
        for name in ("top", "trousers"):
            client.delete(f"/v1/products/{name}").raise_for_status()


def test_a_link_is_copied_that_holds_the_search(visit: Visit, shop: Path) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"]).page
    upload(page, place_of(shop, "003"))
    page.click("text=Copy link")
    page.wait_for_selector("#told >> text=The link is copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert "?q=" in page.url
