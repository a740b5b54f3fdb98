"""Street2Shop's layout becomes a manifest that the validator accepts."""

import logging
from pathlib import Path
from typing import Any

import pytest
from helpers_readers import assert_is_a_manifest, rows_of, save_photo, write, write_json

from datasets.manifest import ManifestError, validate
from datasets.street2shop import read_street2shop


def street(photo: int, product: int) -> dict[str, Any]:
    box = {"left": 2, "top": 3, "width": 10, "height": 20}
    return {"photo": photo, "product": product, "bbox": box}


def make_street2shop(folder: Path, lists: str = "meta/json", suffix: str = ".jpg") -> None:
    """Product 1 in train, 2 in both (so test), 3 in test, 4 only in shops, 5 without its photo."""
    meta = folder / lists
    shop = [{"photo": 100 + product, "product": product} for product in (1, 2, 3, 4, 5)]
    write_json(meta / "retrieval_dresses.json", shop)
    write_json(meta / "train_pairs_dresses.json", [street(1, 1), street(2, 2), street(6, 5)])
    write_json(meta / "test_pairs_dresses.json", [street(3, 2), street(4, 3)])
    write(folder / "photos/photos.txt", "000000001,https://example.com/1.jpg\n")
    for photo in (1, 2, 3, 4, 6, 101, 102, 103, 104):
        save_photo(folder / "images" / f"{photo:09d}{suffix}")


@pytest.mark.parametrize(("lists", "suffix"), [("meta/json", ".jpg"), ("meta", ".jpeg")])
def test_street2shop_keeps_products_of_the_test_out_of_train(
    lists: str, suffix: str, tmp_path: Path
) -> None:
    make_street2shop(tmp_path, lists, suffix)
    frame = read_street2shop(tmp_path, validation=0)
    photo = "{:09d}" + suffix
    assert rows_of(frame, "product_id", "path", "role", "split") == [
        ("1", photo.format(1), "person", "train"),
        ("1", photo.format(101), "product", "train"),
        ("2", photo.format(3), "person", "test"),
        ("2", photo.format(102), "product", "test"),
        ("3", photo.format(4), "person", "test"),
        ("3", photo.format(103), "product", "test"),
    ]
    boxes = frame.loc[frame["role"] == "person", ["x1", "y1", "x2", "y2"]].drop_duplicates()
    assert boxes.to_numpy().tolist() == [[2, 3, 12, 23]]
    assert frame.loc[frame["role"] == "product", "x1"].isna().all()
    assert set(frame["category"]) == {"dresses"}
    assert_is_a_manifest(frame, tmp_path)


def test_street2shop_products_of_shops_only_fill_the_test_catalog_on_request(
    tmp_path: Path,
) -> None:
    make_street2shop(tmp_path)
    frame = read_street2shop(tmp_path, validation=0, with_unpaired_products=True)
    fourth = frame[frame["product_id"] == "4"]
    assert rows_of(fourth, "role", "split") == [("product", "test")]


def test_street2shop_validation_is_carved_out_of_train(tmp_path: Path) -> None:
    make_street2shop(tmp_path)
    meta = tmp_path / "meta/json"
    shop = [{"photo": 200 + product, "product": 20 + product} for product in range(4)]
    write_json(meta / "retrieval_tops.json", shop)
    pairs = [street(300 + product, 20 + product) for product in range(3)] + [street(302, 23)]
    write_json(meta / "train_pairs_tops.json", pairs)  # photo 302 shows products 22 and 23
    write_json(meta / "test_pairs_tops.json", [])
    for photo in (*range(200, 204), *range(300, 303)):
        save_photo(tmp_path / "images" / f"{photo:09d}.jpg")
    for seed in range(6):
        frame = read_street2shop(tmp_path, validation=2, seed=seed)
        assert frame.loc[frame["split"] == "validation", "product_id"].nunique() == 2
        validate(frame)
    only = read_street2shop(tmp_path, categories=["tops"], validation=0)
    assert set(only["category"]) == {"tops"}


def test_photos_not_downloaded_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_street2shop(tmp_path)
    with caplog.at_level(logging.WARNING):
        read_street2shop(tmp_path, validation=0)
    assert "left out 1 rows of photos not downloaded" in caplog.text
    assert "left out 1 rows of products or photos that are in two splits" in caplog.text


def test_other_folders_are_no_street2shop(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected meta/json/train_pairs_CATEGORY"):
        read_street2shop(tmp_path)
    make_street2shop(tmp_path)
    with pytest.raises(ManifestError, match="categories dresses, asked for hats"):
        read_street2shop(tmp_path, categories=["hats"])
    write(tmp_path / "meta/json/test_pairs_dresses.json", '[{"photo": 1}]')
    with pytest.raises(ManifestError, match="expected a list of objects with photo, product, bbox"):
        read_street2shop(tmp_path)
    (tmp_path / "meta/json/test_pairs_dresses.json").unlink()
    with pytest.raises(ManifestError, match=r"test_pairs_dresses\.json: cannot be read"):
        read_street2shop(tmp_path)
    make_street2shop(tmp_path)
    for photo in (tmp_path / "images").iterdir():
        photo.unlink()
    with pytest.raises(ManifestError, match="no product has a downloaded shop photo"):
        read_street2shop(tmp_path)


def test_a_bbox_of_street2shop_without_four_numbers_is_told(tmp_path: Path) -> None:
    entry = {"photo": 1, "product": 2, "bbox": {"left": 1, "top": 2, "width": 3}}
    for bbox in (entry["bbox"], None, [1, 2, 3, 4]):
        for kind in ("train_pairs", "test_pairs", "retrieval"):
            write_json(tmp_path / "meta" / "json" / f"{kind}_x.json", [{**entry, "bbox": bbox}])
        save_photo(tmp_path / "images" / "000000001.jpg")
        with pytest.raises(ManifestError, match="expected numbers of left, top, width, height"):
            read_street2shop(tmp_path)
