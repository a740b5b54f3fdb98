"""`infer.py compare`: encoders side by side, with tables and curves that say what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers_catalog import draw_photo, save_checkpoint
from matplotlib.figure import Figure
from PIL import Image

import infer
from siamese.attributes import comparison_report
from siamese.attributes.study_commands import named, photos_of_manifest
from siamese.errors import UserError


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 products of three colours, one split each for two, and a person's photo of each.

    A colour histogram finds every colour's products first; stripes mean nothing to it.
    """
    folder = tmp_path_factory.mktemp("shop")
    rows = []
    for number in range(24):
        hue, split = number % 3, ("train", "test")[number // 3 % 2]
        for role in ("product", "person"):
            name = f"{number:02}-{role}.png"
            draw_photo(folder / name, hue=85 * hue, stripes=number % 4 if role == "product" else 5)
            labels = {"colour": ("red", "green", "blue")[hue], "stripes": f"s{number % 4}"}
            rows.append({"path": name, "product_id": f"{number:02}", "role": role, "split": split})
            rows[-1] |= labels
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    save_checkpoint(folder / "a" / "model.safetensors")
    return folder


def run(shop: Path, out: Path, *words: object) -> int:
    common = ["--labels", "colour", "stripes", "--top", "3", "--out", out]
    return infer.main(["compare", *map(str, [shop / "manifest.csv", *common, *words])])


def test_the_table_the_csv_and_the_curves_tell_what_each_encoder_finds(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoders = ["colour_histogram", "eigenfaces", shop / "a" / "model.safetensors"]
    words = ["--split", "test", "--encoders", *encoders]
    assert run(shop, tmp_path / "out", *words) == 0
    table = pd.read_csv(tmp_path / "out" / "comparison.csv").set_index("encoder")
    assert list(table.index) == ["colour_histogram", "eigenfaces", "a"]
    histogram = table.loc["colour_histogram"]
    assert histogram["colour at 0"] == 1.0
    assert histogram["stripes at 0"] < 1.0
    assert histogram["colour + stripes at 0"] == 0.0  # no colour has four of one stripe
    assert table["embedding size"].tolist() == [512, 12, 16]  # 12 train photos: 11 components
    assert table[["images/s", "search ms"]].gt(0).all(axis=None)
    assert table["MB"].tolist()[2] > 0
    assert table["person photos top-10"].between(0, 1).all()
    printed = capsys.readouterr().out
    assert "colour: share of 12 products, by tolerance" in printed
    assert printed.count("possible") == 3
    assert "the very product is among the first k for 12 photos of people" in printed
    for name in ("precision.png", "eigenfaces.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert len(np.unique(pixels[::3, ::3].reshape(-1, 3), axis=0)) > 20, name


def test_lines_and_columns_have_any_name(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of dollars matplotlib makes formulas, and a line that begins with `_` it does not name."""
    frame = pd.read_csv(shop / "manifest.csv", dtype=str).rename(columns={"colour": r"$\frac$"})
    frame["path"] = [str(shop / path) for path in frame["path"]]
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    words = ["compare", tmp_path / "manifest.csv", "--labels", r"$\frac$", "--top", "3"]
    words += ["--out", tmp_path, "--encoders", r"_$\frac$:colour_histogram"]
    assert infer.main([*map(str, words)]) == 0
    assert (tmp_path / "precision.png").exists()
    drawn: list[Figure] = []
    monkeypatch.setattr(comparison_report, "save_figure", lambda figure, _: drawn.append(figure))
    assert infer.main([*map(str, words)]) == 0
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [r"_$\frac$", "possible"]


def test_neighbours_may_be_of_the_whole_manifest(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each colour has four test products and four others: seven neighbours, not three."""
    words = ["--split", "test", "--encoders", "colour_histogram", "--top", "7"]
    shares = {}
    for among in ("split", "all"):
        assert run(shop, tmp_path / among, *words, "--among", among) == 0
        table = pd.read_csv(tmp_path / among / "comparison.csv")
        shares[among] = float(table["colour at 0"][0])
    assert shares == {"split": 0.0, "all": 1.0}


def test_neighbours_may_be_of_the_training_split(shop: Path, tmp_path: Path) -> None:
    """Of its colour there are four: as many as asked for, though the test split has more of it."""
    words = ["--split", "test", "--encoders", "colour_histogram", "--among", "train"]
    shares = []
    for top in ("4", "5"):
        assert run(shop, tmp_path / top, *words, "--top", top) == 0
        shares.append(float(pd.read_csv(tmp_path / top / "comparison.csv")["colour at 0"][0]))
    assert shares == [1.0, 0.0]


def test_a_folder_with_a_table_is_compared_whole_and_without_people(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    for number in range(6):
        draw_photo(photos / f"{number}.png", hue=120 * (number % 2))
    lines = [f"{number},{'ab'[number % 2]}" for number in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["id,kind", *lines]))
    words = [photos, "--attributes", tmp_path / "t.csv", "--labels", "kind", "--top", "2"]
    words += ["--encoders", "colour_histogram", "--out", tmp_path / "out"]
    assert infer.main(["compare", *map(str, words)]) == 0
    printed = capsys.readouterr().out
    assert "kind: share of 6 products" in printed
    assert "top-1 " not in printed
    assert pd.read_csv(tmp_path / "out" / "comparison.csv")["kind at 0"].tolist() == [1.0]


def test_wandb_keeps_the_table_and_the_curves_of_an_offline_run(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert run(shop, tmp_path, "--encoders", "colour_histogram", "--wandb") == 0
    (kept,) = tmp_path.glob("wandb/offline-run-*/files/media")
    (table,) = kept.glob("table/comparison_*.table.json")
    content = json.loads(table.read_text())
    rows = pd.read_csv(tmp_path / "comparison.csv")
    assert content["columns"] == list(rows)
    assert content["data"][0][:3] == rows.iloc[0].tolist()[:3]
    (picture,) = kept.glob("images/precision_*.png")
    assert picture.read_bytes() == (tmp_path / "precision.png").read_bytes()


def test_what_was_measured_stays_when_a_later_encoder_cannot_be_had(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights.pth").write_text("no weights")
    words = ["--encoders", "colour_histogram", f"resnet18={tmp_path}/weights.pth"]
    assert run(shop, tmp_path / "out", *words) == 1
    assert "weights.pth: damaged" in capsys.readouterr().err
    rows = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert rows["encoder"].tolist() == ["colour_histogram"]
    assert (tmp_path / "out" / "precision.png").exists()


def test_all_names_are_looked_at_before_the_first_encoder_is_measured(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shop, tmp_path / "out", "--encoders", "colour_histogram", "resnet5") == 1
    error = capsys.readouterr().err
    assert (error.count("\n"), "'resnet5' is no encoder" in error) == (1, True)
    assert not (tmp_path / "out").exists()


def test_lines_are_named_by_the_user_or_by_the_checkpoints_folder() -> None:
    both = "resnet18=a/b.pth+resnet50=c.pth"
    found = named(["ours:runs/x/model.safetensors", "runs/y/model.safetensors", "vit=w.pth", both])
    assert found == {
        "ours": "runs/x/model.safetensors",
        "y": "runs/y/model.safetensors",
        "vit": "vit=w.pth",
        "resnet18+resnet50": both,
    }
    with pytest.raises(UserError, match="two lines are called y; write LABEL:NAME"):
        named(["runs/y/model.safetensors", "more/y/model.safetensors"])


def test_eigenfaces_never_see_the_products_that_are_judged(shop: Path) -> None:
    frame = pd.read_csv(shop / "manifest.csv", dtype=str)
    photos = photos_of_manifest(frame, "test", "all")
    assert len(photos.products) == 24
    assert len(photos.asked) == len(photos.fitted) == len(photos.people) == 12
    assert photos.asked.isdisjoint(photo.product_id for photo in photos.fitted)
    assert not photos_of_manifest(frame, "all", "split").fitted


def test_labels_that_none_of_the_judged_products_has_are_told(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(shop / "manifest.csv", dtype=str)
    frame.loc[frame["split"] == "test", "colour"] = None
    frame.to_csv(shop / "blank.csv", index=False)
    words = ["--labels", "colour", "--split", "test", "--among", "all", "--out", str(tmp_path)]
    code = infer.main(
        ["compare", str(shop / "blank.csv"), "--encoders", "colour_histogram", *words]
    )
    assert (code, "no product has a label colour" in capsys.readouterr().err) == (1, True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--encoders", "resnet5"], "'resnet5' is no encoder; there are siamese"),
        (
            ["--encoders", "colour_histogram", "--labels", "kind"],
            "no product has a label kind; there are colour",
        ),
        (["--encoders", "colour_histogram", "--split", "validation"], "has no such row"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    complaint: str,
    shop: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(shop, tmp_path, *words) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("infer.py: ")
    assert complaint in message


@pytest.mark.parametrize(
    ("source", "words", "complaint"),
    [
        ("", ["--split", "test"], "--split and --among go with a manifest"),
        ("", ["--among", "train"], "--split and --among go with a manifest"),
        ("manifest.csv", ["--attributes", "t.csv"], "--attributes goes with a folder"),
    ],
)
def test_options_of_the_other_kind_of_source_are_refused(
    source: str,
    words: list[str],
    complaint: str,
    shop: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        infer.main(["compare", str(shop / source), "--encoders", "colour_histogram", *words])
    assert f"error: compare: {complaint}" in capsys.readouterr().err.splitlines()[-1]
