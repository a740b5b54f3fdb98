"""The drawn demo data set: LookBook's names, the same photos every time, safe to interrupt."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from datasets import rendered
from datasets.rendered import draw_person_photo, draw_product_photo, main, write_rendered_dataset
from datasets.rendered_brushes import Image
from datasets.rendered_garments import KINDS, PATTERNS, PRINTS, design_garment

NAME = re.compile(r"PID(\d{6})_CLEAN([01])_IID(\d{6})\.jpg")


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.jpg")}


@pytest.fixture(autouse=True)
def one_opencv_thread() -> None:
    cv2.setNumThreads(1)


def test_files_are_named_as_lookbook_names_them(tmp_path: Path) -> None:
    write_rendered_dataset(tmp_path, products=4, person_photos=(2, 3), workers=1)
    found = [NAME.fullmatch(path.name) for path in tmp_path.glob("*.jpg")]
    assert all(found)
    parts = [match.groups() for match in found if match]
    assert len({image for _, _, image in parts}) == len(parts), "image numbers are unique"
    for product in range(4):
        clean = [c for p, c, _ in parts if int(p) == product]
        assert clean.count("1") == 1
        assert 2 <= clean.count("0") <= 3
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".jpg"} == {"rendered.json"}


def test_photos_are_rgb_of_lookbook_shape_and_studio_photos_have_light_corners() -> None:
    flat, worn = draw_product_photo(3), draw_person_photo(3, 1)
    for photo in (flat, worn):
        assert photo.shape == (256, 192, 3)
        assert photo.dtype == np.uint8
    assert flat[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 215


def test_a_photo_depends_on_seed_product_and_number_alone(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    write_rendered_dataset(few, products=2, person_photos=1, seed=5, workers=1)
    write_rendered_dataset(many, products=4, person_photos=2, seed=5, workers=2)
    all_bytes = read_folder(many)
    assert len(all_bytes) == 12
    assert read_folder(few).items() <= all_bytes.items()
    write_rendered_dataset(tmp_path / "other", products=2, person_photos=1, seed=6, workers=1)
    other = read_folder(tmp_path / "other")
    assert all(other[name] != all_bytes[name] for name in other)


def test_drawing_in_another_order_changes_nothing() -> None:
    first = draw_person_photo(8, 2)
    draw_product_photo(9)
    draw_person_photo(7, 1)
    assert np.array_equal(draw_person_photo(8, 2), first)
    assert not np.array_equal(draw_person_photo(8, 3), first)


def test_an_interrupted_drawing_is_completed_without_drawing_again_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_folder(write_rendered_dataset(tmp_path / "whole", 3, 2, workers=1))
    broken, drawn = tmp_path / "broken", 0
    original = rendered.write_atomically

    def write_until_killed(path: Path, data: bytes) -> None:
        nonlocal drawn
        drawn += path.suffix == ".jpg"
        if drawn == 5:
            raise KeyboardInterrupt
        original(path, data)

    monkeypatch.setattr(rendered, "write_atomically", write_until_killed)
    with pytest.raises(KeyboardInterrupt):
        write_rendered_dataset(broken, 3, 2, workers=1)
    assert not (broken / "rendered.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in broken.glob("*.jpg")}
    assert len(kept) == 4
    monkeypatch.setattr(rendered, "write_atomically", original)
    write_rendered_dataset(broken, 3, 2, workers=1)
    assert read_folder(broken) == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_finished_folder_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rendered_dataset(tmp_path, 1, 1, workers=1)
    monkeypatch.setattr(rendered, "_draw_product", None)
    assert write_rendered_dataset(tmp_path, 1, 1, workers=1) == tmp_path


@pytest.mark.parametrize("marker", ["rendered.json", "rendered.started.json"])
def test_a_folder_drawn_with_other_parameters_is_refused(tmp_path: Path, marker: str) -> None:
    write_rendered_dataset(tmp_path, 1, 1, workers=1)
    (tmp_path / "rendered.json").rename(tmp_path / marker)
    with pytest.raises(ValueError, match="choose another folder or delete"):
        write_rendered_dataset(tmp_path, 2, 1, workers=1)


def test_a_damaged_marker_is_named(tmp_path: Path) -> None:
    (tmp_path / "rendered.json").write_text("{")
    with pytest.raises(ValueError, match=r"rendered\.json"):
        write_rendered_dataset(tmp_path, 1, 1, workers=1)


def test_a_folder_with_foreign_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "PID000000_CLEAN1_IID000000.jpg").write_bytes(b"the real LookBook")
    with pytest.raises(ValueError, match="not drawn here"):
        write_rendered_dataset(tmp_path, 1, 1, workers=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"products": 0},
        {"person_photos": 0},
        {"person_photos": (3, 2)},
        {"person_photos": 100},
        {"seed": -1},
        {"workers": 0},
    ],
)
def test_impossible_parameters_are_refused_before_anything_is_written(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        write_rendered_dataset(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_the_command_draws_a_sheet_and_tells_what_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    assert main(["--sheet", str(sheet), "--products", "1", "--photos", "1"]) == 0
    assert PIL.Image.open(sheet).width > 100
    (tmp_path / "file").write_text("x")
    assert main(["--sheet", str(tmp_path / "file" / "x.png"), "--products", "1"]) == 1
    assert main(["--folder", str(tmp_path / "d"), "--photos", "100"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("datasets.rendered: ")
    assert "cannot draw" in second
    for wrong in (["--products", "0", "--sheet", "x.png"], ["--seed", "-1", "--sheet", "x"], []):
        with pytest.raises(SystemExit):
            main(wrong)


def test_a_full_disk_passes_through_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.write_bytes

    def fill_up(path: Path, data: bytes) -> int:
        if "CLEAN0" in path.name:
            original(path, data[:100])
            raise OSError(28, "No space left on device")
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OSError, match="No space left"):
        write_rendered_dataset(tmp_path, 2, 2, workers=1)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"rendered.started.json", "PID000000_CLEAN1_IID000000.jpg"}


def test_the_marker_tells_how_the_folder_was_drawn(tmp_path: Path) -> None:
    write_rendered_dataset(tmp_path, 1, (1, 2), seed=3, workers=1)
    marker = json.loads((tmp_path / "rendered.json").read_text())
    assert marker == {
        "renderer": rendered.RENDERER_VERSION,
        "products": 1,
        "person_photos": [1, 2],
        "seed": 3,
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_two_products_look_the_same(seed: int) -> None:
    signatures = {design_garment(product, seed).signature() for product in range(900)}
    assert len(signatures) == 900


def test_products_are_of_every_kind_pattern_and_print() -> None:
    garments = [design_garment(product) for product in range(900)]
    assert {garment.kind for garment in garments} == set(KINDS)
    assert {garment.pattern for garment in garments} == set(PATTERNS)
    assert {garment.print_kind for garment in garments} == set(PRINTS)
    bases = [garment.base for garment in garments]
    assert max(bases.count(base) for base in set(bases)) > 100, "many products share their colour"


def colour_histogram(photo: Image) -> NDArray[np.float64]:
    """8 x 8 x 8 RGB histogram of the hand-placed centre box, unit length: (512,)."""
    bins = (photo[64:192, 48:144] // 32).reshape(-1, 3).astype(int) @ (64, 8, 1)
    histogram = np.bincount(bins, minlength=512).astype(float)
    return histogram / np.linalg.norm(histogram)


@pytest.fixture(scope="module")
def gallery() -> tuple[list[Image], list[Image]]:
    """Product photo and first person photo of 100 products."""
    products = range(100)
    return [draw_product_photo(p) for p in products], [draw_person_photo(p, 1) for p in products]


def test_a_colour_histogram_does_not_solve_it(gallery: tuple[list[Image], list[Image]]) -> None:
    flat, worn = (np.stack([colour_histogram(photo) for photo in side]) for side in gallery)
    top_1 = ((worn @ flat.T).argmax(axis=1) == np.arange(100)).mean()
    assert top_1 < 0.2, f"chance is .01, measured .11 to .16; now {top_1}"


def test_a_person_resembles_the_own_product_more_than_others(
    gallery: tuple[list[Image], list[Image]],
) -> None:
    """The oracle is weak on purpose (colours): far above chance, far below a solution."""
    flat, worn = (np.stack([colour_histogram(photo) for photo in side]) for side in gallery)
    scores = worn @ flat.T
    own = np.diag(scores)[:, None]
    assert ((scores < own).sum(axis=1) / 99).mean() > 0.7, "chance is .5"


def test_the_photos_of_one_product_differ() -> None:
    photos = np.stack([draw_person_photo(1, number) for number in range(1, 5)]).astype(float)
    for one in range(4):
        for other in range(one):
            assert np.abs(photos[one] - photos[other]).mean() > 15


def test_drawing_is_fast(record_property: Callable[[str, object], None]) -> None:
    """The floor is 100 photos a second on one free core; a busy machine may take thrice that."""
    start = time.process_time()
    for number in range(1, 31):
        rendered.as_jpeg(draw_person_photo(number, 1))
    rate = 30 / (time.process_time() - start)
    record_property("photos_per_second", rate)
    assert rate > 33


def test_the_sheet_holds_every_row_even_for_odd_counts() -> None:
    assert rendered.draw_sheet(products=3, photos=1).shape == (2 * 256, 4 * 192, 3)


def test_the_style_is_a_parameter_like_others(tmp_path: Path) -> None:
    write_rendered_dataset(tmp_path / "shop", 1, 1, workers=1, style="shop")
    marker = json.loads((tmp_path / "shop" / "rendered.json").read_text())
    assert marker["style"] == "shop, version 3"
    with pytest.raises(ValueError, match="was drawn with"):
        write_rendered_dataset(tmp_path / "shop", 1, 1, workers=1)
    with pytest.raises(ValueError, match="style must be one of demo, shop, not 'market'"):
        write_rendered_dataset(tmp_path / "new", 1, 1, style="market")  # type: ignore[arg-type]


def test_two_may_draw_into_one_folder_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has finished, and taken its mark away, before this one does."""
    draw = rendered.run_tasks

    def with_another(*words: Any) -> Any:
        monkeypatch.setattr(rendered, "run_tasks", draw)
        write_rendered_dataset(tmp_path, products=2, workers=1)
        return draw(*words)

    monkeypatch.setattr(rendered, "run_tasks", with_another)
    write_rendered_dataset(tmp_path, products=2, workers=1)
    assert {path.name for path in tmp_path.glob("*.json")} == {rendered.FINISHED}
