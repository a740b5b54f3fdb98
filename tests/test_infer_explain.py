"""`infer.py search --explain`."""

import shutil
from pathlib import Path

from helpers_catalog import draw_photo
from helpers_infer import Run
from PIL import Image, ImageColor

from siamese.sheet import MARGIN, PANEL


def test_an_explanation_is_drawn_for_each_query_beside_whatever_else_is_asked(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    drawn, sheet = tmp_path / "why.png", tmp_path / "found.jpg"
    photo = shop / "photos" / "003.png"
    alone = run("search", photo, "--explain", drawn, "--sheet", sheet, "--json")
    assert alone.json[0]["matches"][0]["product_id"] == "003"
    assert alone.err == ""
    assert sheet.exists()
    with Image.open(drawn) as one:
        height = one.height
    assert run("search", photo, photo, "--explain", drawn, "--top", "1").code == 0
    with Image.open(drawn) as two:
        assert two.height > height + 400


def test_an_explanation_looks_at_the_box_alone(run: Run, shop: Path, tmp_path: Path) -> None:
    """The box is three wide and two high: it fills the middle of the higher panel, alone."""
    drawn, photo = tmp_path / "why.png", shop / "photos" / "003.png"
    assert run("search", photo, "--explain", drawn, "--box", "0,0,60,40").code == 0
    with Image.open(drawn) as picture:
        panel = picture.crop((MARGIN, MARGIN, MARGIN + 360, MARGIN + 480))
    empty = ImageColor.getrgb(PANEL)
    heights = [y for y in range(480) if panel.getpixel((180, y)) != empty]
    assert (heights[1], heights[-2]) == (120, 359)  # within the panel's border
    assert panel.getpixel((5, 240)) != empty


def test_products_whose_photo_is_gone_or_another_by_now_are_explained_as_far_as_they_can(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "moving"
    shutil.copytree(shop / "photos", folder)
    place = tmp_path / "of-moving"
    assert run("index", "--photos", folder, "--catalog", place).code == 0
    (folder / "003.png").unlink()
    draw_photo(folder / "004.png", hue=200, stripes=7)
    words = ["search", shop / "photos" / "003.png", "--catalog", place, "--top", "8"]
    gone = run(*words, "--explain", tmp_path / "why.png", "--where", "product_id = '003'")
    assert gone.err == f"{folder / '003.png'}: cannot be opened, so nothing explains it\n"
    found = run(*words, "--explain", tmp_path / "why.png", "--where", "product_id = '004'")
    assert found.code == 0
    assert found.err.count("\n") == 1
    assert "004.png: has changed" in found.err


def test_a_query_that_likes_have_moved_says_nothing_of_changed_photos(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    words = ["search", shop / "photos" / "003.png", "--explain", tmp_path / "why.png"]
    found = run(*words, "--like", "005")
    assert (found.code, found.err) == (0, "")
