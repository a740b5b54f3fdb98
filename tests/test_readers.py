"""Every reader turns a small folder of its layout into a manifest that the validator accepts."""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from datasets.clothing import read_clothing
from datasets.deepfashion import read_deepfashion
from datasets.deepfashion2 import read_deepfashion2
from datasets.fashion_products import read_fashion_products
from datasets.lookbook import read_lookbook
from datasets.manifest import ManifestError, read_manifest, validate, write_manifest
from datasets.pairs_csv import read_pairs_csv
from datasets.street2shop import read_street2shop

photo_count = 0


def save_photo(path: Path, width: int = 24, height: int = 32) -> None:
    """A photo that differs from all others of the test run."""
    global photo_count
    photo_count += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    # steps of 16, for JPEG would make nearer colours equal
    colour = tuple(16 * (photo_count // step % 16) for step in (1, 16, 256))
    Image.new("RGB", (width, height), colour).save(path, quality=95)


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content))


def rows_of(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Rows as tuples, with the path's name in place of the path, sorted."""
    named = frame.assign(path=frame["path"].map(lambda path: Path(path).name))
    return sorted(zip(*(named[column] for column in columns), strict=True))


def assert_is_a_manifest(frame: pd.DataFrame, folder: Path) -> None:
    """The validator accepts it, and it comes back from disk."""
    validate(frame)
    write_manifest(frame, folder / "manifest.parquet")
    assert read_manifest(folder / "manifest.parquet")["path"].tolist() == frame["path"].tolist()


# ---- LookBook


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


# ---- pairs


def make_pairs(folder: Path, count: int) -> list[str]:
    products = [f"{number:06d}" for number in range(count)]
    for product in products:
        save_photo(folder / "product" / f"{product}.png", 24 + int(product) * 8)  # no twins
        save_photo(folder / "person" / f"{product}.png")
    return products


def test_a_csv_of_photos_is_split_by_product(tmp_path: Path) -> None:
    products = make_pairs(tmp_path, 8)
    lines = [f"{p},{role},{role}/{p}.png,{p}x" for p in products for role in ("product", "person")]
    write(tmp_path / "images.csv", "product_id,role,path,brand\n" + "\n".join(lines))
    frame = read_pairs_csv(tmp_path, validation=2, test=3)
    assert read_pairs_csv(tmp_path / "images.csv", validation=2, test=3).equals(frame)
    assert len(frame) == 16
    assert frame["path"].iloc[0] == str(tmp_path / "product" / "000000.png")
    assert frame["product_id"].iloc[0] == "000000"
    assert frame["brand"].iloc[0] == "000000x"
    counts = frame.groupby("split")["product_id"].nunique().to_dict()
    assert counts == {"test": 3, "train": 3, "validation": 2}
    assert_is_a_manifest(frame, tmp_path)


def test_a_csv_of_photos_keeps_its_own_split_and_boxes(tmp_path: Path) -> None:
    make_pairs(tmp_path, 1)
    write(
        tmp_path / "photos.csv",
        "path,product_id,role,split,x1,y1,x2,y2\nproduct/000000.png,01,product,test,1,2,20,30\n"
        "person/000000.png,01,person,test,,,,\n",
    )
    frame = read_pairs_csv(tmp_path / "photos.csv")
    assert rows_of(frame.fillna(-1), "product_id", "role", "split", "x1", "y2") == [
        ("01", "person", "test", -1.0, -1.0),
        ("01", "product", "test", 1.0, 30.0),
    ]
    assert_is_a_manifest(frame, tmp_path)


def test_a_csv_of_pairs_lists_a_product_photo_once(tmp_path: Path) -> None:
    make_pairs(tmp_path, 3)
    pairs = [(0, 0), (0, 1), (1, 2)]
    lines = [f"product/{a:06d}.png,person/{b:06d}.png" for a, b in pairs]
    write(tmp_path / "pairs.csv", "product_path,person_path\n" + "\n".join(lines))
    frame = read_pairs_csv(tmp_path / "pairs.csv", validation=0, test=1)
    assert rows_of(frame, "product_id", "role", "path") == [
        ("000000", "person", "000000.png"),
        ("000000", "person", "000001.png"),
        ("000000", "product", "000000.png"),
        ("000001", "person", "000002.png"),
        ("000001", "product", "000001.png"),
    ]
    assert_is_a_manifest(frame, tmp_path)


def test_twins_of_a_csv_stay_in_one_split(tmp_path: Path) -> None:
    products = make_pairs(tmp_path, 6)
    for product in products[1:3]:  # three products under one photo
        same = (tmp_path / "product" / "000000.png").read_bytes()
        (tmp_path / "product" / f"{product}.png").write_bytes(same)
    lines = [f"{p},{role},{role}/{p}.png" for p in products for role in ("product", "person")]
    write(tmp_path / "images.csv", "product_id,role,path\n" + "\n".join(lines))
    for seed in range(10):
        frame = read_pairs_csv(tmp_path, validation=1, test=1, seed=seed)
        assert set(frame.loc[frame["product_id"].isin(products[:3]), "split"]) == {"train"}
        validate(frame)


@pytest.mark.parametrize("twins", [True, False])
def test_products_that_one_photo_shows_stay_in_one_split(tmp_path: Path, twins: bool) -> None:
    products = make_pairs(tmp_path, 8)
    lines = [f"{p},{role},{role}/{p}.png" for p in products for role in ("product", "person")]
    lines.append(f"{products[1]},person,person/{products[0]}.png")  # one photo, two products
    copy = (tmp_path / "person" / f"{products[2]}.png").read_bytes()
    (tmp_path / "person" / "copy.png").write_bytes(copy)
    lines.append(f"{products[3]},person,person/copy.png")
    write(tmp_path / "images.csv", "product_id,role,path\n" + "\n".join(lines))
    for seed in range(10):
        frame = read_pairs_csv(tmp_path, validation=2, test=2, seed=seed, keep_twins_together=twins)
        validate(frame)
        split = frame.set_index("product_id")["split"].groupby(level=0).agg("unique")
        assert list(split[products[0]]) == list(split[products[1]])
        assert list(split[products[2]]) == list(split[products[3]])
        if twins:
            assert frame["twin_group"].nunique() == 8  # they are no twins


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("photo,label\na,b\n", "found the columns photo, label"),
        ("product_id,role,path\n", "has no rows"),
        ("product_path,person_path\na/1.jpg,p.jpg\nb/1.jpg,q.jpg\n", "add a column product_id"),
        ("product_path,person_path,x1\na,b,1\n", "x1 could mean either photo of a pair"),
        ("product_id,role,path\n1,product,a.jpg\n", "ask for fewer"),
    ],
)
def test_other_csv_files_are_refused(content: str, part: str, tmp_path: Path) -> None:
    write(tmp_path / "images.csv", content)
    with pytest.raises(ManifestError, match=part):
        read_pairs_csv(tmp_path)


def test_a_folder_without_images_csv_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "table.csv", "a")
    with pytest.raises(ManifestError, match=r"with images\.csv; found table\.csv"):
        read_pairs_csv(tmp_path)


# ---- Fashion Product Images

STYLES = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage"


def test_labels_are_kept_and_broken_lines_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        f"{STYLES},productDisplayName",
        "15970,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Turtle Check Shirt",
        "39386,Men,Apparel,Topwear,Shirts,NA,Fall,,,Shirt, blue, with a pocket",
        "1163,Women,Footwear",
        "7,Men,Apparel,Topwear,Shirts,Red,Fall,2012,Casual,Photo is missing",
        "59263,Women,Accessories,Watches,Watches,Silver,Winter,2016,Casual,Titan",
        "",
    ]
    write(tmp_path / "styles.csv", "\n".join(lines))
    for name in ("15970", "39386", "59263"):
        save_photo(tmp_path / "images" / f"{name}.jpg")
    with caplog.at_level(logging.WARNING):
        frame = read_fashion_products(tmp_path, validation=0, test=1)
    assert frame["product_id"].tolist() == ["15970", "39386", "59263"]
    assert set(frame["role"]) == {"product"}
    assert frame["productDisplayName"].tolist()[1] == "Shirt, blue, with a pocket"
    assert frame["year"].tolist() == [2011, pd.NA, 2016]
    assert frame["baseColour"].isna().tolist() == [False, True, False]
    assert frame["usage"].isna().tolist() == [False, True, False]
    assert "left out 1 lines with too many or too few fields" in caplog.text
    assert "left out 1 products without a photo" in caplog.text
    assert_is_a_manifest(frame, tmp_path)


def test_a_quote_that_is_never_closed_costs_no_product(tmp_path: Path) -> None:
    lines = [
        f"{STYLES},productDisplayName",
        '1,Men,Apparel,Topwear,Shirts,Red,Fall,2012,Casual,"Turtle" Shirt',
        '2,Men,Apparel,Topwear,Shirts,Red,Fall,2011.5,Casual,"Turtle Shirt, 12"" long',
        *(f"{n},Men,Apparel,Topwear,Shirts,Red,Fall,2012,Casual,Shirt {n}" for n in range(3, 9)),
    ]
    write(tmp_path / "styles.csv", "\r\n".join(lines))
    for number in range(1, 9):
        save_photo(tmp_path / "images" / f"{number}.jpg")
    frame = read_fashion_products(tmp_path, validation=0, test=1)
    assert frame["product_id"].tolist() == [str(number) for number in range(1, 9)]
    assert frame["year"].tolist() == [2012, pd.NA, *[2012] * 6]


def test_parts_of_the_photos_may_stand_in_for_photos_of_people(tmp_path: Path) -> None:
    lines = [f"{number},Men,Apparel,Topwear,Shirts,Red,Fall,2012,Casual" for number in range(40)]
    write(tmp_path / "styles.csv", "\n".join([STYLES, *lines]))
    for number in range(40):
        save_photo(tmp_path / "images" / f"{number}.jpg", 60, 90)
    frame = read_fashion_products(tmp_path, parts=True)
    whole, part = frame[frame["role"] == "product"], frame[frame["role"] == "person"]
    assert whole["product_id"].tolist() == part["product_id"].tolist()
    for same in ("path", "split", "articleType"):
        assert whole[same].tolist() == part[same].tolist()
    assert whole["x1"].isna().all()
    shown = (part["x2"] - part["x1"]) / 60, (part["y2"] - part["y1"]) / 90
    for share in shown:
        assert share.between(0.58, 0.97).all()
        assert share.nunique() > 5
    assert (part[["x1", "y1"]] >= 0).all(axis=None)
    assert (part["x2"] <= 60).all()
    assert (part["y2"] <= 90).all()
    validate(frame)
    again = read_fashion_products(tmp_path, parts=True)
    pd.testing.assert_frame_equal(frame, again)
    assert not read_fashion_products(tmp_path, parts=True, seed=1)["x1"].equals(frame["x1"])


def test_products_that_share_a_photo_share_a_split(tmp_path: Path) -> None:
    lines = [f"{number},Men,Apparel,Topwear,Shirts,Red,Fall,2012,Casual" for number in range(12)]
    write(tmp_path / "styles.csv", "\n".join([STYLES, *lines]))
    for number in range(12):
        save_photo(tmp_path / "images" / f"{number}.jpg")
    for number in (3, 7):
        same = (tmp_path / "images" / "0.jpg").read_bytes()
        (tmp_path / "images" / f"{number}.jpg").write_bytes(same)
    for seed in range(10):
        frame = read_fashion_products(tmp_path, validation=0.3, test=0.3, seed=seed)
        assert frame.set_index("product_id").loc[["0", "3", "7"], "split"].nunique() == 1
        validate(frame)


def test_other_folders_are_no_fashion_products(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"expected styles\.csv .* the folder is empty"):
        read_fashion_products(tmp_path)
    write(tmp_path / "styles.csv", f"{STYLES}\n1,Men,A,B,C,D,E,2000,F")
    with pytest.raises(ManifestError, match=r"images/ID\.jpg; found styles\.csv"):
        read_fashion_products(tmp_path)
    save_photo(tmp_path / "images" / "2.jpg")
    with pytest.raises(ManifestError, match=r"no photo of any id .* found 2\.jpg"):
        read_fashion_products(tmp_path)
    write(tmp_path / "styles.csv", "photo,label\n1,2")
    with pytest.raises(ManifestError, match="has no column id"):
        read_fashion_products(tmp_path)


# ---- DeepFashion, consumer to shop


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


# ---- DeepFashion2


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


# ---- Street2Shop


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


def test_tables_in_another_encoding_are_told(tmp_path: Path) -> None:
    save_photo(tmp_path / "images" / "1.jpg")
    (tmp_path / "styles.csv").write_bytes("id,gender\n1,Männer\n".encode("latin-1"))
    (tmp_path / "images.csv").write_bytes("image,sender_id,label\n1,2,Röcke\n".encode("latin-1"))
    for read in (read_fashion_products, read_clothing):
        with pytest.raises(ManifestError, match="is no text in UTF-8"):
            read(tmp_path)


def test_a_broken_photo_has_no_part_and_is_left_to_the_checks(tmp_path: Path) -> None:
    for number in range(12):
        save_photo(tmp_path / "images" / f"{number}.jpg", 80, 80)
    lines = ["id,gender", *(f"{number},Men" for number in range(12))]
    write(tmp_path / "styles.csv", "\n".join(lines))
    (tmp_path / "images" / "5.jpg").write_bytes(b"")
    frame = read_fashion_products(tmp_path, parts=True, validation=2, test=2)
    roles = frame.groupby("product_id")["role"].apply(sorted).to_dict()
    assert roles.pop("5") == ["product"]
    assert set(map(tuple, roles.values())) == {("person", "product")}


def test_a_product_photo_without_a_product_is_told(tmp_path: Path) -> None:
    lines = ["path,product_id,role"]
    for number in range(9):
        for role in ("product", "person"):
            save_photo(tmp_path / f"{number}_{role}.png")
            lines.append(f"{number}_{role}.png,p{number},{role}")
    save_photo(tmp_path / "none.png")
    write(tmp_path / "all.csv", "\n".join([*lines, "none.png,,product"]))
    with pytest.raises(ManifestError, match="row 18 has no product_id"):
        read_pairs_csv(tmp_path / "all.csv", validation=2, test=2)
