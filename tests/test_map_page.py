"""The map's page in a real browser: hover, labels, search; skipped where there is no Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers_browser import browser
from helpers_catalog import draw_photo

from siamese.attributes.map_page import ACROSS, map_page

COUNT = ACROSS**2 + 4  # so that the last ones lie in a second picture
NASTY = "<img src=x onerror=\"document.title='broken in'\">"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Products on a line, 580 of them: red ones at the left, blue ones at the right."""
    folder = tmp_path_factory.mktemp("page")
    paths = [str(draw_photo(folder / f"{hue}.png", hue=hue)) for hue in (0, 170)]
    right = np.arange(COUNT) >= COUNT // 2
    table = pd.DataFrame(
        {
            "product_id": [f"p{number}" for number in range(COUNT)],
            "path": [paths[int(side)] for side in right],
            "colour": np.where(right, "blue", "red"),
            "fit": [None] + [NASTY] * (COUNT - 1),
        }
    )
    places = np.stack([np.arange(COUNT) * 50.0, np.zeros(COUNT)], axis=1)
    (folder / "map.html").write_text(map_page(places, table, ["colour", "fit"], NASTY), "utf-8")
    with browser() as opened:
        page = opened.new_page(viewport={"width": 1200, "height": 700})
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda request: page.faults.append(request.url))
        page.goto((folder / "map.html").as_uri())
        yield page


def photo_colour(page: Any) -> str:
    """Which of red and blue the photo in the card has more of."""
    code = """() => {
        const photo = document.getElementById("photo");
        const { data } = photo.getContext("2d").getImageData(0, 0, photo.width, photo.height);
        let red = 0, blue = 0;
        for (let i = 0; i < data.length; i += 4) { red += data[i]; blue += data[i + 2]; }
        return red > blue ? "red" : "blue";
    }"""
    return str(page.evaluate(code))


def test_the_photo_of_the_point_under_the_mouse_is_shown(page: Any) -> None:
    page.click("#whole")
    box = page.locator("#map").bounding_box()
    middle = box["y"] + box["height"] / 2
    assert page.locator("#card").is_hidden()
    for share, colour in ((0.2, "red"), (0.8, "blue")):
        page.mouse.move(box["x"] + share * box["width"], middle)
        assert page.locator("#card").is_visible()
        number = int(page.inner_text("#name").removeprefix("p"))
        assert abs(number / COUNT - share) < 0.06  # of the margins
        assert f"colour: {colour}" in page.inner_text("#facts")
        assert photo_colour(page) == colour
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 40)
    assert page.locator("#card").is_hidden()


def test_a_product_is_found_by_its_id_also_in_the_second_picture(page: Any) -> None:
    page.fill("#find", f"p{COUNT - 1}")
    assert page.inner_text("#name") == f"p{COUNT - 1}"
    assert photo_colour(page) == "blue"
    box = page.locator("#card").bounding_box()
    assert box["x"] + box["width"] <= 1200
    page.fill("#find", "nothing")
    assert page.locator("#card").is_hidden()


def test_scrolling_and_dragging_move_the_map(page: Any) -> None:
    page.click("#whole")
    box = page.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    before = page.inner_text("#name")
    page.mouse.wheel(0, -2000)
    page.mouse.down()
    page.mouse.move(x - 150, y)
    page.mouse.up()
    page.mouse.move(x, y + 1)
    page.mouse.move(x, y)
    after = page.inner_text("#name")
    assert 0 < int(after.removeprefix("p")) - int(before.removeprefix("p")) < 30


def test_labels_colour_the_map_and_one_can_be_seen_alone(page: Any) -> None:
    page.click("#whole")
    page.select_option("#column", label="colour")
    legend = page.locator("#legend button")
    assert [text.split() for text in legend.all_inner_texts()] == [["blue", "290"], ["red", "290"]]
    dots = page.locator("#legend .dot").evaluate_all("dots => dots.map((d) => d.style.background)")
    assert dots == ["rgb(0, 0, 255)", "rgb(255, 0, 0)"]
    legend.nth(0).click()
    assert page.locator("#legend button").nth(0).get_attribute("aria-pressed") == "true"
    box = page.locator("#map").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.2 * box["width"], middle)
    assert page.locator("#card").is_hidden()  # red ones do not answer now
    page.mouse.move(box["x"] + 0.8 * box["width"], middle)
    assert page.locator("#card").is_visible()
    page.locator("#legend button").nth(0).click()


def test_no_label_or_title_is_run_and_nothing_is_fetched(page: Any) -> None:
    page.select_option("#column", label="fit")
    assert NASTY in page.inner_text("#legend")
    page.fill("#find", "p0")
    assert "fit: unknown" in page.inner_text("#facts")
    assert page.title() == NASTY
    faults = [fault for fault in page.faults if not fault.startswith(("data:", "file:"))]
    assert faults == []
