"""A comparison as users meet it: put beside an encoder, in searches, reports and the API."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import draw_photo
from helpers_comparison import sights_of, tiny_comparison
from helpers_infer import Run
from helpers_serving import client_of, ids_of, search

import infer
from datasets.manifest import read_manifest
from siamese.checkpoint_file import load_checkpoint
from siamese.cohort import Cohort
from siamese.comparison import COMPARED
from siamese.comparison_commands import fit_comparison
from siamese.comparison_file import save_comparison
from siamese.embedding import EmbeddedPhotos
from siamese.finder import Finder
from siamese.pair_score import Calibration
from siamese.recommend.personal import PersonalFinder
from siamese.recommend.taste import Taste

FITTED = Calibration(scale=9.0, bias=-7.0)


@pytest.fixture
def compared(shop: Path, tmp_path: Path) -> Path:
    """The shop's checkpoint with a comparison that changes what comes first."""
    checkpoint = load_checkpoint(shop / "model.safetensors")
    checkpoint.comparison = replace(
        tiny_comparison(tmp_path), scale=0.5, offset=0.2, calibration=FITTED
    )
    checkpoint.save(tmp_path / "compared.safetensors")
    return tmp_path / "compared.safetensors"


def expected_order(finder: Finder, photo: Path) -> list[tuple[str, float]]:
    """All eight products and their likeness, worked out one by one."""
    checkpoint = finder.checkpoint
    comparison = checkpoint.comparison
    assert comparison is not None
    (query,) = checkpoint.embed([str(photo)], people=True)
    sight = sights_of(comparison, [photo], people=True)
    snapshot = finder.catalog.snapshot()
    scores = {}
    for place, (path, _) in enumerate(snapshot.describe(np.arange(8))):
        cosine = float(torch.from_numpy(snapshot.embeddings[place]) @ query)
        logit = float(comparison.logits(sight, sights_of(comparison, [path], people=False)))
        scores[snapshot.product_ids[place]] = (cosine + 0.5 * logit + 0.2) / 2
    return sorted(scores.items(), key=lambda item: -item[1])


def test_the_best_products_come_in_order_of_likeness(
    shop: Path, run: Run, compared: Path, tmp_path: Path
) -> None:
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    (plain,) = run("search", photo, "--json").json
    (found,) = run("search", photo, "--checkpoint", compared, "--json").json
    finder = Finder(load_checkpoint(compared), tmp_path / "catalog")
    expected = expected_order(finder, photo)
    assert [match["product_id"] for match in found["matches"]] == [name for name, _ in expected]
    assert found["matches"] != plain["matches"]
    by_name = {match["product_id"]: match["cosine"] for match in plain["matches"]}
    for match in found["matches"]:
        assert match["cosine"] == pytest.approx(by_name[match["product_id"]])
    likeness = torch.tensor([[score for _, score in expected]])
    among = FITTED.among(likeness)[0]
    told = [match["probability"] for match in found["matches"]]
    assert told == pytest.approx(among[:-1].tolist(), abs=2e-4)
    assert found["probability"] == pytest.approx(1 - float(among[-1]), abs=2e-4)
    scores = [match["score"] for match in found["matches"]]
    assert (scores[0], scores[-1]) == (1.0, 0.0)
    assert scores == sorted(scores, reverse=True)
    for words in (["--top", "3"], ["--product-score", "mean"], ["--codes", "int8"]):
        (less,) = run("search", photo, "--checkpoint", compared, "--json", *words).json
        for one, other in zip(less["matches"], found["matches"], strict=False):
            assert one["product_id"] == other["product_id"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)
        assert less["probability"] == pytest.approx(found["probability"], abs=1e-4)
    both = run("search", photo, photo, "--together", "--checkpoint", compared, "--json").json
    assert [m["product_id"] for m in both[0]["matches"]] == [name for name, _ in expected]


def test_products_beyond_those_that_are_compared_come_after_by_their_cosines(
    shop: Path, run: Run, compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    (plain,) = run("search", photo, "--json").json
    names = [match["product_id"] for match in plain["matches"]]
    finder = Finder(load_checkpoint(compared), tmp_path / "catalog")
    likeness = dict(expected_order(finder, photo))
    monkeypatch.setattr("siamese.finder.COMPARED", 3)
    (found,) = run("search", photo, "--checkpoint", compared, "--json").json
    comparison = finder.checkpoint.comparison
    assert comparison is not None
    cosines = {match["product_id"]: match["cosine"] for match in plain["matches"]}
    worst = min(2 * likeness[name] - cosines[name] for name in names[:3])
    for name in names[3:]:
        likeness[name] = (cosines[name] + worst) / 2
    order = sorted(names, key=lambda name: -likeness[name])
    assert [match["product_id"] for match in found["matches"]] == order
    assert COMPARED == 20


def test_photos_that_are_gone_leave_the_ranking_as_it_is_and_that_is_said(
    shop: Path, run: Run, compared: Path, tmp_path: Path
) -> None:
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    shutil.copytree(shop / "photos", tmp_path / "photos")
    words = ["--photos", tmp_path / "photos", "--catalog", tmp_path / "second"]
    assert run("index", *words).code == 0
    asked = ["search", photo, "--catalog", tmp_path / "second"]
    before = run(*asked, "--checkpoint", compared, "--json")
    (tmp_path / "photos" / "003.png").unlink()
    one = run(*asked, "--checkpoint", compared, "--json")
    assert "1 of the 8 best products could not be compared" in one.err
    assert len(one.json[0]["matches"]) == 8
    assert before.err == ""
    shutil.rmtree(tmp_path / "photos")
    gone = run(*asked, "--checkpoint", compared, "--json")
    assert "8 of the 8 best products could not be compared" in gone.err
    (plain,) = run(*asked, "--json").json
    assert {**gone.json[0], "uncompared": 0} == plain
    both = run(*asked[:2], photo, *asked[2:], "--checkpoint", compared)
    assert f"{photo} and 1 more: 16 of the 16 best products" in both.err
    assert both.err.count("\n") == 1
    assert run(*asked, "--checkpoint", compared, "--no-comparison").err == ""


def test_the_product_found_first_is_not_compared_with_itself_in_the_cohort(
    shop: Path, run: Run, compared: Path, tmp_path: Path
) -> None:
    """The catalog's own products are the cohort; the first by cosine is not the first found."""
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    checkpoint = load_checkpoint(compared)
    assert checkpoint.comparison is not None
    plain = Finder(checkpoint, tmp_path / "catalog")
    snapshot = plain.catalog.snapshot()
    order = expected_order(plain, photo)
    (query,) = checkpoint.embed([str(photo)], people=True)
    cosines = torch.from_numpy(snapshot.embeddings) @ query
    assert snapshot.product_ids[int(cosines.argmax())] != order[0][0]
    checkpoint.own_cohort = Cohort(torch.from_numpy(snapshot.embeddings))
    weighed = replace(FITTED, cohort_weight=0.7)
    checkpoint.comparison = replace(
        checkpoint.comparison, scale=0.5, offset=0.2, calibration=weighed
    )
    (found,) = Finder(checkpoint, tmp_path / "catalog").rank([photo])
    likeness = torch.tensor([[score for _, score in order]])
    first = snapshot.product_ids.index(order[0][0])
    others = cosines.masked_fill(torch.arange(8) == first, -torch.inf)
    present = 1 - float(weighed.among(likeness, others[None])[0, -1])
    assert found.probability == pytest.approx(present, abs=1e-3)


def test_an_open_file_is_read_once_for_both_looks(
    compared: Path, run: Run, tmp_path: Path, shop: Path
) -> None:
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    finder = Finder(load_checkpoint(compared), tmp_path / "catalog")
    (by_path,) = finder.rank([photo])
    with photo.open("rb") as opened:
        (by_file,) = finder.rank([opened])
    assert by_file.matches == by_path.matches
    assert by_file.compared == 8


def test_twins_come_in_order_of_their_ids_whatever_was_looked_at_before(
    compared: Path, tmp_path: Path, run: Run
) -> None:
    for name in ("b", "a", "c"):
        draw_photo(tmp_path / "twins" / f"{name}.png", hue=60, stripes=2)
    photo = draw_photo(tmp_path / "asked.png", hue=64, stripes=2)
    words = ["--photos", tmp_path / "twins", "--catalog", tmp_path / "t", "--checkpoint", compared]
    assert run("index", *words).code == 0
    finder = Finder(load_checkpoint(compared), tmp_path / "t")
    assert finder.second_opinion is not None
    assert finder.looks is not None
    sight = sights_of(finder.looks, [photo], people=True)
    finder.second_opinion.logits(sight, [str(tmp_path / "twins" / "c.png")])
    (found,) = finder.rank([photo])
    assert [match.product_id for match in found.matches] == ["a", "b", "c"]


def test_a_reranking_takes_the_place_of_a_comparison(
    compared: Path, run: Run, tmp_path: Path
) -> None:
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    words = ["search", photo, "--rerank", "expansion", "--json"]
    assert run(*words, "--checkpoint", compared).json == run(*words).json


def test_a_split_without_people_is_one_line(
    compared: Path, manifest: Path, run: Run, tmp_path: Path
) -> None:
    rows = [row for row in manifest.read_text().splitlines() if ",person," not in row]
    (tmp_path / "one.csv").write_text("\n".join(rows))
    told = run("evaluate", tmp_path / "one.csv", "--checkpoint", compared)
    plain = run("evaluate", tmp_path / "one.csv")
    assert (told.code, told.err) == (plain.code, plain.err)
    assert told.code == 1
    assert told.err.count("\n") == 1


def test_a_person_with_likes_is_answered_by_embeddings_alone(
    compared: Path, run: Run, tmp_path: Path, shop: Path
) -> None:
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    checkpoint = load_checkpoint(compared)
    finder = PersonalFinder(Finder(checkpoint, tmp_path / "catalog"), Taste(likes=("001",)))
    (found,) = finder.rank([photo])
    plain = replace(checkpoint, comparison=None)
    other = PersonalFinder(Finder(plain, tmp_path / "catalog"), Taste(likes=("001",)))
    assert found == other.rank([photo])[0]
    assert found.compared == 0
    without = PersonalFinder(Finder(checkpoint, tmp_path / "catalog"), Taste(never={}))
    assert without.rank([photo]) == Finder(checkpoint, tmp_path / "catalog").rank([photo])


@pytest.fixture
def manifest(shop: Path, tmp_path: Path) -> Path:
    """Each product's photo, and a person's that is a little different, in two splits."""
    rows = ["path,product_id,role,split"]
    for number in range(24):
        split = "test" if number < 8 else "validation"
        for role, hue in (("product", 10 * number), ("person", 10 * number + 3)):
            path = draw_photo(tmp_path / role / f"{number}.png", hue, stripes=number % 5)
            rows.append(f"{path},{number:02d},{role},{split}")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    return tmp_path / "all.csv"


def test_calibrate_fits_it_and_evaluate_reports_on_it(
    shop: Path,
    run: Run,
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_comparison(tiny_comparison(tmp_path), tmp_path / "comparison.safetensors")
    model, out = shop / "model.safetensors", tmp_path / "out.safetensors"
    words = ["calibrate", manifest, "--encoder", model]
    beside = ["--comparison", tmp_path / "comparison.safetensors", "--out", out]
    assert infer.main([*map(str, [*words, *beside])]) == 0
    assert "the best products compared" in capsys.readouterr().out
    made = load_checkpoint(out)
    assert made.fingerprint == load_checkpoint(model).fingerprint
    assert made.comparison is not None
    frame = read_manifest(manifest)
    validation = frame[frame["split"] == "validation"].reset_index(drop=True)
    people = (validation["role"] == "person").to_numpy(copy=True)
    embeddings = torch.empty(len(validation), made.embedding_size)
    for side in (True, False):
        paths = validation.loc[people == side, "path"].tolist()
        embeddings[torch.from_numpy(people == side)] = made.embed(paths, people=side)
    sights = torch.stack(
        [
            sights_of(made.comparison, [path], people=bool(person))[0]
            for path, person in zip(validation["path"], people, strict=True)
        ]
    )
    embedded = EmbeddedPhotos(embeddings, list(range(len(validation))), {}, sights)
    again = fit_comparison(made.comparison, embedded, validation, None)
    assert again.scale == pytest.approx(made.comparison.scale, rel=1e-3)
    assert again.calibration.scale == pytest.approx(made.comparison.calibration.scale, rel=0.02)
    logits = made.comparison.logits(sights[people], sights[~people])
    moved = made.comparison.scale * logits + made.comparison.offset
    cosines = embeddings[torch.from_numpy(people)] @ embeddings[torch.from_numpy(~people)].T
    assert float(moved.mean()) == pytest.approx(float(cosines.mean()), abs=1e-3)
    assert float(moved.std()) == pytest.approx(float(cosines.std()), rel=1e-2)
    monkeypatch.setattr("siamese.finder.COMPARED", 3)  # of eight, so that it matters which
    monkeypatch.setattr("siamese.comparison_report.COMPARED", 3)
    told = run("evaluate", manifest, "--checkpoint", out, "--json").json
    test = frame[frame["split"] == "test"]
    index = tmp_path / "of_test.csv"
    test[test["role"] == "product"].to_csv(index, index=False)
    assert run("index", index, "--catalog", tmp_path / "c", "--checkpoint", out).code == 0
    asked = test[test["role"] == "person"]
    words = [*asked["path"], "--catalog", tmp_path / "c", "--checkpoint", out, "--json"]
    rankings = run("search", *words).json
    for k in (1, 5):
        hits = [
            str(own) in [match["product_id"] for match in ranking["matches"][:k]]
            for ranking, own in zip(rankings, asked["product_id"], strict=True)
        ]
        assert told["retrieval"]["all"][f"top_{k}"] == pytest.approx(np.mean(hits))
    plain = run("evaluate", manifest, "--checkpoint", model, "--json").json
    assert told["retrieval"]["all"] != plain["retrieval"]["all"]
    words = ["--distractors", shop / "photos", "--strangers", shop / "photos"]
    more = run("evaluate", manifest, "--checkpoint", out, "--json", *words).json
    (line,) = (line for line in more["retrieval"] if line.endswith("distractors"))
    assert more["retrieval"][line]["catalog_size"] > 8
    assert more["retrieval"][line]["top_1"] <= told["retrieval"]["all"]["top_1"]
    assert more["retrieval"]["all"] == told["retrieval"]["all"]
    assert set(more["open_set"]) > set(told["open_set"])
    # That of another checkpoint is as good as its file; what it has is kept, unless not wanted.
    words = ["calibrate", manifest, "--encoder", model, "--comparison", out]
    assert infer.main([*map(str, [*words, "--out", tmp_path / "second.safetensors"])]) == 0
    second = load_checkpoint(tmp_path / "second.safetensors").comparison
    assert second is not None
    digests = [each.stored()[1]["comparison"]["digest"] for each in (second, made.comparison)]
    assert digests[0] == digests[1]
    assert second.scale == pytest.approx(made.comparison.scale)
    words = ["calibrate", manifest, "--encoder", out, "--out", tmp_path / "third.safetensors"]
    assert infer.main([*map(str, words)]) == 0
    kept = load_checkpoint(tmp_path / "third.safetensors").comparison
    assert kept is not None
    assert kept.scale == pytest.approx(made.comparison.scale)
    assert infer.main([*map(str, [*words, "--second-look"])]) == 0
    looking = load_checkpoint(tmp_path / "third.safetensors").comparison
    assert looking is not None
    assert looking.scale != made.comparison.scale
    assert not looking.cut_out
    assert infer.main([*map(str, [*words, "--cut-out"])]) == 0
    cutting = load_checkpoint(tmp_path / "third.safetensors").comparison
    assert cutting is not None
    assert cutting.cut_out, "what the encoder sees of products"
    assert cutting.fingerprint != looking.fingerprint
    assert infer.main([*map(str, [*words, "--comparison", "none"])]) == 0
    assert load_checkpoint(tmp_path / "third.safetensors").comparison is None


def test_what_is_no_comparison_is_one_line(
    shop: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = shop / "model.safetensors", tmp_path / "out.safetensors"
    words = ["calibrate", manifest, "--encoder", model, "--out", out, "--comparison"]
    for name, message in ((model, "has no comparison"), ("none.safetensors", "no such comparison")):
        assert infer.main([*map(str, [*words, name])]) == 1
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not out.exists()


def test_the_api_answers_as_the_command_line_does(
    shop: Path, run: Run, compared: Path, tmp_path: Path
) -> None:
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    (found,) = run("search", photo, "--checkpoint", compared, "--json").json
    (tmp_path / "served").mkdir()
    shutil.copytree(tmp_path / "catalog", tmp_path / "served" / "catalog")
    shutil.copy(compared, tmp_path / "served" / "model.safetensors")
    with client_of(tmp_path / "served") as client:
        answer = search(client, photo.read_bytes())
        assert ids_of(answer) == [match["product_id"] for match in found["matches"]]
        told = answer.json()
        assert told["probability"] == pytest.approx(found["probability"], abs=1e-3)
        few = search(client, photo.read_bytes(), top=2, filters={"articleType": ["Tshirts"]})
        kind = [m["product_id"] for m in found["matches"] if int(m["product_id"]) % 2]
        assert ids_of(few) == kind[:2]
        again = client.get("/v1/search", params={"query": told["query"]})
        (plain,) = run("search", photo, "--json").json
        assert ids_of(again) == [match["product_id"] for match in plain["matches"]]
        assert client.get("/v1/about").json()["compares"] is True


def test_who_does_not_want_it_gets_what_the_embeddings_say(
    shop: Path, run: Run, compared: Path, manifest: Path, tmp_path: Path
) -> None:
    photo = draw_photo(tmp_path / "asked.png", hue=47, stripes=2)
    plain = run("search", photo, "--json").json
    assert run("search", photo, "--checkpoint", compared, "--json").json != plain
    words = ["--checkpoint", compared, "--no-comparison", "--json"]
    assert run("search", photo, *words).json == plain
    told = run("evaluate", manifest, *words).json
    model = ["--checkpoint", shop / "model.safetensors", "--json"]
    assert told == run("evaluate", manifest, *model).json
    (tmp_path / "served").mkdir()
    shutil.copytree(tmp_path / "catalog", tmp_path / "served" / "catalog")
    shutil.copy(compared, tmp_path / "served" / "model.safetensors")
    with client_of(tmp_path / "served", comparison=False) as client:
        answer = search(client, photo.read_bytes())
        assert ids_of(answer) == [match["product_id"] for match in plain[0]["matches"]]
        assert client.get("/v1/about").json()["compares"] is False
