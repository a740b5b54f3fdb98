"""`index --encoder`, inventory queries, scores from 0 to 1, votes and filters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers_catalog import Call, called, draw_photo, save_checkpoint
from PIL import Image

import infer
from siamese import pictures
from siamese.catalog import Catalog
from siamese.checkpoint_file import load_checkpoint
from siamese.default_checkpoint import KEPT
from siamese.sheet import SheetRow, ranking_sheet


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine products of three colours; of 07 the kind is not known."""
    folder = tmp_path_factory.mktemp("shop")
    lines = ["id,kind,price"]
    for number in range(9):
        draw_photo(folder / "photos" / f"{number:02}.png", hue=85 * (number % 3), stripes=number)
        kind = "" if number == 7 else ("Tshirts", "Shirts", "Tops")[number % 3]
        lines.append(f"{number:02},{kind},{number}.5")
    (folder / "shop.csv").write_text("\n".join(lines))
    save_checkpoint(folder / "model.safetensors")
    words = ["--photos", folder / "photos", "--attributes", folder / "shop.csv"]
    words += ["--catalog", folder / "catalog", "--encoder", "colour_histogram"]
    assert infer.main(["index", *map(str, words)]) == 0
    return folder


@pytest.fixture
def call(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command on a copy of the catalog: exit status, output and errors."""
    shutil.copytree(shop / "catalog", tmp_path / "catalog")

    def run(command: str, *words: object) -> tuple[int, str, str]:
        return called(capsys, command, "--catalog", tmp_path / "catalog", *words)

    return run


def answer(call: Call, *words: object) -> Any:
    code, out, err = call("search", *words, "--json")
    assert (code, err) == (0, "")
    (ranking,) = json.loads(out)
    return ranking


def ids(ranking: Any) -> list[str]:
    return [match["product_id"] for match in ranking["matches"]]


@pytest.mark.parametrize("encoder", ["eigenfaces", "colour_histogram+{0}/model.safetensors"])
def test_a_catalog_of_any_encoder_is_searched_without_naming_it(
    encoder: str, call: Call, shop: Path, tmp_path: Path
) -> None:
    words = ["--photos", shop / "photos", "--overwrite", "--encoder", encoder.format(shop)]
    assert call("index", *words)[0] == 0
    kept = load_checkpoint(tmp_path / "catalog" / KEPT)
    assert kept.fingerprint == Catalog.open(tmp_path / "catalog").fingerprint
    for number in (0, 5):
        photo = shop / "photos" / f"{number:02}.png"
        assert ids(answer(call, photo))[0] == f"{number:02}"
    draw_photo(tmp_path / "new.png", hue=40, stripes=3)
    assert call("add", "new", tmp_path / "new.png")[0] == 0
    assert ids(answer(call, tmp_path / "new.png"))[0] == "new"
    code, _, err = call("search", shop / "photos", "--checkpoint", shop / "model.safetensors")
    assert (code, "made by another encoder" in err) == (1, True)


def test_eigenfaces_recognise_up_to_their_tolerance(call: Call, shop: Path, tmp_path: Path) -> None:
    words = ["--photos", shop / "photos", "--overwrite", "--encoder", "eigenfaces"]
    darker = draw_photo(tmp_path / "other.png", hue=45, stripes=2)
    for tolerance, recognised in ((0.5, False), (200, True)):
        code, out, _ = call("index", *words, "--tolerance", tolerance)
        assert (code, out.endswith(f"of 9 photos, tolerance {tolerance}\n")) == (0, True)
        assert answer(call, shop / "photos" / "03.png")["in_catalog"]
        assert answer(call, darker)["in_catalog"] == recognised


def test_a_checkpoint_takes_the_place_of_a_kept_encoder(
    call: Call, shop: Path, tmp_path: Path
) -> None:
    words = ["--photos", shop / "photos", "--overwrite"]
    assert call("index", *words, "--checkpoint", shop / "model.safetensors")[0] == 0
    assert not (tmp_path / "catalog" / KEPT).exists()
    code, _, err = call("search", shop / "photos" / "00.png")
    assert (code, "made by another encoder" in err) == (1, True)  # than the shipped one


@pytest.mark.parametrize("named", [True, False])
def test_a_catalog_that_is_made_anew_with_its_own_encoder_keeps_it(
    named: bool, call: Call, shop: Path, tmp_path: Path
) -> None:
    """It may be the only copy: fitted encoders are in no other file."""
    own = tmp_path / "catalog" / KEPT
    before = load_checkpoint(own).fingerprint
    words = ["--photos", shop / "photos", "--overwrite", *(["--checkpoint", own] if named else [])]
    assert call("index", *words)[0] == 0
    assert load_checkpoint(own).fingerprint == before == Catalog.open(own.parent).fingerprint
    assert ids(answer(call, shop / "photos" / "05.png"))[0] == "05"


def test_evaluate_measures_the_encoder_of_the_catalog_that_is_named(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for number in range(9):
        worn = draw_photo(shop / "worn" / f"{number:02}.png", hue=30 * number, stripes=number)
        rows.append(f"{shop}/photos/{number:02}.png,{number:02},product,test")
        rows.append(f"{worn},{number:02},person,test")
    listed = shop / "pairs.csv"
    listed.write_text("\n".join(["path,product_id,role,split", *rows]))
    told = [
        called(capsys, "evaluate", listed, "--json", *words)[1]
        for words in (
            ["--catalog", shop / "catalog"],
            ["--checkpoint", shop / "catalog" / KEPT],
            [],
        )
    ]
    assert told[0] == told[1] != told[2]
    with pytest.raises(SystemExit):
        infer.main(["evaluate", str(listed), "--catalog", str(shop / "photos")])
    assert "keeps no encoder; give its --checkpoint" in capsys.readouterr().err


def test_an_encoder_that_was_not_fitted_to_pairs_tells_no_probability(
    call: Call, shop: Path
) -> None:
    code, out, _ = call("search", shop / "photos" / "00.png", "--top", 1)
    assert code == 0
    heading, _, first = out.splitlines()
    assert heading.endswith("ranked by likeness alone, this encoder was not fitted to pairs")
    assert first.split()[:4] == ["1", "00", "unknown", "1.000"]


def test_programs_are_told_no_probability_of_such_an_encoder(call: Call, shop: Path) -> None:
    ranking = answer(call, shop / "photos" / "00.png", "--top", 2)
    told = [ranking["in_catalog"], ranking["probability"]]
    assert told + [match["probability"] for match in ranking["matches"]] == [None] * 4


def test_a_sheet_tells_what_the_table_tells(
    call: Call, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a product of the catalog it does not say that this is not in it."""
    drawn: list[SheetRow] = []

    def keep(rows: Sequence[SheetRow]) -> Image.Image:
        drawn.extend(rows)
        return ranking_sheet(rows)

    monkeypatch.setattr(pictures, "ranking_sheet", keep)
    sheet = ["--sheet", tmp_path / "s.png", "--top", 3, "--vote", "kind"]
    _, out, _ = call("search", "--product", "04", "--normalised", *sheet)
    (row,) = drawn
    assert list(row.caption)[:2] == ["04", "and what is like it"]
    assert row.caption[2].startswith("kind: Shirts (")
    for line, match in zip(out.splitlines()[3:], row.matches, strict=True):
        _, name, _, cosine, score = line.split()[:5]
        assert match.caption[0].endswith(f". {name}")
        assert list(match.caption[1:3]) == [f"cos {cosine}", f"score {score}"]
        assert ("not predicted:" in match.caption) == ("[kind not predicted]" in line)
    assert any("not predicted:" in match.caption for match in row.matches)
    assert (tmp_path / "s.png").exists()
    drawn.clear()
    call("search", shop / "photos" / "00.png", *sheet)
    assert list(drawn[0].caption)[:2] == ["00.png", "ranked by likeness alone"]


def test_rows_of_a_table_whose_product_has_no_photo_are_named(
    call: Call, shop: Path, tmp_path: Path
) -> None:
    table = tmp_path / "more.csv"
    table.write_text((shop / "shop.csv").read_text() + "\n98,Hat,1\n99,Hat,2\n")
    words = ["--photos", shop / "photos", "--attributes", table, "--overwrite"]
    code, out, err = call("index", *words, "--encoder", "colour_histogram")
    assert (code, err) == (0, f"{table}: no photo of 98, 99, left out\n")
    assert "9 products" in out


def test_what_is_like_a_product_is_ranked_without_itself(call: Call, shop: Path) -> None:
    found = answer(call, "--product", "04", "--top", 99)
    by_photo = answer(call, shop / "photos" / "04.png", "--top", 99)
    assert ids(by_photo)[0] == "04"
    assert ids(found) == ids(by_photo)[1:]
    assert found["product_id"] == "04"
    assert found["query"] == str(shop / "photos" / "04.png")
    assert by_photo["product_id"] is None
    only = answer(call, "--product", "04", "--filter", "kind=Tops", "--where", "price > 3")
    assert sorted(ids(only)) == ["05", "08"]
    assert call("search", "--product", "04")[1].startswith("like product 04:\n")


def test_scores_run_from_the_best_of_all_to_the_worst_whatever_is_shown(
    call: Call, shop: Path
) -> None:
    every = answer(call, shop / "photos" / "00.png", "--top", 9)["matches"]
    cosines = [match["cosine"] for match in every]
    spread = max(cosines) - min(cosines)
    for match in every:
        expected = (match["cosine"] - min(cosines)) / spread
        assert match["score"] == pytest.approx(expected, abs=1e-5)
    assert (every[0]["score"], every[-1]["score"]) == (1, 0)
    few = answer(call, shop / "photos" / "00.png", "--top", 3)["matches"]
    assert [m["score"] for m in few] == [m["score"] for m in every[:3]]
    single = answer(call, shop / "photos" / "00.png", "--where", "product_id = '04'")
    assert single["matches"][0]["score"] == 1
    _, out, _ = call("search", shop / "photos" / "00.png", "--normalised", "--top", 2)
    assert "cosine  score  attributes" in out
    assert out.splitlines()[2].split()[4] == "1.000"


def test_products_found_with_another_label_are_marked(call: Call, shop: Path) -> None:
    ranking = answer(call, "--product", "04", "--top", 5, "--vote", "kind")
    (result,) = ranking["votes"]
    kinds = [match["attributes"].get("kind") for match in ranking["matches"]]
    assert result["column"] == "kind"
    assert result["label"] == "Shirts"
    assert result["not_predicted"] == [kind not in (None, "Shirts") for kind in kinds]
    _, out, _ = call("search", "--product", "04", "--top", 5, "--vote", "kind", "price")
    lines = out.splitlines()
    assert lines[1] == f"kind: Shirts, by {result['share']:.0%} of the vote"
    assert lines[2].startswith("price: ")
    for line, kind in zip(lines[4:], kinds, strict=True):
        assert ("[kind" in line) == (kind not in (None, "Shirts"))


@pytest.mark.parametrize(
    ("code", "complaint", "words"),
    [
        (1, "has no product 99", ["search", "--product", "99"]),
        (1, "leaves no product besides 04", ["search", "--product", "04", "--filter", "price=4.5"]),
        (1, "--vote kid: no such column; there are kind, price", ["--vote", "kid"]),
        (1, "no product has kind 'Hat'; there are", ["--filter", "kind=Hat"]),
        (1, "--filter kid: no such column; there are kind, price", ["--filter", "kid=Hat"]),
        (1, "no product has kind 'Hat'; there are", ["--where", "kind = 'Hat'"]),
        (1, "no product has kind 'Hat'; there are", ["list", "--where", "kind = 'Hat'"]),
        (1, "brackets do not match", ["list", "--where", "true) OR (true"]),
        (2, "does not go with --garment", ["search", "--product", "04", "--together"]),
        (2, "give photos, or --product", ["search"]),
        (2, "not both", ["index", "m.csv", "--encoder", "vit", "--checkpoint", "c"]),
        (2, "goes with --encoder eigenfaces", ["index", "m.csv", "--tolerance", "3"]),
        (
            2,
            "goes with --encoder eigenfaces",
            ["index", "m.csv", "--encoder", "vit", "--tolerance", "3"],
        ),
        (
            2,
            "is no number above 0",
            ["index", "m.csv", "--encoder", "eigenfaces", "--tolerance", "0"],
        ),
    ],
)
def test_bad_input_is_told_in_a_line(
    code: int, complaint: str, words: list[str], call: Call, shop: Path
) -> None:
    if words[0].startswith("--"):
        words = ["search", str(shop / "photos" / "00.png"), *words]
    status, out, err = call(*words)
    assert (status, out) == (code, "")
    assert complaint in err.splitlines()[-1]


def test_encoders_are_refused_before_any_photo_is_opened(call: Call, shop: Path) -> None:
    words = ["--photos", shop / "photos", "--overwrite", "--encoder"]
    status, _, err = call("index", *words, "report_cnn")
    assert (status, "has no published weights; train it" in err) == (1, True)
    status, _, err = call("index", *words, "resnet5")
    assert (status, err.count("\n"), "is no encoder; there are siamese" in err) == (1, 1, True)
