"""The layouts of DeepFashion and DeepFashion2 become manifests that the validator accepts."""

from pathlib import Path
from typing import Any

import pytest
from helpers_readers import assert_is_a_manifest, rows_of, save_photo, write, write_json

from datasets.deepfashion import read_deepfashion
from datasets.deepfashion2 import read_deepfashion2
from datasets.manifest import ManifestError, validate


def make_deepfashion(folder: Path, images: str = "Img") -> None:
    pairs = [
        ("id_1/comsumer_01.jpg", "id_1/shop_01.jpg", "id_1", "train"),
        ("id_1/comsumer_02.jpg", "id_1/shop_01.jpg", "id_1", "train"),
        ("id_2/comsumer_01.jpg", "id_2/shop_01.jpg", "id_2", "val"),
        ("id_3/comsumer_01.jpg", "id_3/shop_01.jpg", "id_3", "test"),
    ]
    prefix = "img/TOPS/Blouse/"
    lines = [f"{prefix}{a}    {prefix}{b}  {item}  {status}" for a, b, item, status in pairs]
    header = "image_pair_name_1 image_pair_name_2 item_id evaluation_status"
    write(folder / "Eval/list_eval_partition.txt", "\n".join(["4", header, *lines]))
    boxes = [f"{prefix}id_1/shop_01.jpg 1 1 002 003 020 030"]
    names = "image_name clothes_type source_type x_1 y_1 x_2 y_2"
    write(folder / "Anno/list_bbox_consumer2shop.txt", "\n".join(["1", names, *boxes]))
    for name in {name for pair in pairs for name in pair[:2]}:
        save_photo(folder / images / prefix / name)


@pytest.mark.parametrize("images", ["Img", "."])
def test_deepfashion_pairs_become_rows_with_its_own_split(images: str, tmp_path: Path) -> None:
    make_deepfashion(tmp_path, images)
    frame = read_deepfashion(tmp_path)
    assert rows_of(frame, "product_id", "path", "role", "split") == [
        ("id_1", "comsumer_01.jpg", "person", "train"),
        ("id_1", "comsumer_02.jpg", "person", "train"),
        ("id_1", "shop_01.jpg", "product", "train"),
        ("id_2", "comsumer_01.jpg", "person", "validation"),
        ("id_2", "shop_01.jpg", "product", "validation"),
        ("id_3", "comsumer_01.jpg", "person", "test"),
        ("id_3", "shop_01.jpg", "product", "test"),
    ]
    with_box = frame[frame["x1"].notna()]
    assert with_box[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[2, 3, 20, 30]]
    assert with_box["product_id"].tolist() == ["id_1"]
    assert set(frame["category"]) == {"TOPS"}
    assert set(frame["subcategory"]) == {"Blouse"}
    assert_is_a_manifest(frame, tmp_path)


def test_deepfashion_without_boxes_has_none(tmp_path: Path) -> None:
    make_deepfashion(tmp_path)
    (tmp_path / "Anno/list_bbox_consumer2shop.txt").unlink()
    assert "x1" not in read_deepfashion(tmp_path)


def test_other_folders_are_no_deepfashion(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"expected Eval/list_eval_partition\.txt"):
        read_deepfashion(tmp_path)
    partition = tmp_path / "Eval/list_eval_partition.txt"
    write(partition, "2\nimage_name item_id status\na b c\n")
    with pytest.raises(ManifestError, match="names image_name, item_id, status"):
        read_deepfashion(tmp_path)
    write(partition, "")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_deepfashion(tmp_path)
    make_deepfashion(tmp_path)
    write(partition, partition.read_text().replace(" val", " dev"))
    with pytest.raises(ManifestError, match="line 5 has the evaluation status 'dev'"):
        read_deepfashion(tmp_path)


def garment(style: int, category: str = "short sleeve top") -> dict[str, Any]:
    box = [1, 2, 20, 30]
    return {"bounding_box": box, "style": style, "category_id": 1, "category_name": category}


def make_deepfashion2(folder: Path, part: str) -> None:
    photos: list[tuple[str, int, list[dict[str, Any]]]] = [
        ("user", 1, [garment(1), garment(2, "skirt"), garment(0)]),
        ("shop", 1, [garment(1)]),
        ("shop", 1, [garment(2, "skirt")]),
        ("user", 2, [garment(1)]),
        ("shop", 2, [garment(1)]),
        ("user", 2, [garment(3)]),  # no shop's photo shows it
    ]
    for number, (source, pair, items) in enumerate(photos, start=1):
        annotation = {f"item{position}": item for position, item in enumerate(items, start=1)}
        write_json(
            folder / part / "annos" / f"{number:06d}.json",
            {"source": source, "pair_id": pair, **annotation},
        )
        save_photo(folder / part / "image" / f"{number:06d}.jpg")


def test_deepfashion2_products_are_pair_and_style(tmp_path: Path) -> None:
    make_deepfashion2(tmp_path, "train")
    frame = read_deepfashion2(tmp_path)
    assert rows_of(frame, "product_id", "path", "role", "category_name") == [
        ("train_000001_1", "000001.jpg", "person", "short sleeve top"),
        ("train_000001_1", "000002.jpg", "product", "short sleeve top"),
        ("train_000001_2", "000001.jpg", "person", "skirt"),
        ("train_000001_2", "000003.jpg", "product", "skirt"),
        ("train_000002_1", "000004.jpg", "person", "short sleeve top"),
        ("train_000002_1", "000005.jpg", "product", "short sleeve top"),
    ]
    assert frame[["x1", "y1", "x2", "y2"]].drop_duplicates().to_numpy().tolist() == [[1, 2, 20, 30]]
    assert_is_a_manifest(frame, tmp_path)


def test_deepfashion2_test_is_a_part_of_validation_that_shares_no_photo(tmp_path: Path) -> None:
    make_deepfashion2(tmp_path, "train")
    make_deepfashion2(tmp_path, "validation")
    for seed in range(6):
        frame = read_deepfashion2(tmp_path, test=1, seed=seed)  # two of the three share a photo
        splits = dict(zip(frame["product_id"], frame["split"], strict=True))
        assert splits == {
            "train_000001_1": "train",
            "train_000001_2": "train",
            "train_000002_1": "train",
            "validation_000001_1": "validation",
            "validation_000001_2": "validation",
            "validation_000002_1": "test",
        }
        validate(frame)
    assert set(read_deepfashion2(tmp_path, test=0)["split"]) == {"train", "validation"}


def test_other_folders_are_no_deepfashion2(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected train/ and validation/"):
        read_deepfashion2(tmp_path)
    make_deepfashion2(tmp_path, "train")
    annotation = tmp_path / "train" / "annos" / "000002.json"
    for content in ("{", "[]", '{"source": "zoo", "pair_id": 1}', '{"source": "shop"}'):
        write(annotation, content)
        with pytest.raises(ManifestError, match=r"000002\.json: is no annotation"):
            read_deepfashion2(tmp_path)
