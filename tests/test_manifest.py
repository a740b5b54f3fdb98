"""Manifests survive the disk, and the validator names every fault by row."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.manifest import (
    ManifestError,
    drop_broken_photos,
    find_faults,
    make_manifest,
    read_manifest,
    validate,
    write_manifest,
)


def save_photo(path: Path, shade: int, height: int = 20, width: int = 30) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (shade, 255 - shade, 7)).save(path)
    return str(path)


@pytest.fixture
def perfect(tmp_path: Path) -> pd.DataFrame:
    """Three products, one per split, each with a product photo and a person photo; all differ."""
    rows = []
    for number, split in enumerate(["train", "validation", "test"]):
        for role in ("product", "person"):
            shade = number * 20 + (role == "person") * 100
            path = save_photo(tmp_path / "photos" / f"{role}{number}.png", shade)
            rows.append((path, f"00000{number}", role, split))
    columns = ["path", "product_id", "role", "split"]
    return make_manifest(pd.DataFrame(rows, columns=columns))


def faults_of(frame: pd.DataFrame, **options: bool) -> list[tuple[int, str, str]]:
    found = find_faults(frame, **options)
    return list(zip(found["row"], found["kind"], found["fault"], strict=True))


# ---- on disk


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet"])
def test_a_manifest_comes_back_from_disk_as_it_was(
    perfect: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    frame = perfect.assign(
        x1=np.array([1.5, *[np.nan] * 5]),
        brand=pd.Series(["NA", "None", None, "a,b", 'say "x"', "Müller"]),
        image_id=["004567", "1", "2", "3", "4", "5"],
        year=[2011, 2012, 2013, 2014, 2015, 2016],
        sold=[True, False, True, True, True, False],
    )
    write_manifest(frame, tmp_path / name)
    back = read_manifest(tmp_path / name)
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert back["product_id"].tolist()[0] == "000000"
    assert back["year"].dtype == np.int64
    assert back["sold"].dtype == bool


def test_paths_below_the_manifest_are_relative_on_disk_and_others_absolute(
    perfect: pd.DataFrame, tmp_path: Path
) -> None:
    write_manifest(perfect, tmp_path / "manifest.csv")
    assert ",000000," in (tmp_path / "manifest.csv").read_text()
    assert "\nphotos/product0.png," in (tmp_path / "manifest.csv").read_text()
    elsewhere = tmp_path / "elsewhere" / "manifest.csv"
    write_manifest(perfect, elsewhere)
    assert f"\n{tmp_path}/photos/product0.png," in elsewhere.read_text()
    assert read_manifest(elsewhere)["path"].tolist() == perfect["path"].tolist()


def test_a_moved_folder_still_finds_its_photos(perfect: pd.DataFrame, tmp_path: Path) -> None:
    write_manifest(perfect, tmp_path / "manifest.csv")
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "_moved"))
    validate(read_manifest(moved / "manifest.csv"))


def test_a_failed_write_leaves_the_old_manifest(
    perfect: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(perfect, path)
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_manifest(perfect.head(1), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["manifest.csv"]


@settings(max_examples=50, deadline=None)
@given(
    ids=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
        | st.from_regex(r"\A0*[0-9]{1,20}\Z"),
        min_size=1,
        max_size=5,
    )
)
def test_product_ids_of_any_text_survive_a_csv(
    ids: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    columns = {"path": str(folder / "a.jpg"), "role": "product", "split": "test"}
    write_manifest(make_manifest(pd.DataFrame({"product_id": ids}).assign(**columns)), folder / "m")
    assert read_manifest(folder / "m")["product_id"].tolist() == ids


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"path,product_id,role,split\n", "has no rows"),
        (b"path|product_id|role|split\na|b|c|d\n", "no column path, product_id, role, split"),
        (b"path,product_id,role\na,1,product\n", "no column split"),
        ("path,product_id,role,split\nä,1,product,test\n".encode("latin-1"), "UTF-8"),
        (b'path,product_id,role,split\n"a,1,product,test\n', "cannot be read as CSV"),
        (b"path,product_id,role,split\na,1,product,test,more\n", "more cells than the heading"),
        (b"path,path,product_id,role,split\na,b,1,product,test\n", "column 'path' twice"),
    ],
)
def test_an_unusable_csv_is_refused_in_one_line(
    content: bytes | None, part: str, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_damaged_parquet_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a folder"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match="no such file"):
        read_manifest(tmp_path / "m.parquet")
    (tmp_path / "m.parquet").write_bytes(b"no parquet")
    with pytest.raises(ManifestError, match="cannot be read as Parquet"):
        read_manifest(tmp_path / "m.parquet")


def test_numbers_as_product_ids_of_a_parquet_file_become_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"product_id": [7, None], "path": "a", "role": "person", "split": "test"})
    frame.to_parquet(tmp_path / "m.parquet")
    back = read_manifest(tmp_path / "m.parquet")["product_id"]
    assert back[0] == "7"
    assert pd.isna(back[1])


def test_a_byte_order_mark_of_excel_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbfpath,product_id,role,split\na,01,person,test\n")
    assert read_manifest(tmp_path / "m.csv").columns[0] == "path"


def test_a_comma_at_the_end_of_each_line_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,product_id,role,split\na,01,person,test,\n")
    (row,) = read_manifest(tmp_path / "m.csv").to_dict("records")
    assert row == {
        "path": f"{tmp_path}/a",
        "product_id": "01",
        "role": "person",
        "split": "test",
    }


def test_numbers_that_would_lose_digits_and_columns_of_text_stay_as_they_are(
    tmp_path: Path,
) -> None:
    heading, row = "path,product_id,role,split,serial,size,price", "a,1,product,test"
    lines = [f"{row},9007199254740993,38,12.50", f"{row},,40,9"]
    (tmp_path / "m.csv").write_text("\n".join([heading, *lines]))
    frame = read_manifest(tmp_path / "m.csv", text=["size"])
    assert frame["serial"].dropna().tolist() == ["9007199254740993"]
    assert frame["size"].tolist() == ["38", "40"]
    assert frame["price"].tolist() == [12.5, 9.0]
    assert read_manifest(tmp_path / "m.csv")["size"].tolist() == [38, 40]


# ---- the validator


def test_a_perfect_manifest_has_no_fault(perfect: pd.DataFrame) -> None:
    assert faults_of(perfect, decode=True) == []
    validate(perfect)


def test_all_faults_are_reported_at_once(perfect: pd.DataFrame, tmp_path: Path) -> None:
    frame = perfect.copy()
    frame.loc[0, "role"] = "prodcut"  # so product 000000 has no product photo either
    frame.loc[1, "split"] = "training"  # and is in two splits
    frame.loc[2, "path"] = str(tmp_path / "gone.jpg")
    frame.loc[3, "product_id"] = None
    Path(frame["path"].iloc[4]).write_text("no photo")
    assert faults_of(frame) == [
        (0, "table", "unknown role 'prodcut'; use product, person"),
        (0, "table", "the product has no product photo"),
        (1, "table", "unknown split 'training'; use train, validation, test"),
        (1, "table", "the product is in several splits: train, training"),
        (2, "photo", "no such file; check the path"),
        (3, "table", "product_id is missing"),
        (4, "photo", "not a photo or damaged at its beginning; use a JPEG, PNG or WebP"),
    ]
    assert [kind for _, kind, _ in faults_of(frame, check_files=False)] == ["table"] * 5


def test_a_product_in_two_splits_is_named_once_with_the_splits(perfect: pd.DataFrame) -> None:
    frame = perfect.assign(product_id="1")
    assert faults_of(frame) == [
        (2, "table", "the product is in several splits: test, train, validation")
    ]


def test_a_photo_listed_twice_is_a_fault_only_where_it_leaks_or_repeats(
    perfect: pd.DataFrame,
) -> None:
    another_product = perfect.iloc[[0]].assign(product_id="000009")
    assert faults_of(pd.concat([perfect, another_product])) == []
    again = perfect.iloc[[0]]
    assert faults_of(pd.concat([perfect, again])) == [(6, "table", "the same row is listed before")]
    leak = another_product.assign(split="test")
    assert faults_of(pd.concat([perfect, leak])) == [
        (6, "table", "the photo is in several splits: test, train")
    ]
    as_person = perfect.iloc[[0]].assign(role="person")
    assert faults_of(pd.concat([perfect, as_person])) == [
        (6, "table", "the photo has several roles: person, product")
    ]


def test_parts_of_one_photo_may_have_other_roles_than_the_whole(perfect: pd.DataFrame) -> None:
    box = {"x1": 0, "y1": 0, "x2": 8, "y2": 8}
    part = perfect.iloc[[0]].assign(role="person", **box)
    assert faults_of(pd.concat([perfect, part])) == []
    both = pd.concat([perfect, part, part.assign(role="product")])
    assert faults_of(both) == [(7, "table", "the photo has several roles: person, product")]


def test_a_copy_of_a_test_photo_in_train_is_found_by_its_content(perfect: pd.DataFrame) -> None:
    Path(perfect["path"][0]).write_bytes(Path(perfect["path"][4]).read_bytes())
    assert faults_of(perfect) == [
        (0, "copy", f"has the same content as row 4 of split test ({perfect['path'][4]})")
    ]
    assert faults_of(perfect, compare_contents=False) == []


def test_bad_boxes_are_found_and_good_ones_left(perfect: pd.DataFrame) -> None:
    boxes = [  # photos are 30 wide and 20 high
        (0, 0, 30, 20),
        (5, 5, 5, 10),
        (0, 0, 31, 21),  # within the tolerance of a pixel
        (0, 0, 30, 25),
        (-4, 0, 10, 10),
        (0, 0, 10, None),
    ]
    frame = perfect.copy()
    frame[["x1", "y1", "x2", "y2"]] = np.array(boxes, dtype=float)
    assert faults_of(frame) == [
        (1, "photo", "the box has no area: 5, 5, 5, 10"),
        (3, "photo", "the box ends at 30, 25, outside of the photo of 30 x 20"),
        (4, "photo", "the box begins outside of the photo: -4, 0"),
        (5, "photo", "the box needs four numbers: x1, y1, x2, y2"),
    ]


def test_boxes_count_in_the_upright_photo(perfect: pd.DataFrame) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored 20 x 30 (height x width), upright 30 x 20
    path = perfect["path"][0].replace(".png", ".jpg")
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    frame = perfect.copy()
    frame.loc[0, "path"] = path
    frame.loc[0, ["x1", "y1", "x2", "y2"]] = [0.0, 0.0, 20.0, 30.0]
    assert faults_of(frame) == []


def test_damage_behind_the_header_is_found_only_by_decoding(perfect: pd.DataFrame) -> None:
    path = Path(perfect["path"][0])
    path.write_bytes(path.read_bytes()[:-30])
    assert faults_of(perfect) == []
    [(row, kind, text)] = faults_of(perfect, decode=True)
    assert (row, kind) == (0, "photo")
    assert text.startswith("damaged or cut off")


def test_the_error_shows_the_first_faults_and_how_many_more(perfect: pd.DataFrame) -> None:
    frame = pd.concat([perfect] * 5).assign(path="/nowhere/a.jpg")
    with pytest.raises(ManifestError) as caught:
        validate(frame)
    lines = str(caught.value).split("\n")
    count = len(find_faults(frame))
    assert lines[0] == f"the manifest has {count} faults (rows count from 0, one for each photo):"
    assert len(lines) == 1 + 20 + 2
    assert lines[-2] == f"  and {count - 20} more"
    assert lines[1].startswith("  row 0, product 000000, /nowhere/a.jpg: ")


def test_an_empty_manifest_and_one_without_a_column_are_refused(perfect: pd.DataFrame) -> None:
    with pytest.raises(ManifestError, match="has no rows"):
        validate(perfect.head(0))
    with pytest.raises(ManifestError, match="no column role"):
        validate(perfect.drop(columns="role"))


# ---- going on without broken photos


def test_few_broken_photos_are_dropped_with_products_that_lose_their_only_photo(
    perfect: pd.DataFrame,
) -> None:
    Path(perfect["path"][0]).unlink()  # the product photo of product 000000
    Path(perfect["path"][3]).write_bytes(b"")  # the person photo of product 000001
    kept, dropped = drop_broken_photos(perfect, find_faults(perfect), limit=0.5)
    assert kept["path"].tolist() == perfect["path"][[2, 4, 5]].tolist()
    assert dropped["row"].tolist() == [0, 1, 3]
    assert dropped["fault"].tolist() == [
        "no such file; check the path",
        "its product has no usable product photo left",
        "is empty (0 bytes); copy or download it again",
    ]
    validate(kept)


def test_too_many_broken_photos_stop_the_work(perfect: pd.DataFrame) -> None:
    Path(perfect["path"][0]).unlink()
    with pytest.raises(ManifestError, match=r"1 of 6 rows .* limit of 1\.0%"):
        drop_broken_photos(perfect, find_faults(perfect))


def test_faults_of_the_table_are_never_dropped(perfect: pd.DataFrame) -> None:
    frame = perfect.assign(split="somewhere")
    kept, dropped = drop_broken_photos(frame, find_faults(frame))
    assert len(kept) == len(frame)
    assert dropped.empty
