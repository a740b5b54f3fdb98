"""One clear line for every input of infer.py that is wrong, and quiet interrupts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from helpers_catalog import ROOT, environment
from helpers_infer import Run, common

import infer
from siamese.catalog import Catalog


def bad_inputs(shop: Path, bad: Path) -> list[tuple[int, str, list[object]]]:
    """(exit code, part of the message, words) of everything that a user may get wrong."""
    photo, empty = shop / "photos" / "001.png", bad.parent / "empty"
    empty.mkdir()
    (bad.parent / "empty.csv").write_text("")
    (bad.parent / "colours.csv").write_text("colour\nred\n")
    (bad.parent / "twice.csv").write_text("id,colour\n001,red\n001,blue\n")
    (bad.parent / "roles.csv").write_text("path,product_id,role,split\na.png,1,person,test\n")
    (bad.parent / "shop.csv").write_text("path,product_id,role,split\na.png,1,shop,test\n")
    box = "path,product_id,role,split,x1,y1,x2,y2\na.png,1,product,test,"
    (bad.parent / "box.csv").write_text(f"{box}a,1,50,60\n")
    half = bad.parent / "half.csv"
    half.write_text(f"{box},1,50,60\n")
    shutil.copytree(shop / "photos", bad.parent / "caf\udce9")  # Latin-1, of an old disk
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
        (1, "'price' holds numbers", ["add", "new", photo, "--set", "price=12_34"]),
        (1, "'price' holds numbers", ["add", "new", photo, "--set", "price=nan"]),
        (1, "--device meta: cannot be used", ["search", photo, "--device", "meta"]),
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
        (
            1,
            "rows of product 001 differ",
            ["index", "--overwrite", "--photos", shop / "photos"]
            + ["--attributes", bad.parent / "twice.csv"],
        ),
        (1, "/missing: no such file", ["evaluate", sound, "--distractors", "/missing"]),
        (1, "no photo in this folder", ["evaluate", sound, "--distractors", empty]),
        (1, "no photo in this folder", ["evaluate", sound, "--strangers", empty]),
        (1, "/missing: no such file", ["evaluate", sound, "--strangers", "/missing"]),
        (2, "goes with --distractors", ["evaluate", "m.csv", "--distractor-limit", "3"]),
        (2, "is no whole number", ["evaluate", "m.csv", "--distractor-limit", "0"]),
        (2, ". is a folder; --photos . takes the photos in it", ["index", "."]),
        (2, "--attributes goes with --photos", ["index", "m.csv", "--attributes", "a.csv"]),
        (2, "is no number from 0 to 1", ["index", "m.csv", "--max-broken", "2"]),
        (1, "name is not UTF-8", ["index", "--photos", bad.parent / "caf\udce9", "--overwrite"]),
        (1, "--device nonsense", ["serve", "--device", "nonsense"]),
        (2, "is no port from 1 to 65535", ["serve", "--port", "70000"]),
        (2, "is required", ["index"]),
        (2, "--catalog: is empty; name a folder", ["list", "--catalog", ""]),
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

    monkeypatch.setattr("siamese.checkpoint.Checkpoint.see", interrupted)
    outcome = run("index", "--photos", shop / "photos", "--overwrite")
    assert (outcome.code, outcome.out, outcome.err) == (infer.INTERRUPTED, "", "")
    assert "price" in run("list", "--json").json[0]
