"""Which photos of which products a folder or a table means, told where it is not plain."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from helpers_catalog import draw_photo
from helpers_infer import Run

from datasets.manifest import read_csv_as_text, with_numbers
from datasets.places import folder_photos, people_at
from siamese.listing import listed_in_folder, photos_in


def test_photos_of_every_suffix_and_of_linked_folders_are_found_once(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.JPG", "c.j2k", "notes.txt", "sub/d.png"):
        (tmp_path / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shop" / name).write_bytes(b"")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "e.webp").write_bytes(b"")
    (tmp_path / "shop" / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "shop" / "sub" / "around").symlink_to(tmp_path / "shop")  # leads to where it lies
    found = [Path(path).name for path in photos_in(tmp_path / "shop")]
    assert sorted(found) == ["a.jfif", "b.JPG", "c.j2k", "d.png", "e.webp"]


def test_an_accent_may_be_written_in_two_ways(tmp_path: Path) -> None:
    """As macOS names files, and as tables have it."""
    (tmp_path / (unicodedata.normalize("NFD", "café") + ".jpg")).write_bytes(b"")
    for form in ("NFC", "NFD"):
        table = pd.DataFrame({"id": [unicodedata.normalize(form, "café")], "colour": ["red"]})
        (photo,) = listed_in_folder(tmp_path, table)
        assert (photo.product_id, photo.attributes["colour"]) == ("café", "red")


def test_one_name_in_two_folders_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for product in ("4711", "4712"):
        (tmp_path / product).mkdir()
        (tmp_path / product / "front.jpg").write_bytes(b"")
    (tmp_path / "4711" / "back.jpg").write_bytes(b"")
    assert [photo.product_id for photo in folder_photos(str(tmp_path), None)] == [
        "back", "front", "front",
    ]  # fmt: skip
    told = capsys.readouterr().err
    assert told.startswith("photos of the same name in several folders are taken as one product: ")
    assert "front; if they are not, give --attributes with product_id and path" in told


def test_rows_of_photos_that_differ_are_told_and_the_first_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(b"")
    table = tmp_path / "shop.csv"
    table.write_text("product_id,path,colour\nA,1.jpg,blue\nA,2.jpg,red\n")
    folder_photos(str(tmp_path), str(table))
    assert "rows of product A differ; of each attribute the first" in capsys.readouterr().err
    table.write_text("product_id,path,colour\nA,1.jpg,blue\nA,2.jpg,blue\n")
    folder_photos(str(tmp_path), str(table))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_are_separated_as_spreadsheets_do(separator: str, tmp_path: Path) -> None:
    lines = ["id,price,stock", "007,1.5,TRUE", "008,2,false"]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines).replace(",", separator))
    found = with_numbers(read_csv_as_text(path))
    assert found["price"].tolist() == [1.5, 2.0]
    assert found["stock"].tolist() == [True, False]
    assert found["id"].tolist() == ["007", "008"]


def test_people_may_be_listed_in_parquet(tmp_path: Path) -> None:
    rows = {"path": ["/a.jpg", "/b.jpg"], "role": ["person", "product"], "product_id": ["1", "1"]}
    pd.DataFrame(rows).assign(split="test").to_parquet(tmp_path / "people.parquet")
    assert people_at(str(tmp_path / "people.parquet")) == [("/a.jpg", None)]


def test_an_empty_cell_of_an_update_takes_nothing_away(run: Run, tmp_path: Path) -> None:
    photo = draw_photo(tmp_path / "p.png", hue=9)
    (tmp_path / "update.csv").write_text(
        f"path,product_id,role,split,articleType,price\n{photo},001,product,train,,9\n"
    )
    assert run("update", "--manifest", tmp_path / "update.csv").code == 0
    (found,) = run("list", "--where", "product_id = '001'", "--json").json
    assert (found["articleType"], found["price"], found["sku"]) == ("Tshirts", 9, "0001")


def test_what_no_catalog_could_hold_is_told_before_a_photo_is_opened(
    run: Run, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamese.commands.embed_with_bar", lambda *_: pytest.fail("embedded"))
    photos = ["index", "--photos", shop / "photos", "--overwrite"]
    (tmp_path / "bad.csv").write_text("id,Path\n001,x")
    refused = run(*photos, "--attributes", tmp_path / "bad.csv")
    assert "attribute 'Path' differs from the column 'path'" in refused.err
    (tmp_path / "file").write_text("")
    assert "Not a directory" in run(*photos, "--catalog", tmp_path / "file" / "c").err
    odd = tmp_path / "odd"
    odd.mkdir()
    for name in ("a\u202e.jpg", "b\u202e.jpg"):
        (odd / name).write_bytes(b"")
    told = run("index", "--photos", odd, "--overwrite").err
    assert "'a\\u202e', 'b\\u202e' cannot be a product id" in told
    photo = shop / "photos" / "001.png"
    assert "has 001 already" in run("add", "001", photo).err
    assert "'price' holds numbers" in run("add", "new", photo, "--set", "price=x").err


def test_a_decimal_comma_is_told(run: Run, shop: Path) -> None:
    photo = shop / "photos" / "001.png"
    told = run("add", "new", photo, "--set", "weight=1,5")
    assert told.code == 0
    assert told.err == "--set weight=1,5: kept as text; write 1.5 for a number\n"
    wrong = run("list", "--where", "weight < 2")
    assert "compares a column that holds text with a number; quote the text" in wrong.err


def test_photos_that_are_gone_are_told_by_an_explanation(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    photo = draw_photo(tmp_path / "gone.png", hue=3)
    assert run("add", "gone", photo).code == 0
    asked = draw_photo(tmp_path / "asked.png", hue=3)
    photo.unlink()
    told = run("search", asked, "--explain", tmp_path / "why.png", "--top", "1")
    assert told.code == 0
    assert f"{photo}: cannot be opened, so nothing explains it" in told.err


def test_a_column_of_numbers_that_a_cell_spoils_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "shop.csv"
    lines = ["id,price,code,kind"]
    for number in range(12):
        (tmp_path / f"p{number}.jpg").write_bytes(b"")
        price = '"1,299.00"' if number == 3 else str(number)
        lines.append(f"p{number},{price},{'x' if number else ''}0{number},{'ab'[number % 2]}")
    table.write_text("\n".join(lines))
    folder_photos(str(tmp_path), str(table))
    assert capsys.readouterr().err == (
        f"{table}: column price holds text, since '1,299.00' is no number; mend it if numbers are "
        "meant\n"
    )
