"""`infer.py evaluate`: its tables, distractors and strangers."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers_infer import STEMS, Run
from torch.nn import functional

from siamese.checkpoint_file import load_checkpoint
from siamese.cohort import Cohort


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
    links = tmp_path / "links"
    links.symlink_to(shop / "photos")
    linked = [f"{links}/{stem}.png,another {stem},product,train" for stem in STEMS[:3]]
    crowd.write_text("\n".join([crowd.read_text(), *linked]))
    text = run("evaluate", worn, "--distractors", crowd).out
    assert "3 + 1 distractors" in text
    refused = run("evaluate", worn, "--distractors", worn)
    assert refused.code == 1
    assert "all of its products are among those evaluated" in refused.err


def test_copies_of_what_is_asked_for_are_no_distractors(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    """Of eight copied photos three are asked for; a file of the same length is none of them."""
    worn = worn_manifest(tmp_path, shop, STEMS[:3])
    shutil.copytree(shop / "photos", tmp_path / "copies")
    sought = (tmp_path / "copies" / f"{STEMS[0]}.png").read_bytes()
    (tmp_path / "copies" / "other.png").write_bytes(sought[:-1] + b"?")
    lines = run("evaluate", worn, "--distractors", tmp_path / "copies", "--json").json["retrieval"]
    assert list(lines) == ["all", "3 + 6 distractors"]


def test_products_of_the_checkpoints_own_cohort_are_told(
    run: Run, shop: Path, tmp_path: Path
) -> None:
    worn = worn_manifest(tmp_path, shop, STEMS[:3])
    model = load_checkpoint(shop / "model.safetensors")
    vectors = torch.randn(120, model.embedding_size, generator=torch.manual_seed(0))
    others = functional.normalize(vectors, dim=1)
    shown = model.embed([shop / "photos" / f"{stem}.png" for stem in STEMS[1:3]])
    for known, told in ((others, ""), (torch.cat([shown, others]), "2 of 3 product photos are in")):
        model.own_cohort = Cohort(known)
        model.save(tmp_path / "with.safetensors")
        err = run("evaluate", worn, "--checkpoint", tmp_path / "with.safetensors").err
        assert told in err
        assert bool(told) == ("cohort" in err)


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
    nobody = tmp_path / "nobody"
    nobody.mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(bad_photo, nobody / name)
    for option in ("--strangers", "--distractors"):
        refused = run("evaluate", worn, option, nobody, "--max-broken", "1")
        assert refused.code == 1
        assert refused.err.splitlines()[-1] == f"infer.py: {option}: none of 2 photos can be used"
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
