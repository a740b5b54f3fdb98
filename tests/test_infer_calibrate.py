"""`infer.py calibrate`: what the score of any encoder means, and several encoders as one."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers_catalog import draw_photo
from helpers_infer import STEMS, Run
from torch.nn import functional

import infer
from siamese.checkpoint_file import load_checkpoint
from siamese.cohort import cohort_of
from siamese.evaluation import fit


@pytest.fixture
def manifest(shop: Path, tmp_path: Path) -> Path:
    """Each product's photo as that of its person, too: 000 to 002 for the test, then validation."""
    shutil.copytree(shop / "photos", tmp_path / "worn")
    rows = [
        f"{place}/{stem}.png,{stem},{role},{'test' if stem < '003' else 'validation'}"
        for stem in STEMS
        for place, role in ((shop / "photos", "product"), (tmp_path / "worn", "person"))
    ]
    (tmp_path / "all.csv").write_text("\n".join(["path,product_id,role,split", *rows]))
    return tmp_path / "all.csv"


def calibrated(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit status, and what was printed to either stream."""
    capsys.readouterr()
    code = infer.main(["calibrate", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_score_is_fitted_on_the_split_and_the_encoder_stays(
    shop: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = load_checkpoint(shop / "model.safetensors"), tmp_path / "out.safetensors"
    code, said = calibrated(capsys, manifest, "--encoder", shop / "model.safetensors", "--out", out)
    assert (code, said.splitlines()[-1]) == (0, f"saved {out}: 16 numbers per photo")
    made = load_checkpoint(out)
    assert made.fingerprint == given.fingerprint
    frame = pd.read_csv(manifest, dtype=str).query("split == 'validation'").reset_index(drop=True)
    expected = fit(given.embed(frame["path"].tolist()), frame)
    assert made.calibration == expected
    assert made.calibration != given.calibration
    assert made.adapted_calibration is None, "too few photos to adapt to"


def test_several_encoders_become_one_that_every_command_takes(
    shop: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    both = tmp_path / "both.safetensors"
    name = f"{shop}/model.safetensors + 0.5*{shop}/other.safetensors"
    assert calibrated(capsys, manifest, "--encoder", name, "--out", both)[0] == 0
    made = load_checkpoint(both)
    assert made.embedding_size == 32
    parts = [load_checkpoint(shop / f"{each}.safetensors") for each in ("model", "other")]
    photos = [f"{shop}/photos/{stem}.png" for stem in STEMS]
    cosines = [each.embed(photos) @ each.embed(photos).T for each in (*parts, made)]
    assert torch.allclose(cosines[2], (cosines[0] + 0.5 * cosines[1]) / 1.5, atol=1e-4)
    told = run("evaluate", manifest, "--checkpoint", both, "--json").json
    assert told["retrieval"]["all"]["top_1"] == 1.0
    catalog = f"{tmp_path}/second"
    words = ["--checkpoint", both, "--catalog", catalog]
    assert run("index", manifest, *words).code == 0
    found = run("search", photos[4], *words, "--explain", tmp_path / "why.png", "--json").json
    assert found[0]["matches"][0]["product_id"] == STEMS[4]
    assert (tmp_path / "why.png").stat().st_size > 1000


def test_an_encoder_goes_on_looking_as_it_did_unless_told_otherwise(
    shop: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looks, once = tmp_path / "looks.safetensors", tmp_path / "once.safetensors"
    words = [manifest, "--second-look", "--cut-out", "--out", looks]
    assert calibrated(capsys, *words, "--encoder", shop / "model.safetensors")[0] == 0
    assert calibrated(capsys, manifest, "--encoder", looks, "--out", once)[0] == 0
    made, again = load_checkpoint(looks), load_checkpoint(once)
    assert (again.second_look, again.cut_out) == (made.second_look, made.cut_out) == (True, True)
    assert again.fingerprint == made.fingerprint
    words = [manifest, "--no-second-look", "--no-cut-out", "--out", once]
    assert calibrated(capsys, *words, "--encoder", looks)[0] == 0
    assert not load_checkpoint(once).second_look
    assert (
        load_checkpoint(once).fingerprint == load_checkpoint(shop / "model.safetensors").fingerprint
    )


def test_what_cannot_be_calibrated_is_one_line(
    shop: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = shop / "model.safetensors", tmp_path / "out.safetensors"
    for words, complaint in (
        ((manifest, "--encoder", model, "--split", "train"), "no rows of split 'train'"),
        ((manifest, "--encoder", "nowhere.safetensors"), "no such file of weights"),
        ((tmp_path / "none.csv", "--encoder", model), "none.csv"),
        ((manifest, "--encoder", f"{model}+0*{model}"), "must be a number above 0"),
    ):
        code, said = calibrated(capsys, *words, "--out", out)
        assert (code, said.count("\n")) == (1, 1), said
        assert complaint in said
        assert not out.exists()
    assert calibrated(capsys, manifest, "--encoder", model, "--out", tmp_path)[0] == 1


def test_products_of_the_training_are_the_cohort_unless_others_are_named(
    shop: Path,
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("siamese.cohort.FEWEST", 2)
    out, model = tmp_path / "out.safetensors", shop / "model.safetensors"
    known = tmp_path / "known.csv"
    photos = [draw_photo(tmp_path / f"known{i}.png", hue=40 * i + 15, stripes=i) for i in range(3)]
    rows = [f"{photo},{photo.stem},product,train" for photo in photos]
    known.write_text("\n".join([manifest.read_text(), *rows]))
    embeddings = load_checkpoint(model).embed(photos)

    def cohort(*words: object) -> torch.Tensor | None:
        code, said = calibrated(capsys, known, "--encoder", model, "--out", out, *words)
        assert code == 0, said
        found = load_checkpoint(out).own_cohort
        return None if found is None else found.embeddings

    found = cohort()
    assert found is not None
    assert torch.allclose(found, embeddings, atol=1e-3)
    assert cohort("--cohort", "none") is None
    (tmp_path / "others").mkdir()
    for number in range(4):
        draw_photo(tmp_path / "others" / f"{number}.png", hue=9 * number + 5, stripes=7 - number)
    named = cohort("--cohort", f"{known}:train", tmp_path / "others")
    assert named is not None
    assert len(named) == 3 + 4
    few = cohort("--cohort", f"{known}:train", tmp_path / "others", "--cohort-limit", 2)
    assert few is not None
    assert len(few) == 2
    code, said = calibrated(
        capsys, known, "--encoder", model, "--out", out, "--cohort", f"{manifest}:train"
    )
    assert (code, said.count("\n")) == (1, 1)
    assert "no row of split 'train'" in said
    code, said = calibrated(capsys, known, "--encoder", model, "--out", out, "--cohort", "nowhere")
    assert (code, said.count("\n")) == (1, 1)
    assert "nowhere" in said
    place = f"{tmp_path / 'others'}:train"
    code, said = calibrated(capsys, known, "--encoder", model, "--out", out, "--cohort", place)
    assert (code, said.count("\n")) == (1, 1)
    assert "is a folder, without splits; give a manifest" in said
    photos[0].unlink()
    code, said = calibrated(capsys, known, "--encoder", model, "--out", out)
    assert code == 1
    assert said.endswith("--cohort names other products, or none\n"), said
    assert cohort("--cohort", "none") is None, "the training is not looked at"


def test_products_that_are_held_out_are_no_cohort_and_too_few_are_told(
    shop: Path,
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Copies, too: a photo's own product would speak against it where it is missing."""
    monkeypatch.setattr("siamese.cohort.FEWEST", 3)
    out, model = tmp_path / "out.safetensors", shop / "model.safetensors"
    others = shutil.copytree(shop / "photos", tmp_path / "others")
    for number in range(3):
        draw_photo(others / f"other{number}.png", hue=70 * number + 5, stripes=number)
    words = (manifest, "--encoder", model, "--out", out, "--cohort")
    code, said = calibrated(capsys, *words, others)
    assert code == 0
    assert f"--cohort: {len(STEMS)} of {len(STEMS) + 3} photos are left out" in said
    known = load_checkpoint(out).own_cohort
    assert known is not None
    assert known.product_ids.tolist() == ["other0", "other1", "other2"]
    code, said = calibrated(capsys, *words, shop / "photos")
    assert (code, said.count("\n")) == (1, 1)
    assert "all of its products are held out" in said
    (others / "other0.png").unlink()
    before = out.read_bytes()
    for few in ((others,), (others, "--cohort-limit", 1)):
        code, said = calibrated(capsys, *words, *few)
        assert code == 1
        assert "a cohort takes at least 3 product photos, not" in said
        assert out.read_bytes() == before


def test_an_encoder_keeps_its_cohort_where_the_manifest_has_no_training(
    shop: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = load_checkpoint(shop / "model.safetensors")
    vectors = torch.randn(120, own.embedding_size, generator=torch.manual_seed(0))
    own.own_cohort = cohort_of(functional.normalize(vectors, dim=1))
    assert own.own_cohort is not None
    own.save(tmp_path / "own.safetensors")
    out = tmp_path / "out.safetensors"
    words = (manifest, "--encoder", tmp_path / "own.safetensors", "--out", out)
    code, said = calibrated(capsys, *words)
    assert code == 0
    assert "a cohort of 120 product photos as before" in said
    again = load_checkpoint(out).own_cohort
    assert again is not None
    assert torch.equal(again.embeddings, own.own_cohort.embeddings)
    for dropped in (("--cohort", "none"), ("--cut-out",)):
        assert calibrated(capsys, *words, *dropped)[0] == 0
        assert load_checkpoint(out).own_cohort is None, "as other looks see them is not known"
    shown = own.embed(sorted((shop / "photos").glob("*.png")))
    own.own_cohort = cohort_of(torch.cat([shown, functional.normalize(vectors, dim=1)]))
    own.save(tmp_path / "own.safetensors")
    code, said = calibrated(capsys, *words)
    assert code == 0
    assert "photos are in the checkpoint's cohort, which is left out" in said
    assert load_checkpoint(out).own_cohort is None
