"""LookBook's layout becomes a manifest that the validator accepts."""

from pathlib import Path
from typing import Any

import pytest
from helpers_readers import assert_is_a_manifest, rows_of, save_photo, write

from datasets.lookbook import read_lookbook
from datasets.manifest import ManifestError


def make_lookbook(folder: Path, person_photos: dict[int, int], clean: bool = True) -> None:
    image = 0
    for product, count in person_photos.items():
        for position in range(count + 1):
            image += 1
            is_product = int(position == 0)
            if clean or not is_product:
                name = f"PID{product:06d}_CLEAN{is_product}_IID{image:06d}.jpg"
                save_photo(folder / name)


def test_lookbook_names_tell_product_role_and_image(tmp_path: Path) -> None:
    make_lookbook(tmp_path, {7: 2, 8: 1, 9: 3})
    write(tmp_path / "readme.txt", "ignored")
    save_photo(tmp_path / "PID7_CLEAN2_IID1.jpg")
    frame = read_lookbook(tmp_path, minimum_person_photos=2, validation=0, test=1)
    assert rows_of(frame, "product_id", "role", "image_id") == [
        ("000007", "person", "000002"),
        ("000007", "person", "000003"),
        ("000007", "product", "000001"),
        ("000009", "person", "000007"),
        ("000009", "person", "000008"),
        ("000009", "person", "000009"),
        ("000009", "product", "000006"),
    ]
    assert frame.groupby("split")["product_id"].nunique().to_dict() == {"test": 1, "train": 1}
    assert_is_a_manifest(frame, tmp_path)


def test_lookbook_validation_is_carved_out_of_train_not_of_the_test(tmp_path: Path) -> None:
    make_lookbook(tmp_path / "data", dict.fromkeys(range(10), 1))  # the archive's own subfolder
    options: dict[str, Any] = {"minimum_person_photos": 1, "test": 3}
    report = read_lookbook(tmp_path, validation=0, **options)
    ours = read_lookbook(tmp_path, validation=2, **options)
    tested = [set(frame.loc[frame["split"] == "test", "product_id"]) for frame in (report, ours)]
    assert tested[0] == tested[1]
    assert ours.groupby("split")["product_id"].nunique().to_dict() == {
        "test": 3,
        "train": 5,
        "validation": 2,
    }


def test_lookbook_defaults_are_the_reports_numbers(tmp_path: Path) -> None:
    make_lookbook(tmp_path, {1: 10, 2: 9})
    with pytest.raises(ManifestError, match="200 products for validation and 556 for test"):
        read_lookbook(tmp_path)  # one product has ten person photos: too few to hold out 756


def test_lookbook_refuses_other_folders(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such folder"):
        read_lookbook(tmp_path / "gone")
    save_photo(tmp_path / "cat.jpg")
    with pytest.raises(ManifestError, match=r"none of 1 files is named like .* found cat\.jpg"):
        read_lookbook(tmp_path)
    make_lookbook(tmp_path / "without", {1: 10}, clean=False)
    with pytest.raises(ManifestError, match="no product has a product photo"):
        read_lookbook(tmp_path / "without")
