"""infer.py end to end: every command, and one clear line for every input that is wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers_catalog import ROOT, draw_photo, environment, save_checkpoint
from PIL import Image, ImageColor

import infer
from siamese.catalog import Catalog
from siamese.sheet import MARGIN, PANEL

Run = Callable[..., "Outcome"]
STEMS = [f"0{i:02d}" for i in range(8)]  # ids whose zeros must survive


class Outcome:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight product photos, their attributes, a checkpoint, and a catalog of all of it."""
    folder = tmp_path_factory.mktemp("shop")
    for number, stem in enumerate(STEMS):
        draw_photo(folder / "photos" / f"{stem}.png", hue=30 * number, stripes=number % 4)
    kinds = ("It's", "Tshirts")
    lines = [f"{stem},{kinds[int(stem) % 2]},{int(stem)}.5,0{stem}" for stem in STEMS]
    (folder / "shop.csv").write_text("\n".join(["id,articleType,price,sku", *lines]))
    save_checkpoint(folder / "model.safetensors")
    save_checkpoint(folder / "other.safetensors", seed=1)
    save_checkpoint(folder / "strict.safetensors", threshold=0.9)
    words = ["--photos", folder / "photos", "--attributes", folder / "shop.csv"]
    assert infer.main(["index", *common(folder), *map(str, words)]) == 0
    return folder


def common(folder: Path) -> list[str]:
    return ["--catalog", f"{folder}/catalog", "--checkpoint", f"{folder}/model.safetensors"]


@pytest.fixture
def run(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls infer.py on a copy of the shop's catalog, in this process."""
    shutil.copytree(shop / "catalog", tmp_path / "catalog")
    defaults = ["--catalog", str(tmp_path / "catalog"), *common(shop)[2:]]

    def call(command: str, *words: object) -> Outcome:
        capsys.readouterr()
        try:
            code = infer.main([command, *defaults, *map(str, words)])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def bad_photo(tmp_path: Path) -> Path:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    return tmp_path / "bad.jpg"


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
    assert run("add", "new", front, back, "--set", "price=4", "sku=0042", "sale=true").code == 0
    (added,) = run("list", "--where", "sale", "--json").json
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


def worn_manifest(folder: Path, shop: Path, stems: list[str]) -> Path:
    """A test split whose person photos are copies of the product photos, so all are found."""
    (folder / "worn").mkdir()
    for stem in stems:
        shutil.copy(shop / "photos" / f"{stem}.png", folder / "worn")
    rows = [
        f"{place}/{stem}.png,{stem},{role},test"
        for stem in stems
        for place, role in ((shop / "photos", "product"), ("worn", "person"))
    ]
    (folder / "worn.csv").write_text("\n".join(["path,product_id,role,split", *rows]))
    return folder / "worn.csv"


@pytest.mark.parametrize(("limit", "count"), [([], 5), (["--distractor-limit", "2"], 2)])
def test_evaluation_ranks_the_products_of_a_folder_as_distractors(
    run: Run, shop: Path, tmp_path: Path, limit: list[str], count: int
) -> None:
    """Products 0 to 2 are asked for, so of the folder's eight photos five are distractors."""
    worn = worn_manifest(tmp_path, shop, STEMS[:3])
    words = ["evaluate", worn, "--distractors", shop / "photos", "--json", *limit]
    lines = run(*words).json["retrieval"]
    assert list(lines) == ["all", f"3 + {count} distractors"]
    crowded = lines[f"3 + {count} distractors"]
    assert (crowded["catalog_size"], crowded["queries"], crowded["top_1"]) == (3 + count, 3, 1.0)


def test_distractors_may_be_a_manifest_and_are_never_what_is_asked_for(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    crowd = tmp_path / "crowd.csv"
    rows = [f"{shop}/photos/{stem}.png,of one,product,train" for stem in STEMS[5:]]
    crowd.write_text("\n".join(["path,product_id,role,split", *rows]))
    worn = worn_manifest(tmp_path, shop, STEMS[:3])
    text = run("evaluate", worn, "--distractors", crowd).out
    assert "3 + 1 distractors" in text
    refused = run("evaluate", worn, "--distractors", worn)
    assert refused.code == 1
    assert "all of its products are among those evaluated" in refused.err


def test_strangers_may_ask_a_catalog(run: Run, shop: Path, tmp_path: Path, bad_photo: Path) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for stem in STEMS[4:6]:
        shutil.copy(shop / "photos" / f"{stem}.png", strangers)
    worn = worn_manifest(tmp_path, shop, STEMS[:3])
    lines = run("evaluate", worn, "--strangers", strangers, "--json").json["open_set"]
    assert list(lines) == ["half of the products", "what 2 strangers wear"]
    assert lines["what 2 strangers wear"]["queries"] == 2 * 2 * 20
    table = tmp_path / "strangers.csv"
    cells = [f"strangers/{stem}.png,person,2,2,30,30" for stem in STEMS[4:6]]
    table.write_text("\n".join(["path,role,x1,y1,x2,y2", *cells, "none.png,product,,,,"]))
    boxed = run("evaluate", worn, "--strangers", table, "--json").json["open_set"]
    assert list(boxed) == list(lines)
    assert boxed != lines  # another part of the photos
    table.write_text("path,role\nnone.png,product")
    assert "no row of role person" in run("evaluate", worn, "--strangers", table).err
    shutil.copy(bad_photo, strangers)
    refused = run("evaluate", worn, "--strangers", strangers)
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert "1 of 3 photos cannot be used, more than --max-broken" in refused.err


def test_evaluation_refuses_a_table_that_training_would_refuse(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    """All faults at once and by row: a product in two splits would be a leak."""
    table = worn_manifest(tmp_path, shop, STEMS[:3])
    with table.open("a") as file:
        file.write(f"\n{shop}/photos/005.png,000,product,train\nworn/006.png,006,person,train")
    refused = run("evaluate", table)
    assert (refused.code, refused.out) == (1, "")
    assert "the manifest has 2 faults" in refused.err
    assert "row 6, product 000" in refused.err
    assert "in several splits: test, train" in refused.err
    assert "row 7, product 006" in refused.err
    assert "has no product photo" in refused.err


def test_evaluation_leaves_out_unusable_boxes_of_its_split_up_to_the_limit(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    """Row 1 is a person photo of product 000; row 6, of another split, is nobody's business."""
    table = worn_manifest(tmp_path, shop, STEMS[:3])
    frame = pd.read_csv(table, dtype=str)
    frame.loc[6] = [f"{shop}/photos/005.png", "005", "product", "train"]
    for name in ("x1", "y1", "x2", "y2"):
        frame.loc[[1, 6], name] = "9"
    frame.to_csv(table, index=False)
    refused = run("evaluate", table)
    assert refused.code == 1
    assert "row 1, product 000" in refused.err
    assert "the box has no area: 9, 9, 9, 9" in refused.err
    assert "row 6" not in refused.err
    done = run("evaluate", table, "--json", "--max-broken", "0.2")
    assert done.json["retrieval"]["all"]["queries"] == 2
    assert done.err.startswith("skipped row 1, ")


def test_an_explanation_is_drawn_for_each_query_beside_whatever_else_is_asked(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    drawn, sheet = tmp_path / "why.png", tmp_path / "found.jpg"
    photo = shop / "photos" / "003.png"
    alone = run("search", photo, "--explain", drawn, "--sheet", sheet, "--json")
    assert alone.json[0]["matches"][0]["product_id"] == "003"
    assert alone.err == ""
    assert sheet.exists()
    with Image.open(drawn) as one:
        height = one.height
    assert run("search", photo, photo, "--explain", drawn, "--top", "1").code == 0
    with Image.open(drawn) as two:
        assert two.height > height + 400


def test_an_explanation_looks_at_the_box_alone(run: Run, shop: Path, tmp_path: Path) -> None:
    """The box is three wide and two high: it fills the middle of the higher panel, alone."""
    drawn, photo = tmp_path / "why.png", shop / "photos" / "003.png"
    assert run("search", photo, "--explain", drawn, "--box", "0,0,60,40").code == 0
    with Image.open(drawn) as picture:
        panel = picture.crop((MARGIN, MARGIN, MARGIN + 360, MARGIN + 480))
    empty = ImageColor.getrgb(PANEL)
    heights = [y for y in range(480) if panel.getpixel((180, y)) != empty]
    assert (heights[1], heights[-2]) == (120, 359)  # within the panel's border
    assert panel.getpixel((5, 240)) != empty


def test_products_whose_photo_is_gone_or_another_by_now_are_explained_as_far_as_they_can(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "moving"
    shutil.copytree(shop / "photos", folder)
    place = tmp_path / "of-moving"
    assert run("index", "--photos", folder, "--catalog", place).code == 0
    (folder / "003.png").unlink()
    draw_photo(folder / "004.png", hue=200, stripes=7)
    words = ["search", shop / "photos" / "003.png", "--catalog", place, "--top", "8"]
    assert run(*words, "--explain", tmp_path / "why.png", "--where", "product_id = '003'").err == ""
    found = run(*words, "--explain", tmp_path / "why.png", "--where", "product_id = '004'")
    assert found.code == 0
    assert found.err.count("\n") == 1
    assert "004.png: has changed" in found.err


def test_a_query_that_likes_have_moved_says_nothing_of_changed_photos(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    words = ["search", shop / "photos" / "003.png", "--explain", tmp_path / "why.png"]
    found = run(*words, "--like", "005")
    assert (found.code, found.err) == (0, "")


def bad_inputs(shop: Path, bad: Path) -> list[tuple[int, str, list[object]]]:
    """(exit code, part of the message, words) of everything that a user may get wrong."""
    photo, empty = shop / "photos" / "001.png", bad.parent / "empty"
    empty.mkdir()
    (bad.parent / "empty.csv").write_text("")
    (bad.parent / "colours.csv").write_text("colour\nred\n")
    (bad.parent / "roles.csv").write_text("path,product_id,role,split\na.png,1,person,test\n")
    (bad.parent / "shop.csv").write_text("path,product_id,role,split\na.png,1,shop,test\n")
    box = "path,product_id,role,split,x1,y1,x2,y2\na.png,1,product,test,"
    (bad.parent / "box.csv").write_text(f"{box}a,1,50,60\n")
    half = bad.parent / "half.csv"
    half.write_text(f"{box},1,50,60\n")
    sound = bad.parent / "sound.csv"
    sound.write_text("path,product_id,role,split\na.png,1,product,test\n")
    search: list[object] = ["search", photo]
    return [
        (1, "bad.jpg: not a photo", ["search", bad]),
        (1, "none of the 2 photos can be used", ["search", bad, bad]),
        (1, "no such file", ["search", "/missing.jpg"]),
        (1, "no photo in this folder", ["search", empty]),
        (1, "no column prize", [*search, "--where", "prize < 3"]),
        (1, "holds for none of the 8 products", [*search, "--where", "price > 99"]),
        (1, "made by another encoder", [*search, "--checkpoint", shop / "other.safetensors"]),
        (1, "no such checkpoint", [*search, "--checkpoint", "/missing"]),
        (1, "not a checkpoint or damaged", [*search, "--checkpoint", bad]),
        (1, "/missing: no such catalog", [*search, "--catalog", "/missing"]),
        (1, "the picture cannot be written", [*search, "--sheet", "/proc/sheet.png"]),
        (1, "the picture cannot be written", [*search, "--explain", "/proc/why.png"]),
        (1, "--device nonsense", [*search, "--device", "nonsense"]),
        (2, "does not end in .png", [*search, "--sheet", "sheet.txt"]),
        (2, "does not end in .png", [*search, "--explain", "why.pdf"]),
        (2, "is no box", [*search, "--box", "1,2,3"]),
        (2, "is no box", [*search, "--box", "5,5,1,9"]),
        (2, "--box goes with one photo", ["search", photo, photo, "--box", "1,2,3,4"]),
        (2, "no whole number from 1", [*search, "--top", "0"]),
        (2, "invalid choice: 'median'", [*search, "--product-score", "median"]),
        (2, "invalid choice: 'twice'", [*search, "--rerank", "twice"]),
        (2, "invalid choice: 'int4'", [*search, "--codes", "int4"]),
        (1, "none of the 2 photos can be used", ["search", bad, bad, "--together"]),
        (2, "give photos, or --product", ["search"]),
        (2, "give photos, or --product", [*search, "--product", "001"]),
        (1, "has 001 already", ["add", "001", photo]),
        (1, "bad.jpg: not a photo", ["add", "new", bad]),
        (1, "1 of 2 photos cannot be used", ["add", "new", photo, bad]),
        (1, "'price' holds numbers", ["add", "new", photo, "--set", "price=cheap"]),
        (1, "write it as key=value", ["add", "new", photo, "--set", "price"]),
        (1, "cannot be named '_rowid'", ["add", "new", photo, "--set", "_rowid=1"]),
        (1, "cannot be a product id", ["add", "", photo]),
        (2, "give a product id and photos, or --manifest", ["add"]),
        (2, "give its photos", ["add", "new"]),
        (2, "--set is for one product", ["add", "--manifest", "m.csv", "--set", "a=b"]),
        (2, "give its photos", ["update", "001"]),
        (1, "has no product new", ["update", "new", "--set", "price=1"]),
        (1, "has no product x, y", ["remove", "001", "x", "y"]),
        (1, "no column prize", ["list", "--where", "prize < 3"]),
        (1, "/missing: no such catalog", ["list", "--catalog", "/missing"]),
        (1, "/missing.csv: no such file", ["index", "/missing.csv", "--overwrite"]),
        (1, "empty.csv: is empty", ["index", bad.parent / "empty.csv", "--overwrite"]),
        (1, "no rows of role `product`", ["index", bad.parent / "roles.csv", "--overwrite"]),
        (1, "row 0: unknown role 'shop'", ["index", bad.parent / "shop.csv", "--overwrite"]),
        (1, "row 0: the box needs four", ["index", bad.parent / "box.csv", "--overwrite"]),
        (1, "row 0: the box needs four", ["index", half, "--overwrite"]),
        (1, "no such file", ["evaluate", "/missing.csv"]),
        (1, "1 of 1 photos cannot be used", ["evaluate", sound]),
        (1, "/missing: no such folder", ["index", "--photos", "/missing", "--overwrite"]),
        (
            1,
            "no column product_id or id",
            ["index", "--overwrite", "--photos", shop / "photos"]
            + ["--attributes", bad.parent / "colours.csv"],
        ),
        (1, "/missing: no such file", ["evaluate", sound, "--distractors", "/missing"]),
        (1, "no photo in this folder", ["evaluate", sound, "--distractors", empty]),
        (1, "no photo in this folder", ["evaluate", sound, "--strangers", empty]),
        (1, "/missing: no such folder", ["evaluate", sound, "--strangers", "/missing"]),
        (2, "goes with --distractors", ["evaluate", "m.csv", "--distractor-limit", "3"]),
        (2, "is no whole number", ["evaluate", "m.csv", "--distractor-limit", "0"]),
        (2, "--attributes goes with --photos", ["index", "m.csv", "--attributes", "a.csv"]),
        (2, "is no number from 0 to 1", ["index", "m.csv", "--max-broken", "2"]),
        (2, "is required", ["index"]),
    ]


def test_every_bad_input_is_one_clear_line_and_changes_nothing(
    run: Run, shop: Path, bad_photo: Path, tmp_path: Path
) -> None:
    before = Catalog.open(tmp_path / "catalog").products()
    for code, message, words in bad_inputs(shop, bad_photo):
        outcome = run(*words)
        explained = f"{words}: {outcome.code} {outcome.out!r} {outcome.err!r}"
        assert outcome.code == code, explained
        assert message in outcome.err, explained
        assert outcome.out == "", explained
        own = [line for line in outcome.err.splitlines() if not line.startswith("skipped ")]
        if code == 1:
            assert len(own) == 1, explained
            assert own[0].startswith("infer.py: "), explained
    pd.testing.assert_frame_equal(Catalog.open(tmp_path / "catalog").products(), before)


def test_programming_errors_keep_their_traceback_and_interrupts_are_quiet(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: type[BaseException]) -> Callable[[object], None]:
        def command(arguments: object) -> None:
            raise error

        return command

    monkeypatch.setitem(infer.COMMANDS, "list", fail(TypeError))
    with pytest.raises(TypeError):
        run("list")
    monkeypatch.setitem(infer.COMMANDS, "list", fail(KeyboardInterrupt))
    outcome = run("list")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


def test_the_search_imports_no_training_or_web_library(shop: Path) -> None:
    heavy = ["pytorch_lightning", "timm", "torchvision", "sklearn", "matplotlib", "albumentations"]
    heavy += ["fastapi", "starlette", "uvicorn", "prometheus_client"]
    code = (
        "import sys, infer\n"
        "status = infer.main(sys.argv[1:])\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(status)"
    )
    photo = str(shop / "photos" / "002.png")
    done = subprocess.run(
        [sys.executable, "-c", code, "search", *common(shop), photo, "--json"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "[]\n"
    assert json.loads(done.stdout)[0]["matches"][0]["product_id"] == "002"


def test_a_closed_pipe_is_quiet(shop: Path) -> None:
    """The reader is gone before anything is written, as after `| head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "infer.py", "list", *common(shop)],
        cwd=ROOT,
        env=environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == infer.BROKEN_PIPE


def test_control_c_ends_an_index_quietly_and_leaves_the_old_catalog(
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("siamese.checkpoint.Checkpoint.embed_pixels", interrupted)
    outcome = run("index", "--photos", shop / "photos", "--overwrite")
    assert (outcome.code, outcome.out, outcome.err) == (infer.INTERRUPTED, "", "")
    assert "price" in run("list", "--json").json[0]
