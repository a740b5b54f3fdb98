"""Catalogs that nobody thinks of: without products, with labels of any letters, of one product."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from helpers_catalog import Call, assert_one_line, called, draw_photo, index_shop, places

LABELS = ("T-shirt, long", 'Blue "navy"', "a=b;c", "it's", "東京 🙂", "-- x")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products of each label but the last, of which there is one."""
    folder = tmp_path_factory.mktemp("shop")
    labels = [label for label in LABELS for _ in range(2)][:-1]
    for number, _ in enumerate(labels):
        draw_photo(folder / "photos" / f"{number:02}.png", hue=20 * number, stripes=number % 4)
    with open(folder / "rows.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "kind", "städte"])
        writer.writerows([f"{n:02}", label, "Köln"] for n, label in enumerate(labels))
    return index_shop(folder, (folder / "rows.csv").read_text("utf-8").splitlines())


@pytest.fixture
def call(shop: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(command: str, *words: object) -> tuple[int, str, str]:
        return called(capsys, command, *places(shop), *words)

    return run


@pytest.mark.parametrize("label", LABELS)
def test_a_label_of_any_letters_is_filtered_by_voted_on_and_never_shown(
    label: str, call: Call, shop: Path
) -> None:
    search = ["search", shop / "photos" / "00.png", "--json", "--top", "20"]
    status, out, _ = call(*search, "--filter", f"kind={label}", "--vote", "kind", "städte")
    assert status == 0
    (ranking,) = json.loads(out)
    kinds = [match["attributes"]["kind"] for match in ranking["matches"]]
    assert kinds == [label] * (1 if label == LABELS[-1] else 2)
    assert [vote["label"] for vote in ranking["votes"]] == [label, "Köln"]
    status, out, _ = call(*search, "--never", f"kind={label}")
    kinds = [match["attributes"]["kind"] for match in json.loads(out)[0]["matches"]]
    assert (status, set(kinds)) == (0, set(LABELS) - {label})


def test_the_candidate_of_a_single_product_is_itself(call: Call) -> None:
    status, out, _ = call("candidates", "--label", "kind", "--json")
    found = {row["label"]: row for row in json.loads(out)}
    assert (status, set(found)) == (0, set(LABELS))
    assert (found["-- x"]["product_id"], found["-- x"]["similarity"]) == ("10", 1)


def test_labels_of_any_letters_are_explored(
    call: Call, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--catalog", shop / "catalog", "--out", tmp_path, "--labels", "kind", "städte"]
    assert called(capsys, "explore", *words)[::2] == (0, "")
    counts = pd.read_csv(tmp_path / "labels.csv")
    assert set(counts["label"]) == {*LABELS, "Köln"}
    assert (tmp_path / "samples_städte.png").exists()


def test_an_empty_catalog_is_one_clear_line_whatever_is_asked(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shop"
    draw_photo(folder / "photos" / "00.png", hue=0)
    index_shop(folder, ["id,kind", "00,Hat"])
    at = places(folder)
    assert called(capsys, "remove", *at, "00")[0] == 0
    photo = folder / "photos" / "00.png"
    cases: list[tuple[list[object], str]] = [
        (["search", *at, photo], "the catalog is empty"),
        (["search", *at, photo, "--vote", "kind"], "the catalog is empty"),
        (["search", *at, photo, "--filter", "kind=Hat"], "there are none"),
        (["search", *at, "--product", "00"], "has no product 00"),
        (["variants", *at, "00"], "no product 00"),
        (["complements", *at, "00"], "no product 00"),
        (["candidates", *at], "the catalog is empty"),
        (["explore", *at[:2], "--out", tmp_path / "out"], "the catalog is empty"),
        (["tagger", "train", *at, "--tagger", tmp_path / "t"], "the catalog is empty"),
        (["flag", "train", "kind", *at, "--flag", tmp_path / "f"], "the catalog is empty"),
    ]
    for words, message in cases:
        assert_one_line(lambda *given: called(capsys, *given), words, message)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]
    assert called(capsys, "list", *at)[:2] == (0, "no products\n")
