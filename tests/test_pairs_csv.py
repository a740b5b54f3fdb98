"""A CSV of photos or pairs becomes a manifest that the validator accepts."""

from pathlib import Path

import pytest
from helpers_readers import assert_is_a_manifest, rows_of, save_photo, write

from datasets.manifest import ManifestError, validate
from datasets.pairs_csv import read_pairs_csv


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
