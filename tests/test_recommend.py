"""Search with taste, and the commands that suggest: as somebody would call them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from helpers_catalog import (
    Call,
    assert_one_line,
    called,
    draw_photo,
    index_shop,
    places,
)

import infer
from siamese.attributes.tagger import load_tagger
from siamese.catalog import CatalogError
from siamese.checkpoint_file import load_checkpoint
from siamese.finder import Finder
from siamese.recommend.narrowing import NarrowingFinder
from siamese.recommend.personal import PersonalFinder
from siamese.recommend.taste import Taste

COLOURS = ("Black", "Blue", "Yellow")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty photos in three colours, and a catalog of them."""
    folder = tmp_path_factory.mktemp("shop")
    lines = ["id,baseColour,gender,articleType,subCategory"]
    for number, colour in zip(range(30), itertools.cycle(COLOURS), strict=False):
        hue = {"Black": 0, "Blue": 160, "Yellow": 40}[colour] + number // 3
        draw_photo(folder / "photos" / f"{number:02}.png", hue, number % 5)
        lines.append(f"{number:02},{colour},Men,Shirts,{('Topwear', 'Shoes')[number % 2]}")
    return index_shop(folder, lines)


@pytest.fixture
def call(shop: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(command: str, *words: object) -> tuple[int, str, str]:
        return called(capsys, command, *places(shop), *words)

    return run


def test_a_narrowed_search_ranks_the_kind_alone_and_a_filter_comes_before_it(
    call: Call, shop: Path, tmp_path: Path
) -> None:
    tagger = tmp_path / "tagger.safetensors"
    words = [*places(shop), "--tagger", str(tagger), "--input", "embedding"]
    assert infer.main(["tagger", "train", *words, "--columns", "subCategory", "baseColour"]) == 0
    finder = Finder(load_checkpoint(shop / "model.safetensors"), f"{shop}/catalog")
    narrowing = NarrowingFinder(finder, load_tagger(tagger), label="baseColour")
    query = torch.from_numpy(finder.catalog.snapshot().means[2:3])
    (ranking,) = narrowing.rank_embeddings(query, 30)
    kind = int(narrowing.kinds(finder.catalog.snapshot(), query)[0])
    assert {match.attributes["baseColour"] for match in ranking.matches} == {COLOURS[kind]}
    assert len(ranking.matches) == 10
    elsewhere = f"baseColour != '{COLOURS[kind]}'"
    assert len(narrowing.rank_embeddings(query, 30, elsewhere)[0].matches) == 20
    status, out, _ = call("search", shop / "photos" / "02.png", "--json", "--narrow", tagger)
    assert status == 0
    assert len(colours(out)) == 20  # all are shirts for men
    words[-1] = "features"
    assert infer.main(["tagger", "train", *words, "--columns", "subCategory"]) == 0
    status, _, err = call("search", shop / "photos" / "02.png", "--narrow", tagger)
    assert (status, "narrowing needs a tagger of subCategory" in err) == (1, True)


def colours(out: str) -> list[str]:
    return [match["attributes"]["baseColour"] for match in json.loads(out)[0]["matches"]]


def test_a_search_never_shows_what_is_hated_and_moves_up_what_is_preferred(
    call: Call, shop: Path, tmp_path: Path
) -> None:
    search = ["search", shop / "photos" / "02.png", "--json", "--top", "10"]
    assert "Yellow" in colours(call(*search)[1])
    profile = tmp_path / "taste.json"
    profile.write_text('{"never": {"baseColour": ["Yellow"]}}')
    for words in (["--never", "baseColour=yellow"], ["--taste", profile]):
        status, out, _ = call(*search, *words)
        assert (status, len(colours(out))) == (0, 10)
        assert "Yellow" not in colours(out)
    preferred = colours(call(*search, "--prefer", "baseColour=Blue")[1])
    assert preferred.count("Blue") >= colours(call(*search)[1]).count("Blue")
    liked = json.loads(call(*search, "--like", "01", "--dislike", "02")[1])[0]["matches"]
    assert "02" not in [match["product_id"] for match in liked]
    assert call(*search, "--variety", "0")[1] == call(*search)[1]
    assert call(*search, "--variety", "0.9")[1] != call(*search)[1]
    status, _, err = call(*search, "--variety", "0.9", "--rerank", "reciprocal")
    assert (status, err.count("\n")) == (1, 1)
    assert "--rerank does not go with preferred values and --variety" in err


def test_likes_move_the_query_towards_them(shop: Path) -> None:
    finder = Finder(load_checkpoint(shop / "model.safetensors"), f"{shop}/catalog")
    query = torch.from_numpy(finder.catalog.snapshot().means[:1])
    (before,) = finder.rank_embeddings(query, 30)
    (after,) = PersonalFinder(finder, Taste(likes=("01",))).rank_embeddings(query, 30)
    place = {m.product_id: n for n, m in enumerate(before.matches)}
    moved = {m.product_id: n for n, m in enumerate(after.matches)}
    assert moved["01"] < place["01"]
    (plain,) = PersonalFinder(finder, Taste()).rank_embeddings(query, 30)
    assert plain == before
    everything = Taste(never={"baseColour": COLOURS})
    with pytest.raises(CatalogError, match="rules out every product"):
        PersonalFinder(finder, everything).rank_embeddings(query)


def test_the_commands_show_suggestions(call: Call, tmp_path: Path) -> None:
    status, out, _ = call("variants", "02", "--sheet", tmp_path / "v.png")
    assert (status, sorted(line.split()[0] for line in out.splitlines())) == (0, ["Black", "Blue"])
    assert (tmp_path / "v.png").exists()
    status, out, _ = call("variants", "02", "--json", "--never", "baseColour=Blue")
    assert [row["why"] for row in json.loads(out)] == ["Black"]
    status, out, _ = call("complements", "02", "--json", "--sheet", tmp_path / "c.png")
    assert [row["why"] for row in json.loads(out)] == ["Shoes"] * 3
    sets = tmp_path / "sets.csv"
    sets.write_text("set_id,product_id\na,02\na,05\nb,04\nb,07\n")
    status, out, _ = call("complements", "02", "--sets", sets)
    assert out.split()[:2] == ["Shoes", "05"]
    status, out, _ = call("candidates", "--label", "baseColour")
    assert [line.split()[:2] for line in out.splitlines()] == [[c, "10"] for c in COLOURS]
    assert len(json.loads(call("candidates", "--json")[1])) == 1


def test_every_bad_input_is_one_clear_line(call: Call, shop: Path, tmp_path: Path) -> None:
    photo = shop / "photos" / "02.png"
    tables = {"lone": "set_id,product_id\na,1\n", "odd": "set,product\n1,2\n"}
    tables["short"] = "set_id,product_id\n,\na\n"
    for name, content in tables.items():
        (tmp_path / f"{name}.csv").write_text(content)
    (tmp_path / "number.json").write_text('{"never": {"baseColour": 5}}')
    cases: list[tuple[list[object], str]] = [
        (["search", photo, "--never", "baseColour=Yelow"], "there are Black, Blue, Yellow"),
        (["search", photo, "--prefer", "colour=Red"], "no column 'colour'; there are baseColour"),
        (["search", photo, "--never", "baseColour"], "--never baseColour: write it as COLUMN="),
        (["search", photo, "--like", "99"], "no product 99"),
        (["search", photo, "--taste", "/missing"], "/missing: the profile cannot be read"),
        (["variants", "99"], "no product 99"),
        (["complements", "02", "--sets", "/missing"], "the sets cannot be read"),
        (["complements", "02", "--sets", tmp_path / "lone.csv"], "no set has two products"),
        (["complements", "02", "--sets", tmp_path / "odd.csv"], "needs the columns set_id and"),
        (["complements", "02", "--sets", tmp_path / "short.csv"], "line 3 lacks set_id or"),
        (["complements", "02", "--category", "kind"], "no column 'kind'; there are"),
        (["candidates", "--label", "kind"], "no column 'kind'; there are"),
        (["candidates", "--where", "kind = 1"], "no column kind"),
        (["candidates", "--where", "gender = 'Mn'"], "no product has gender 'Mn'; there are Men"),
        (["search", photo, "--taste", tmp_path / "number.json"], "no value 5; there are Black"),
    ]
    for words, message in cases:
        assert_one_line(call, words, message)
