"""An encoder fits itself to a shop's photos without a label; every command that embeds agrees."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_infer import STEMS, Run
from helpers_serving import client_of, search
from test_local_embedding import noise, trained_like
from torch.nn import functional

import infer
from siamese.adaptation import FEWEST, FLOOR, POWER, Adaptation, fit_adaptation
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.concatenation import concatenated
from siamese.errors import UserError
from siamese.evaluation_commands import adapt
from siamese.local_embedding import local_embeddings
from siamese.pair_score import Calibration
from siamese.roles import Role, roles_of

LATER = Calibration(scale=7.0, bias=-2.0, threshold=0.7)
ROLES = [Role.PERSON, Role.GARMENT, Role.PRODUCT]


def units(count: int, size: int = 6, seed: int = 0) -> torch.Tensor:
    numbers = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(numbers, dim=1)


def some_adaptation(size: int) -> Adaptation:
    return fit_adaptation(units(30, size, 1) + 0.2, units(40, size, 2) - 0.1)


def test_an_adaptation_is_its_formula() -> None:
    """Against NumPy, photo by photo."""
    people, products = units(25, seed=1), units(60, seed=2)
    adaptation = fit_adaptation(people, products)
    spread = np.cov(people.double().numpy().T) + np.cov(products.double().numpy().T)
    variances, directions = np.linalg.eigh(spread)
    whitening = directions @ np.diag((variances + FLOOR * variances.max()) ** -POWER) @ directions.T
    given = units(3, seed=3)
    found = adaptation(given, ROLES)
    for vector, role, row in zip(given.numpy(), ROLES, found.numpy(), strict=True):
        mean = (products if role is Role.PRODUCT else people).numpy().mean(axis=0)
        expected = whitening @ (vector - mean)
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-5)


def test_what_all_photos_of_a_kind_have_in_common_no_longer_counts() -> None:
    """A constant that is added to all people's embeddings changes no cosine."""
    people, products = units(50, seed=1), units(50, seed=2)
    plain = fit_adaptation(people, products)
    moved = fit_adaptation(people + 3.0, products)
    roles = [Role.PERSON] * 50
    torch.testing.assert_close(moved(people + 3.0, roles), plain(people, roles), atol=1e-4, rtol=0)


def test_pairs_that_a_studio_hides_are_found_again() -> None:
    """Person = product + noise + what all people's photos share, which is most of it."""
    generator = torch.Generator().manual_seed(0)
    products = torch.randn(200, 24, generator=generator)
    shared = 4 * torch.randn(24, generator=generator) * (torch.arange(24) < 8)
    people = products + 0.8 * torch.randn(200, 24, generator=generator) + shared
    products, people = functional.normalize(products, dim=1), functional.normalize(people, dim=1)
    adaptation = fit_adaptation(people[:100], products[:100])

    def right(queries: torch.Tensor, gallery: torch.Tensor) -> float:
        return float(((queries @ gallery.T).argmax(dim=1) == torch.arange(100)).float().mean())

    before = right(people[100:], products[100:])
    after = right(
        adaptation(people[100:], [Role.PERSON] * 100),
        adaptation(products[100:], [Role.PRODUCT] * 100),
    )
    assert after > before + 0.2


@pytest.mark.parametrize(("people", "products"), [(FEWEST - 1, 50), (50, FEWEST - 1)])
def test_too_few_photos_are_refused(people: int, products: int) -> None:
    with pytest.raises(UserError, match=f"{FEWEST - 1} photos of .* at least {FEWEST}"):
        fit_adaptation(units(people), units(products))


def test_roles_are_told_by_person_and_box() -> None:
    box = (0.0, 0.0, 2.0, 2.0)
    assert roles_of([True, True, False, False], [None, box, None, box]) == [
        *(Role.PERSON, Role.GARMENT, Role.PRODUCT, Role.PRODUCT),
    ]


def test_an_adapted_checkpoint_is_another_one_and_comes_back_whole(tmp_path: Path) -> None:
    plain = replace(trained_like("small_resnet"), second_look=True, adapted_calibration=LATER)
    adapted = replace(plain, adaptation=some_adaptation(plain.embedding_size))
    raw, found = plain.embed_pixels(noise(3), ROLES), adapted.embed_pixels(noise(3), ROLES)
    assert adapted.adaptation is not None
    torch.testing.assert_close(found, adapted.adaptation(raw, ROLES))
    assert adapted.fingerprint != plain.fingerprint
    adapted.save(tmp_path / "adapted.safetensors")
    again = load_checkpoint(tmp_path / "adapted.safetensors")
    assert again.fingerprint == adapted.fingerprint
    assert again.adapted_calibration == LATER
    assert torch.equal(again.embed_pixels(noise(3), ROLES), found)
    plain.save(tmp_path / "plain.safetensors")
    assert load_checkpoint(tmp_path / "plain.safetensors").adaptation is None


@pytest.mark.parametrize("backbone", ["small_resnet", "report_cnn"])
@pytest.mark.parametrize("second_look", [False, True])
def test_adapted_matches_are_explained(backbone: str, second_look: bool) -> None:
    """Exactly: the parts sum to the adapted embedding."""
    plain = trained_like(backbone)
    adaptation = some_adaptation(plain.embedding_size)
    checkpoint = replace(plain, second_look=second_look, adaptation=adaptation)
    found = local_embeddings(checkpoint, noise(3), ROLES)
    assert torch.equal(found.whole, checkpoint.embed_pixels(noise(3), ROLES))
    assert found.exact == (backbone == "small_resnet")
    if found.exact:
        torch.testing.assert_close(found.parts.sum(dim=(1, 2)), found.whole, atol=1e-5, rtol=0)


def test_an_adapted_encoder_stands_alone() -> None:
    plain = trained_like("small_resnet")
    adapted = replace(plain, adaptation=some_adaptation(plain.embedding_size))
    with pytest.raises(UserError, match="an adapted encoder cannot stand beside others"):
        concatenated([plain, adapted])


def test_what_cannot_be_adapted_says_why(shop: Path) -> None:
    checkpoint = load_checkpoint(shop / "model.safetensors")
    with pytest.raises(UserError, match=r"infer\.py calibrate MANIFEST"):
        adapt(checkpoint, [], [])
    size = checkpoint.embedding_size
    adapted = replace(checkpoint, adaptation=some_adaptation(size), adapted_calibration=LATER)
    with pytest.raises(UserError, match="adapted already"):
        adapt(adapted, [], [])


@pytest.fixture
def ready(shop: Path, tmp_path: Path) -> Path:
    """A checkpoint that knows what its scores mean once it is adapted, and folders of photos."""
    checkpoint = load_checkpoint(shop / "model.safetensors")
    ready = replace(checkpoint, second_look=True, adapted_calibration=LATER)
    ready.save(tmp_path / "ready.safetensors")
    for place in ("people", "products"):
        (tmp_path / place).mkdir()
        for number in range(24):
            stem = STEMS[number % len(STEMS)]
            shutil.copy(shop / "photos" / f"{stem}.png", tmp_path / place / f"{number:03d}.png")
    return tmp_path


def words(ready: Path) -> list[str]:
    places = [f"--{place}={ready / place}" for place in ("people", "products")]
    return ["adapt", "--checkpoint", str(ready / "ready.safetensors"), *places]


def adapted_by_command(ready: Path) -> Checkpoint:
    assert infer.main([*words(ready), "--out", str(ready / "ours.safetensors")]) == 0
    return load_checkpoint(ready / "ours.safetensors")


def cosines(checkpoint: Checkpoint, shop: Path, role: Role) -> dict[str, float]:
    photos = [f"{shop}/photos/{stem}.png" for stem in STEMS]
    pixels = np.stack([checkpoint.preprocessing.read(photo) for photo in photos])
    (query,) = checkpoint.embed_pixels(pixels[2:3], [role])
    return dict(zip(STEMS, (checkpoint.embed_pixels(pixels) @ query).tolist(), strict=True))


def test_the_command_adapts_and_search_and_server_use_it(
    ready: Path, shop: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = adapted_by_command(ready)
    assert "adapted to 24 photos of people and 24 product photos" in capsys.readouterr().out
    given = load_checkpoint(ready / "ready.safetensors")
    people, products = (
        given.embed(sorted((ready / place).glob("*.png")), people=place == "people")
        for place in ("people", "products")
    )
    expected = fit_adaptation(people, products)
    assert ours.adaptation is not None
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(ours.adaptation.tensors()[name], tensor, atol=1e-4, rtol=1e-3)
    assert ours.calibration == LATER

    folder = ready / "ours"
    folder.mkdir()
    shutil.copy(ready / "ours.safetensors", folder / "model.safetensors")
    place = ["--checkpoint", folder / "model.safetensors", "--catalog", folder / "catalog"]
    assert run("index", "--photos", shop / "photos", *place).code == 0
    photo = shop / "photos" / f"{STEMS[2]}.png"
    for box, role in (([], Role.PERSON), (["--box", "0,0,60,80"], Role.GARMENT)):
        found = run("search", photo, *place, "--json", *box).json[0]["matches"]
        told = {match["product_id"]: match["cosine"] for match in found}
        assert told == pytest.approx(cosines(ours, shop, role), abs=1e-4)
    with client_of(folder) as client:
        for form, role in (({}, Role.PERSON), ({"box": "0,0,60,80"}, Role.GARMENT)):
            found = search(client, photo.read_bytes(), **form).json()["matches"]
            told = {match["product_id"]: match["cosine"] for match in found}
            assert told == pytest.approx(cosines(ours, shop, role), abs=1e-4)


def test_a_catalog_of_the_unadapted_encoder_is_not_searched(
    ready: Path, shop: Path, run: Run
) -> None:
    adapted_by_command(ready)
    photo = shop / "photos" / f"{STEMS[2]}.png"
    place = ["--checkpoint", ready / "ours.safetensors", "--catalog", shop / "catalog"]
    assert run("search", photo, *place).code == 1


def test_of_tables_one_split_may_be_taken(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"{ready / place}/{number:03d}.png,{number},{role},{'train' if number < 22 else 'test'}"
        for place, role in (("people", "person"), ("products", "product"))
        for number in range(24)
    ]
    table = ready / "table.csv"
    table.write_text("\n".join(["path,product_id,role,split", *rows]))
    places = [f"--people={table}", f"--products={table}", "--split", "train"]
    out = ["--out", str(ready / "ours.safetensors")]
    assert infer.main([*words(ready)[:3], *places, *out]) == 0
    assert "adapted to 22 photos of people and 22 product photos" in capsys.readouterr().out
    assert infer.main([*words(ready)[:3], *places[:2], "--split", "validation", *out]) == 1
    assert "no row of split 'validation'" in capsys.readouterr().err


def test_wrong_places_are_one_line(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    out = ["--out", str(ready / "ours.safetensors")]
    for changed, complaint in (
        (f"--people={ready / 'nowhere'}", "nowhere"),
        (f"--products={ready / 'none.csv'}", "none.csv"),
    ):
        assert infer.main([*words(ready), changed, *out]) == 1
        error = capsys.readouterr().err
        assert complaint in error
        assert error.count("\n") == 1
        assert not (ready / "ours.safetensors").exists()
    for photo in sorted((ready / "people").glob("*.png"))[5:]:
        photo.unlink()
    assert infer.main([*words(ready), *out]) == 1
    assert "5 photos of people are too few to adapt to" in capsys.readouterr().err
