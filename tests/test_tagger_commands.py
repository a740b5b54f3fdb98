"""`infer.py tagger`: train, measure, predict and fill, as somebody would call it."""

import json
import shutil
from pathlib import Path

import pytest
from helpers_catalog import (
    Call,
    assert_one_line,
    called,
    draw_photo,
    index_shop,
    places,
)

from siamese.attributes.tagger import load_tagger
from siamese.checkpoint_file import load_checkpoint
from siamese.finder import Finder
from siamese.output import rankings_as_text


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty photos in two hues, their labels (some lacking), a checkpoint and a catalog."""
    folder = tmp_path_factory.mktemp("shop")
    lines = ["id,colour,kind"]
    for number in range(40):
        red = number % 2 == 0
        draw_photo(folder / "photos" / f"{number:02}.png", hue=(0 if red else 160) + number // 4)
        colour = "" if number in (4, 5) else ("red" if red else "blue")
        lines.append(f"{number:02},{colour},{'ab'[number % 4 // 2]}")
    return index_shop(folder, lines)


@pytest.fixture
def call(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(action: str, *words: object) -> tuple[int, str, str]:
        own = [*places(shop), "--tagger", f"{tmp_path}/tagger.safetensors"]
        return called(capsys, "tagger", action, *own, *words)

    return run


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", ["features", "embedding"])
def test_the_commands_train_measure_predict_and_fill(
    call: Call, shop: Path, tmp_path: Path, kind: str, output: str
) -> None:
    words = [
        "--input",
        kind,
        "--output",
        output,
        "--columns",
        "colour",
        "--confusion",
        tmp_path / "pictures",
    ]
    status, out, err = call("train", *words)
    assert (status, err) == (0, "")
    assert "all 1 labels right at once: 1.000" in out
    assert (tmp_path / "pictures" / "colour.png").exists()
    status, out, _ = call("evaluate", "--json")
    assert json.loads(out)["columns"][0]["accuracy"] == 1
    photo = shop / "photos" / "04.png"
    _, out, _ = call("predict", photo, "--json")
    assert json.loads(out)[0]["tags"]["colour"]["value"] == "red"
    _, out, _ = call("predict", photo)
    assert ": colour red (" in out


def test_filling_is_seen_in_list_and_search(call: Call, shop: Path, tmp_path: Path) -> None:
    call("train", "--columns", "colour")
    place = tmp_path / "filled"
    shutil.copytree(shop / "catalog", place)
    status, out, _ = call("apply", "--catalog", place)
    assert (status, "filled colour of 2 products" in out) == (0, True)
    assert call("apply", "--catalog", place)[0] == 0  # again, with a newer tagger say
    finder = Finder(load_checkpoint(shop / "model.safetensors"), str(place))
    (ranking,) = finder.rank([str(shop / "photos" / "04.png")], top=40)
    own = next(match for match in ranking.matches if match.product_id == "04")
    assert own.attributes["colour"] == "red"
    assert 0.5 < float(own.attributes["colour_predicted"] or 0) <= 1
    lines = list(rankings_as_text([ranking], 0.5))
    marked = [line for line in lines if "colour red (predicted " in line]
    assert len(marked) == 1
    assert "predicted 1.0" in marked[0] or "predicted 0.9" in marked[0]
    assert not any("colour_predicted" in line for line in lines)


def test_every_bad_input_is_one_clear_line(call: Call, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    cases: list[tuple[list[object], str]] = [
        (["train", "--columns", "color"], "no column 'color'; there are colour, kind"),
        (["train", "--where", "color = 'x'"], "no column color"),
        (["train", "--where", "colour = 'rde'"], "no product has colour 'rde'; there are red"),
        (["train", "--union", "Unisex"], "write it as Unisex=Men+Women"),
        (["train", "--union", "x=red+blue"], "no column has all of these values"),
        (["train", "--union", "red=red+blue"], "red=red+blue: red is a union, too"),
        (["train", "--union", "x=red+blue", "y=a+x"], "y=a+x: x is a union, too"),
        (["train", "--split", "/missing.csv"], "no such file"),
        (["evaluate"], "make a tagger with infer.py tagger train"),
        (["apply"], "no such file"),
        (["predict", shop / "photos"], "no such file"),
    ]
    for words, message in cases:
        assert_one_line(call, words, message)
    call("train", "--columns", "colour")
    status, _, err = call("predict", tmp_path / "bad.jpg")
    assert (status, "bad.jpg: not a photo" in err) == (1, True)
    status, _, err = call("predict", shop / "photos", tmp_path / "bad.jpg")
    assert (status, err.count("skipped")) == (0, 1)


def test_a_tagger_is_never_measured_on_products_that_it_was_trained_on(
    call: Call, shop: Path, tmp_path: Path
) -> None:
    """The manifests hold out different products of one shop."""
    train = ["train", "--columns", "colour", "--input", "embedding"]
    few = manifest(tmp_path / "few.csv", shop, test=["00", "01"])
    others = manifest(tmp_path / "others.csv", shop, test=["02", "03"])
    most = manifest(tmp_path / "most.csv", shop, test=["00", "01", "02", "03"])
    assert call(*train, "--split", few)[0] == 0
    status, out, err = call("evaluate", "--json", "--split", few)
    assert (status, json.loads(out)["products"], err) == (0, 2, "")
    status, out, err = call("evaluate", "--json", "--split", most)
    assert (status, json.loads(out)["products"]) == (0, 2)
    assert "2 of 4 products for testing are left out: the tagger was trained on them" in err
    assert err.count("\n") == 1
    assert_one_line(call, ["evaluate", "--split", others], "was trained on all 2 products that are")
    forget(tmp_path / "tagger.safetensors")  # a file of before: nothing is known
    status, out, err = call("evaluate", "--json", "--split", most)
    assert (status, json.loads(out)["products"], err) == (0, 4, "")


def manifest(path: Path, shop: Path, test: list[str]) -> Path:
    """A manifest of the shop's photos, a product each, that holds out these."""
    lines = ["product_id,path,role,split"]
    for photo in sorted((shop / "photos").iterdir()):
        split = "test" if photo.stem in test else "train"
        lines.append(f"{photo.stem},{photo},product,{split}")
    path.write_text("\n".join(lines))
    return path


def forget(path: Path) -> None:
    """Make a tagger's file one of the time before it kept what it was trained on."""
    tagger = load_tagger(path)
    tagger.trained_on = None
    tagger.save(path)


def test_a_tagger_of_joined_columns_alone_fills_nothing_and_says_so(call: Call) -> None:
    call("train", "--columns", "colour+kind", "--input", "embedding")
    assert_one_line(call, ["apply"], "predicts colour+kind, which is no column of")
    call("train", "--columns", "colour+kind", "kind", "--input", "embedding")
    status, out, _ = call("apply")
    assert (status, "no label of kind is missing" in out) == (0, True)


def test_pictures_of_confusions_have_safe_names(call: Call, tmp_path: Path) -> None:
    words = ["--columns", "colour+kind", "kind", "--input", "embedding", "--confusion", tmp_path]
    assert call("train", *words)[0] == 0
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["colour_kind.png", "kind.png"]


def test_a_column_that_is_named_twice_is_trained_once(call: Call) -> None:
    words = ["--columns", "kind", "kind", "--input", "embedding", "--json"]
    status, out, _ = call("train", *words)
    assert (status, [column["name"] for column in json.loads(out)["columns"]]) == (0, ["kind"])
