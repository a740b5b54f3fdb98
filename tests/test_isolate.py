"""`datasets.isolate` fills the boxes of people's photos, and leaves all else as it is."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers_isolation import KnownIsolation, groups_with, isolation_of
from PIL import Image

from datasets import isolate
from datasets.isolate import add_boxes
from datasets.manifest import read_manifest, read_photo_table
from datasets.pairs_csv import read_pairs_csv
from siamese.garment_choice import GarmentChoice
from siamese.isolation import Isolation
from siamese.isolation_file import save_isolation
from siamese.photos import PhotoError

DRESSED = KnownIsolation(groups_with((80, 60), upper=(10, 20, 40, 50)))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Three products, each with a photo of its own and one of a person."""
    lines = ["product_id,role,path,colour"]
    for number in range(3):
        for role in ("product", "person"):
            Image.new("RGB", (60, 80), (40 * number, 90, 9)).save(tmp_path / f"{role}{number}.png")
            lines.append(f"00{number},{role},{role}{number}.png,007")
    (tmp_path / "images.csv").write_text("\n".join(lines))
    return tmp_path


def saved(folder: Path, group: str) -> str:
    save_isolation(isolation_of(group), folder / f"{group}.safetensors")
    return str(folder / f"{group}.safetensors")


def run(shop: Path, *words: str) -> int:
    return isolate.main([str(shop / "images.csv"), "--out", str(shop / "boxes.csv"), *words])


def test_people_get_boxes_and_products_do_not(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shop, "--isolation", saved(shop, "upper")) == 0
    assert "3 boxes added, 0 photos of people without one" in capsys.readouterr().out
    table = pd.read_csv(shop / "boxes.csv", dtype=str)
    assert table["product_id"].tolist() == ["000", "000", "001", "001", "002", "002"]
    assert set(table["colour"]) == {"007"}
    assert table["path"][0] == "product0.png"  # relative still, as the folder may move
    people = table[table["role"] == "person"]
    assert people[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [["0", "0", "60", "80"]] * 3
    assert table[table["role"] == "product"]["x1"].isna().all()


def test_the_table_is_read_by_the_reader_of_pairs(shop: Path) -> None:
    assert run(shop, "--isolation", saved(shop, "upper")) == 0
    manifest = read_pairs_csv(shop / "boxes.csv", validation=1, test=1, keep_twins_together=False)
    assert manifest["x2"].dropna().tolist() == [60, 60, 60]


def test_boxes_are_whole_pixels_around_the_margin_and_given_ones_stay(shop: Path) -> None:
    table = pd.DataFrame(
        {
            "path": [str(shop / "person0.png"), str(shop / "person1.png")],
            "role": "person",
            **{
                name: [None, value]
                for name, value in zip(("x1", "y1", "x2", "y2"), "1357", strict=True)
            },
        }
    )
    boxed, added, lacking = add_boxes(table, GarmentChoice(DRESSED, "upper"))
    assert (added, lacking) == (1, [])
    sides = boxed[["x1", "y1", "x2", "y2"]].to_numpy().tolist()
    assert sides == [[8, 18, 42, 52], ["1", "3", "5", "7"]]


def test_photos_without_the_garment_are_kept_whole_and_counted(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "person1.png").write_bytes(b"no photo")
    assert run(shop, "--isolation", saved(shop, "bag"), "--garment", "lower") == 0
    captured = capsys.readouterr()
    assert "0 boxes added, 3 photos of people without one" in captured.out
    assert captured.err.count("whole photo kept: ") == 3
    assert "no garment of group lower" in captured.err
    assert pd.read_csv(shop / "boxes.csv")["x1"].isna().all()


def test_a_folder_of_people_becomes_a_table(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people, out = tmp_path / "people", tmp_path / "people.csv"
    people.mkdir()
    isolation = ["--isolation", saved(shop, "upper"), "--out", str(out)]
    assert isolate.main([str(people), *isolation]) == 1
    assert "no photo in this folder" in capsys.readouterr().err
    for name in ("person0.png", "person1.png"):
        shutil.copy(shop / name, people)
    assert isolate.main([str(people), *isolation]) == 0
    table = read_photo_table(str(out))
    assert table["path"].tolist() == [str(people / "person0.png"), str(people / "person1.png")]
    assert set(table["role"]) == {"person"}
    assert table["x1"].notna().all()


def test_splits_and_other_columns_of_a_manifest_are_kept(shop: Path) -> None:
    table = pd.read_csv(shop / "images.csv", dtype=str).assign(split="train")
    table.to_csv(shop / "images.csv", index=False)
    assert run(shop, "--isolation", saved(shop, "upper")) == 0
    manifest = read_manifest(shop / "boxes.csv")
    assert set(manifest["split"]) == {"train"}
    assert manifest["x1"].notna().sum() == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--isolation", "missing.safetensors"], "no such isolation"),
        (["--isolation", "{good}", "--out", "/proc/nowhere/boxes.csv"], "/proc/nowhere"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    shop: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = saved(shop, "upper")
    assert run(shop, *(word.replace("{good}", good) for word in words)) == 1
    captured = capsys.readouterr().err.strip().splitlines()
    assert message in captured[-1]
    assert captured[-1].startswith("datasets.isolate: ")


def test_a_table_without_roles_is_one_line(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "images.csv").write_text("path\na.jpg\n")
    assert run(shop, "--isolation", saved(shop, "upper")) == 1
    assert "no column role" in capsys.readouterr().err


def test_a_row_without_a_path_is_one_line(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "images.csv").write_text("path,role\na.jpg,person\n,person\n")
    assert run(shop, "--isolation", saved(shop, "upper")) == 1
    assert "line 3 has no path" in capsys.readouterr().err


PAIRS = Path(__file__).parent.parent.parent / "shared" / "data" / "pairs"
TRAINED = Path(__file__).parent.parent / "checkpoints" / "isolation.safetensors"


@pytest.mark.skipif(
    not (PAIRS.is_dir() and TRAINED.is_file()),
    reason="needs the photos of ../shared/data and a trained checkpoints/isolation.safetensors",
)
def test_on_real_studio_photos_the_top_is_found_in_the_middle() -> None:
    from siamese.isolation_file import load_isolation

    choice = GarmentChoice(load_isolation(TRAINED), "upper")
    boxes = []
    for photo in sorted((PAIRS / "person").iterdir())[:40]:
        try:
            boxes.append(choice.box_in(photo))
        except PhotoError:
            continue
    assert len(boxes) >= 36
    x1, y1, x2, y2 = np.median(boxes, axis=0)
    assert x1 < 80 < 112 < x2  # of 192 x 256 pixels
    assert y1 < 100 < 150 < y2
    assert isinstance(choice.isolation, Isolation)


def test_a_place_that_cannot_be_written_is_told_before_a_photo_is_looked_at(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolate, "add_boxes", lambda *_: pytest.fail("looked at"))
    words = [str(shop / "images.csv"), "--isolation", saved(shop, "upper"), "--out", str(shop)]
    assert isolate.main(words) == 1
    assert "is a folder; name a file in it" in capsys.readouterr().err
