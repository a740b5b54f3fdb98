"""infer.py end to end: catalogs are made and changed, and photos searched."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers_catalog import ROOT, draw_photo, environment
from helpers_infer import STEMS, Run, common
from PIL import Image

from siamese.catalog import Catalog


def product_ids(run: Run, *words: str) -> list[str]:
    return [row["product_id"] for row in run("list", "--json", *words).json]


def test_a_folder_and_a_csv_become_a_catalog_with_typed_attributes(run: Run, shop: Path) -> None:
    listed = run("list", "--json").json
    assert [row["product_id"] for row in listed] == STEMS
    assert listed[1] == {
        "product_id": "001",
        "photos": 1,
        "path": str(shop / "photos" / "001.png"),
        "articleType": "Tshirts",
        "price": 1.5,
        "sku": "0001",
    }
    text = run("list", "--where", "articleType = 'It''s' AND price > 3", "--limit", "1").out
    assert text.splitlines()[1].split()[:2] == ["004", "1"]
    assert run("list", "--where", "price > 99").out == "no products\n"


def test_a_search_finds_each_product_by_its_own_photo(run: Run, shop: Path) -> None:
    answers = run("search", shop / "photos", "--json", "--top", "3").json
    assert [Path(answer["query"]).stem for answer in answers] == STEMS
    for answer, stem in zip(answers, STEMS, strict=True):
        first = answer["matches"][0]
        assert first["product_id"] == stem
        assert first["cosine"] == pytest.approx(1, abs=1e-5)
        assert first["attributes"]["sku"] == f"0{stem}"
        assert len(answer["matches"]) == 3
        assert answer["in_catalog"]


def test_people_read_rank_product_scores_and_attributes(run: Run, shop: Path) -> None:
    found = run("search", shop / "photos" / "003.png", "--top", "2")
    heading, columns, first, second = found.out.splitlines()
    assert "probably in this catalog (probability 0.8" in heading
    assert "threshold 0.500)" in heading
    assert columns.split() == ["rank", "product", "probability", "cosine", "attributes"]
    expected = ["1.000", "articleType", "Tshirts,", "price", "3.5,"]
    assert first.split()[:2] == ["1", "003"]
    assert first.split()[3:8] == expected
    assert second.split()[0] == "2"
    assert found.err == ""


def test_under_the_threshold_a_photo_is_probably_not_in_the_catalog(run: Run, shop: Path) -> None:
    """The strict checkpoint is the same encoder with a threshold above what a cosine of 1 gets."""
    words = ["search", shop / "photos" / "003.png", "--checkpoint", shop / "strict.safetensors"]
    assert not run(*words, "--json").json[0]["in_catalog"]
    heading, _, first, *_ = run(*words).out.splitlines()
    assert "probably not in this catalog (probability 0.8" in heading
    assert "threshold 0.900)" in heading
    assert first.split()[1] == "003"


def test_products_are_added_updated_and_removed_one_by_one(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    front, back = (draw_photo(tmp_path / f"{s}.png", 5, 9) for s in ("front", "back"))
    codes = ["sku=0042", "code=12E4", "shelf=12_34"]
    assert run("add", "new", front, back, "--set", "price=4", *codes, "sale=true").code == 0
    long = "SUMMER2024_WOMEN_TOPS_LINEN_0042"
    assert run("add", long, back, "--set", "articleType=one\nline").code == 0
    for words in (["list"], ["search", back]):
        (line,) = [line for line in run(*words).out.splitlines() if long in line]
        assert "one line" in line
    assert run("remove", long).code == 0
    (added,) = run("list", "--where", "sale", "--json").json
    assert (added["code"], added["shelf"]) == ("12E4", "12_34")
    assert added["product_id"] == "new"
    assert (added["photos"], added["price"], added["sku"]) == (2, 4, "0042")
    assert run("search", front, "--json").json[0]["matches"][0]["product_id"] == "new"
    assert run("update", "new", "--set", "price=", "articleType=it's a=b").code == 0
    (changed,) = run("list", "--where", "sale", "--json").json
    assert (changed["photos"], changed["price"]) == (2, None)
    assert changed["articleType"] == "it's a=b"
    assert run("update", "new", front, "--set", "price=5").code == 0
    (changed,) = run("list", "--where", "price = 5", "--json").json
    assert (changed["photos"], changed["sku"]) == (1, "0042")
    assert run("remove", "new", "003").code == 0
    assert product_ids(run) == [stem for stem in STEMS if stem != "003"]


@pytest.fixture
def manifest(shop: Path, tmp_path: Path) -> Path:
    """Two new products, one with two photos and one with a box, and a person's photo."""
    for name in ("a", "b", "c", "worn"):
        draw_photo(tmp_path / "new" / f"{name}.png", hue=40, stripes=len(name))
    rows = [
        ("new/a.png", "010", "product", "train", None, "Tops", 3),
        ("new/b.png", "010", "product", "train", None, "Tops", None),
        ("new/c.png", "011", "product", "test", 10, None, None),
        ("new/worn.png", "011", "person", "test", None, None, None),
    ]
    columns = ["path", "product_id", "role", "split", "x1", "articleType", "stock"]
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.assign(y1=frame.x1, x2=frame.x1 + 30, y2=frame.x1 + 40)
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path / "manifest.csv"


def test_a_manifest_gives_its_product_photos_boxes_and_attributes(
    run: Run, manifest: Path, tmp_path: Path
) -> None:
    place = tmp_path / "from-manifest"
    assert run("index", manifest, "--catalog", place).code == 0
    first, second = run("list", "--json", "--catalog", place).json
    assert (first["product_id"], first["photos"], first["stock"]) == ("010", 2, 3)
    assert (second["product_id"], second["photos"], second["stock"]) == ("011", 1, None)
    assert set(first) == {"product_id", "photos", "path", "articleType", "stock"}
    photo = tmp_path / "new" / "c.png"
    words = ["search", photo, "--catalog", place, "--json", "--where", "product_id = '011'"]
    boxed = run(*words, "--box", "10,10,40,50").json[0]["matches"][0]["cosine"]
    whole = run(*words).json[0]["matches"][0]["cosine"]
    assert boxed == pytest.approx(1, abs=1e-6)
    assert whole < boxed


def test_a_manifest_adds_and_updates_many(run: Run, manifest: Path) -> None:
    assert run("add", "--manifest", manifest).code == 0
    assert product_ids(run) == [*STEMS, "010", "011"]
    refused = run("add", "--manifest", manifest)
    assert (refused.code, "has 010, 011 already" in refused.err) == (1, True)
    assert run("update", "--manifest", manifest).code == 0


def test_digits_of_a_manifest_are_text_where_the_catalog_holds_text(
    run: Run, manifest: Path
) -> None:
    assert run("update", "001", "--set", "size=M").code == 0
    frame = pd.read_csv(manifest, dtype=str)
    frame.assign(size=["38", "38", "40", "38"]).to_csv(manifest, index=False)
    assert run("add", "--manifest", manifest).code == 0
    sizes = {row["product_id"]: row["size"] for row in run("list", "--json").json}
    assert (sizes["001"], sizes["010"], sizes["011"]) == ("M", "38", "40")


def test_an_existing_catalog_is_replaced_only_when_asked(run: Run, shop: Path) -> None:
    words = ["index", "--photos", shop / "photos"]
    refused = run(*words)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert run(*words, "--overwrite").code == 0
    assert set(run("list", "--json").json[0]) == {"product_id", "photos", "path"}


def test_broken_photos_are_named_and_skipped_up_to_the_limit(
    run: Run, shop: Path, tmp_path: Path, bad_photo: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(shop / "photos", folder)
    shutil.copy(bad_photo, folder / "bad.jpg")
    words = ["index", "--photos", folder, "--overwrite"]
    refused = run(*words)
    assert refused.code == 1
    assert "1 of 9 photos cannot be used, more than --max-broken 0.01" in refused.err
    assert str(folder / "bad.jpg") in refused.err
    assert "price" in run("list", "--json").json[0]  # the old catalog is still there
    done = run(*words, "--max-broken", "0.2")
    assert done.code == 0
    assert done.err.startswith(f"skipped {folder / 'bad.jpg'}: ")
    assert product_ids(run) == STEMS
    batch = run("search", folder, "--json", "--top", "1")
    assert len(batch.json) == 8
    assert batch.err.count("skipped") == 1


def test_several_photos_of_one_garment_are_asked_together(
    run: Run, shop: Path, bad_photo: Path, tmp_path: Path
) -> None:
    """Two copies of one photo are asked as one; a broken one is left out."""
    photo, other = shop / "photos" / "003.png", shop / "photos" / "005.png"
    (alone,) = run("search", photo, "--json").json
    sheet = tmp_path / "found.png"
    (twice,) = run("search", photo, photo, "--together", "--json", "--sheet", sheet).json
    assert sheet.exists()
    assert (alone.pop("together"), twice.pop("together")) == ([], [str(photo)])
    assert twice["matches"][0]["cosine"] == pytest.approx(1, abs=1e-6)
    assert [m["product_id"] for m in twice["matches"]] == [
        m["product_id"] for m in alone["matches"]
    ]
    mixed = run("search", photo, bad_photo, other, "--together", "--top", "2")
    heading, _, *lines = mixed.out.splitlines()
    assert heading.startswith(f"{photo} and 1 more: probably")
    assert {line.split()[1] for line in lines} == {"003", "005"}
    assert "skipped" in mixed.err


def test_products_may_be_scored_by_their_mean_and_ranked_again(run: Run, shop: Path) -> None:
    photo = shop / "photos" / "003.png"
    plain = run("search", photo, "--json").json
    assert run("search", photo, "--json", "--product-score", "mean").json == plain
    for rerank in ("expansion", "reciprocal"):
        (again,) = run("search", photo, "--json", "--rerank", rerank).json
        assert again["probability"] == plain[0]["probability"]
        assert again["matches"][0] == plain[0]["matches"][0]
        by_id = {m["product_id"]: m for m in plain[0]["matches"]}
        assert {m["product_id"]: m for m in again["matches"]} == by_id
    for codes in ("int8", "binary"):  # of a small catalog: each finds all that the vectors find
        (coded,) = run("search", photo, "--json", "--codes", codes).json
        assert coded["matches"] == plain[0]["matches"]


def test_a_sheet_is_drawn_for_all_queries(run: Run, shop: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "sheets" / "found.png"
    assert run("search", shop / "photos", "--top", "3", "--sheet", drawn).code == 0
    with Image.open(drawn) as sheet:
        assert sheet.height > 8 * 200


def test_json_is_utf_8_whatever_the_locale_says(shop: Path, tmp_path: Path) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    Catalog.open(tmp_path / "shop" / "catalog").set_attributes(["003"], {"name": "Blüse 😀"})
    done = subprocess.run(
        [sys.executable, "infer.py", "list", "--json", *common(tmp_path / "shop")],
        cwd=ROOT,
        env=environment() | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)[3]["name"] == "Blüse 😀"


def test_the_answers_come_before_a_picture_that_cannot_be_written(run: Run, shop: Path) -> None:
    photo = shop / "photos" / "003.png"
    found = run("search", photo).out
    for option in ("--sheet", "--explain"):
        done = run("search", photo, option, "/proc/found.png")
        assert (done.code, done.out) == (1, found)
        assert done.err.startswith("infer.py: /proc/found.png: the picture cannot be written")
        assert done.err.count("\n") == 1
