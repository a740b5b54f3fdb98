"""`infer.py search --garment`: looks at the garment that the user names, or says it is missing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_catalog import draw_photo, save_checkpoint
from helpers_isolation import KnownIsolation, groups_with, isolation_of
from PIL import Image

import infer
from siamese import garment_choice
from siamese.adaptation import Adaptation
from siamese.checkpoint_file import load_checkpoint
from siamese.isolation_file import save_isolation

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four products in a catalog, and a person who wears 002 as a top and 000 below."""
    folder = tmp_path_factory.mktemp("shop")
    for number in range(4):
        draw_photo(folder / "photos" / f"00{number}.png", hue=60 * number, stripes=number)
    save_checkpoint(folder / "model.safetensors")
    save_isolation(isolation_of("upper"), folder / "upper.safetensors")
    words = ["--photos", folder / "photos", *common(folder)]
    assert infer.main(["index", *map(str, words)]) == 0
    person = Image.new("RGB", (100, 200), (120, 120, 120))
    person.paste(Image.open(folder / "photos" / "002.png"), (20, 15))
    person.paste(Image.open(folder / "photos" / "000.png"), (20, 105))
    person.save(folder / "person.png")
    return folder


def common(folder: Path) -> list[str]:
    return ["--catalog", f"{folder}/catalog", "--checkpoint", f"{folder}/model.safetensors"]


@pytest.fixture
def run(shop: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Status, output and messages of a search."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = infer.main(["search", *common(shop), *map(str, words)])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def dressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file, what is found is the person's top and trousers."""
    groups = groups_with((200, 100), upper=(26, 21, 74, 89), lower=(26, 111, 74, 179))
    monkeypatch.setattr(garment_choice, "load_isolation", lambda _: KnownIsolation(groups))


def first(out: str) -> Any:
    return json.loads(out)[0]["matches"][0]


@pytest.mark.usefixtures("dressed")
def test_the_named_garment_is_searched_for(run: Run, shop: Path) -> None:
    for garment, expected in (("upper", "002"), ("lower", "000"), ("largest", "002")):
        code, out, _ = run(shop / "person.png", "--garment", garment, "--json")
        assert code == 0
        assert first(out)["product_id"] == expected


@pytest.mark.usefixtures("dressed")
def test_a_garment_is_what_its_box_with_margin_is(run: Run, shop: Path) -> None:
    """6 % of the longer side, 68 pixels, are 4.08."""
    _, found, _ = run(shop / "person.png", "--garment", "lower", "--json")
    _, boxed, _ = run(shop / "person.png", "--box", "21.92,106.92,78.08,183.08", "--json")
    assert json.loads(found) == json.loads(boxed)


@pytest.mark.usefixtures("dressed")
def test_to_an_adapted_encoder_a_garment_is_a_part_of_a_person(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of products it would take off another mean."""
    given = load_checkpoint(shop / "model.safetensors")
    size = given.embedding_size
    mean = torch.randn(2, size, generator=torch.Generator().manual_seed(0)) / size**0.5
    adapted = replace(given, adaptation=Adaptation(mean[0], mean[1], torch.eye(size)))
    adapted.save(tmp_path / "model.safetensors")
    place = list(map(str, common(tmp_path)))
    assert infer.main(["index", "--photos", str(shop / "photos"), *place]) == 0
    told = []
    for words in (["--garment", "lower"], ["--box", "21.92,106.92,78.08,183.08"]):
        capsys.readouterr()
        assert infer.main(["search", str(shop / "person.png"), *place, "--json", *words]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]


@pytest.mark.usefixtures("dressed")
def test_a_box_of_the_user_wins_and_that_is_said(run: Run, shop: Path) -> None:
    words = [shop / "person.png", "--box", "20,105,80,185", "--json"]
    alone, both = run(*words), run(*words, "--garment", "upper")
    assert both[:2] == alone[:2]
    assert both[2] == "infer.py: --box is given, so --garment is not looked for\n"
    assert alone[2] == ""


def test_with_a_box_no_isolation_is_needed(run: Run, shop: Path) -> None:
    words = [shop / "person.png", "--box", "20,105,80,185", "--garment", "upper"]
    assert run(*words, "--isolation", "missing.safetensors")[0] == 0


@pytest.mark.usefixtures("dressed")
def test_without_background_the_garment_is_before_white(run: Run, shop: Path) -> None:
    """The drawn product lies on near-white, the person's photo is grey around it."""
    words = [shop / "person.png", "--garment", "lower", "--json"]
    kept, removed = first(run(*words)[1]), first(run(*words, "--remove-background")[1])
    assert removed["product_id"] == kept["product_id"] == "000"
    assert removed["cosine"] != kept["cosine"]


@pytest.mark.usefixtures("dressed")
def test_a_missing_garment_is_one_line_and_a_failure(run: Run, shop: Path) -> None:
    code, out, err = run(shop / "person.png", "--garment", "shoes")
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert "person.png: no garment of group shoes found (upper, lower was" in err


def test_of_several_photos_those_without_the_garment_are_skipped(
    run: Run, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnlyWide(KnownIsolation):
        def find(self, photo: Image.Image) -> list[garment_choice.Garment]:
            return super().find(photo) if photo.width > 60 else []

    known = OnlyWide(groups_with((200, 100), upper=(26, 21, 74, 89)))
    monkeypatch.setattr(garment_choice, "load_isolation", lambda _: known)
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    photos = [shop / "photos" / "000.png", tmp_path / "bad.jpg", shop / "person.png"]
    code, out, err = run(*photos, "--garment", "upper", "--json")
    assert code == 0
    (answer,) = json.loads(out)
    assert answer["query"] == str(shop / "person.png")
    assert answer["matches"][0]["product_id"] == "002"
    assert [line.split(":")[0] for line in err.splitlines()] == [
        f"skipped {photo}" for photo in photos[:2]
    ]
    code, _, err = run(photos[0], photos[0], "--garment", "upper")
    assert code == 1
    assert "none of the 2 photos can be used" in err


def test_a_missing_isolation_says_how_to_get_one(run: Run, shop: Path, tmp_path: Path) -> None:
    missing = tmp_path / "isolation.safetensors"
    code, _, err = run(shop / "person.png", "--garment", "upper", "--isolation", missing)
    assert code == 1
    assert err.count("\n") == 1
    for part in (str(missing), "python -m datasets.isolation_training", "--box"):
        assert part in err


def test_a_real_file_of_isolation_is_used(run: Run, shop: Path) -> None:
    """It takes the whole photo for a top, so that the answer is that without isolation."""
    file = shop / "upper.safetensors"
    words = [shop / "person.png", "--json"]
    assert run(*words, "--garment", "upper", "--isolation", file)[1] == run(*words)[1]
    assert run(*words, "--garment", "bag", "--isolation", file)[0] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--garment", "hat"], "invalid choice: 'hat'"),
        (["--garment", "upper", "--explain", "why.png"], "--explain does not go with --garment"),
        (["--remove-background"], "--remove-background goes with --garment"),
        (["--garment", "upper", "--isolation", "torchvision/nothing"], "no such detector"),
        (["--garment", "upper", "--isolation-weights", "w.pth"], "goes with --isolation torch"),
    ],
)
def test_wrong_options_are_one_clear_message(
    run: Run, shop: Path, words: list[str], message: str
) -> None:
    code, _, err = run(shop / "person.png", *words)
    assert code in (1, 2)
    assert message in err
    assert np.all([not line.startswith("Traceback") for line in err.splitlines()])
