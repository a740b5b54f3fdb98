"""Fashion Product Images' layout becomes a manifest that the validator accepts."""

import logging
from pathlib import Path

import pandas as pd
import pytest
from helpers_readers import assert_is_a_manifest, save_photo, write

from datasets.clothing import read_clothing
from datasets.fashion_products import read_fashion_products
from datasets.manifest import ManifestError, validate

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
