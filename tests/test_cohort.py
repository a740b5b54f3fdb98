"""What a likeness is worth beside products that nobody wears: hand-made cases, a simulated shop."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import save_checkpoint
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch.nn import functional

from siamese.adaptation import fit_adaptation
from siamese.catalog import Catalog, Product
from siamese.catalog_fit import fit_among
from siamese.checkpoint import Checkpoint, CheckpointError
from siamese.checkpoint_file import load_checkpoint
from siamese.cohort import FEWEST, MOST, Cohort, cohort_of, sample
from siamese.finder import Finder
from siamese.open_set import ask, ask_strangers, report_open_set
from siamese.pair_score import Calibration
from siamese.roles import Role


def test_what_was_found_is_not_compared_with_itself() -> None:
    cohort = Cohort(torch.eye(3))
    queries = torch.tensor([[0.6, 0.8, 0.0], [0.6, 0.8, 0.0]])
    first = torch.stack([torch.eye(3)[1], functional.normalize(torch.ones(3), dim=0)])
    cosines = cohort.cosines(queries, cohort.same(first))
    assert cosines[0].tolist() == pytest.approx([0.6, -math.inf, 0.0])
    assert cosines[1].tolist() == pytest.approx([0.6, 0.8, 0.0])


def test_photos_of_one_name_are_of_one_product_whatever_they_look_like() -> None:
    """The catalog's photo of "a" looks like nothing in the cohort, one of "c" like "b" there."""
    cohort = Cohort(torch.eye(4)[:3], np.array(["a", "b", "a"]))
    unlike, like_b = torch.eye(4)[3:], torch.eye(4)[1:2]
    assert cohort.of_product("a", unlike).tolist() == [True, False, True]
    assert cohort.of_product("c", torch.cat([unlike, like_b])).tolist() == [False, True, False]
    assert cohort.of_product("", unlike).tolist() == [False] * 3
    assert Cohort(torch.eye(4)[:3]).of_product("a", like_b).tolist() == [False, True, False]


def test_the_cohorts_evidence_is_taken_off_as_far_as_it_counts() -> None:
    """Catalog: odds 8 and 2, evidence log 5. Cohort: odds 3, 5 and one that does not count."""
    scores = torch.tensor([[math.log(8), math.log(2)]])
    cohort = torch.tensor([[math.log(3), -math.inf, math.log(5)]])
    plain = Calibration(scale=1.0, bias=0.0)
    assert plain.evidence(cohort).tolist() == pytest.approx([math.log(4)])
    assert plain.among(scores, cohort).tolist() == plain.among(scores).tolist()
    half = replace(plain, cohort_weight=0.5)
    present = 1 - float(half.among(scores, cohort)[0, -1])
    assert present / (1 - present) == pytest.approx(5 / math.sqrt(4))
    with pytest.raises(ValueError, match="fitted with a cohort"):
        half.among(scores)


@given(st.floats(1, 8), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_sharp_evidence_is_a_power_mean_of_the_odds(sharp: float, count: int, seed: int) -> None:
    scores = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (2, count)))
    calibration = Calibration(scale=7.0, bias=-2.0, evidence_sharpness=sharp)
    odds = np.exp(7.0 * scores.numpy() - 2.0)
    wanted = np.log((odds**sharp).mean(axis=1) ** (1 / sharp))
    assert calibration.evidence(scores).tolist() == pytest.approx(wanted.tolist())


def test_where_nothing_counts_the_evidence_is_that_of_an_opposite() -> None:
    nothing = torch.full((1, 2), -math.inf)
    assert Calibration(scale=7.0, bias=-2.0).evidence(nothing).tolist() == [-9.0]
    assert Calibration(scale=0.0, bias=0.0).evidence(nothing).tolist() == [0.0]


def shop(products: int, seed: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Product and person photos, half of them of five plain kinds, half like nothing else."""
    kinds = np.random.default_rng(99).normal(size=(5, 24))
    random = np.random.default_rng(seed)
    own = random.normal(size=(products, 24))
    plain = np.arange(products) % 2 == 0
    own[plain] = kinds[random.integers(5, size=plain.sum())] + 0.45 * own[plain]
    vectors = np.repeat(own, 2, axis=0)
    vectors = vectors + 0.4 * random.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    is_person = np.tile([False, True], products)
    return torch.from_numpy(vectors).float(), np.repeat(np.arange(products), 2), is_person


def test_a_cohort_tells_more_of_what_is_missing_on_products_that_nothing_was_fitted_to() -> None:
    known, _, is_person = shop(600, seed=1)
    cohort = cohort_of(known[torch.from_numpy(~is_person)])
    assert cohort is not None
    pairs = Calibration(scale=12.0, bias=-8.0)
    without = fit_among(*shop(200, seed=2), pairs)
    fitted = fit_among(*shop(200, seed=2), pairs, cohort=cohort)
    assert without.cohort_weight == 0
    assert 0.3 < fitted.cohort_weight <= 1
    others = shop(200, seed=3)
    before = report_open_set(ask(*others, without), without, 20)
    after = report_open_set(ask(*others, fitted, cohort=cohort), fitted, 20)
    assert after.auroc > before.auroc + 0.02
    assert after.calibration_error < 0.06


def test_a_cohort_that_says_nothing_counts_little() -> None:
    noise = functional.normalize(torch.randn(300, 24, generator=torch.manual_seed(0)), dim=1)
    pairs = Calibration(scale=12.0, bias=-8.0)
    fitted = fit_among(*shop(200, seed=2), pairs, cohort=Cohort(noise))
    others = shop(200, seed=3)
    with_it = report_open_set(ask(*others, fitted, cohort=Cohort(noise)), fitted, 20)
    alone = fit_among(*shop(200, seed=2), pairs)
    assert with_it.auroc > report_open_set(ask(*others, alone), alone, 20).auroc - 0.02


def test_a_handful_of_products_does_not_say_what_a_cohort_is_worth() -> None:
    known, _, is_person = shop(600, seed=1)
    cohort = cohort_of(known[torch.from_numpy(~is_person)])
    pairs = Calibration(scale=12.0, bias=-8.0)
    for seed in range(5):
        assert fit_among(*shop(9, seed=seed), pairs, cohort=cohort).cohort_weight == 0
    assert any(fit_among(*shop(40, seed=s), pairs, cohort=cohort).cohort_weight for s in range(5))


def test_few_products_make_no_cohort_and_many_a_sample() -> None:
    assert cohort_of(torch.eye(FEWEST - 1)) is None
    made = cohort_of(torch.eye(FEWEST))
    assert made is not None
    assert torch.equal(made.embeddings, torch.eye(FEWEST))
    chosen = sample(MOST + 7)
    assert len(chosen) == len(np.unique(chosen)) == MOST
    assert (np.diff(chosen) > 0).all()
    assert np.array_equal(chosen, sample(MOST + 7))
    assert sample(MOST).tolist() == list(range(MOST))
    assert len(sample(10, most=3)) == 3


def with_cohort(path: Path, products: int = 120) -> Checkpoint:
    checkpoint = load_checkpoint(save_checkpoint(path))
    vectors = torch.randn(products, 16, generator=torch.manual_seed(1))
    ids = [f"known{number}" for number in range(products)]
    checkpoint.own_cohort = cohort_of(functional.normalize(vectors, dim=1), ids)
    checkpoint.calibration = replace(checkpoint.calibration, cohort_weight=0.5)
    return checkpoint


def test_a_checkpoint_keeps_its_cohort_and_no_embedding_depends_on_it(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    plain, made = load_checkpoint(save_checkpoint(path)), with_cohort(path)
    assert plain.own_cohort is plain.cohort is None
    made.save(path)
    again = load_checkpoint(path)
    assert again.fingerprint == plain.fingerprint
    assert made.own_cohort is not None
    assert again.own_cohort is not None
    assert torch.equal(again.own_cohort.embeddings, made.own_cohort.embeddings)
    assert (again.own_cohort.product_ids == made.own_cohort.product_ids).all()
    with safe_open(path, "pt") as file:
        assert file.get_tensor("cohort").dtype == torch.float16
    assert made.with_encoder(made.encoder).own_cohort is None, "what another encoder saw"


def test_a_damaged_cohort_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    made = with_cohort(path)
    made.save(path)
    assert made.own_cohort is not None
    content = path.read_bytes()
    values = made.own_cohort.embeddings.half().numpy().tobytes()
    place = content.index(values) + len(values) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(CheckpointError, match="changed after it was saved"):
        load_checkpoint(path)


def test_a_score_that_was_fitted_with_a_cohort_is_not_read_without_it(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    made = with_cohort(path)
    made.own_cohort = None
    made.save(path)
    with pytest.raises(CheckpointError, match="the cohort that its score was fitted with is miss"):
        load_checkpoint(path)
    made = with_cohort(save_checkpoint(path))
    assert made.own_cohort is not None
    made.own_cohort = replace(made.own_cohort, product_ids=np.array(["a", "b"]))
    made.save(path)
    with pytest.raises(CheckpointError, match="2 names for 120 photos of its cohort"):
        load_checkpoint(path)


def test_an_adapted_encoder_sees_its_cohort_adapted(tmp_path: Path) -> None:
    made = with_cohort(tmp_path / "m.safetensors")
    assert made.own_cohort is not None
    unit = functional.normalize(torch.randn(60, 16, generator=torch.manual_seed(2)), dim=1)
    adapted = replace(made, adaptation=fit_adaptation(unit[:30], unit[30:]))
    assert adapted.cohort is not None
    assert adapted.adaptation is not None
    wanted = adapted.adaptation(made.own_cohort.embeddings, [Role.PRODUCT] * 120)
    assert torch.equal(adapted.cohort.embeddings, wanted)
    adapted.save(tmp_path / "adapted.safetensors")
    again = load_checkpoint(tmp_path / "adapted.safetensors")
    assert again.cohort is not None
    assert torch.equal(again.cohort.embeddings, wanted)


def test_a_search_weighs_the_cohort_by_the_definition(tmp_path: Path) -> None:
    """Also of a product that the catalog and the cohort both have: of that the cohort is silent.

    Product 0 has two photos, and the cohort both of them.
    """
    checkpoint = with_cohort(tmp_path / "m.safetensors")
    vectors = torch.randn(5, 16, generator=torch.manual_seed(3))
    embeddings = functional.normalize(vectors, dim=1).half().float()
    assert checkpoint.own_cohort is not None
    others = checkpoint.own_cohort.embeddings
    checkpoint.own_cohort = Cohort(torch.cat([embeddings[:2], others]))
    products = [Product("0", ["front.jpg", "back.jpg"], embeddings[:2].numpy())] + [
        Product(str(n), [f"{n}.jpg"], embeddings[n : n + 1].numpy()) for n in range(2, 5)
    ]
    Catalog.create(tmp_path / "catalog", checkpoint.fingerprint, 16, products)
    calibration = checkpoint.calibration
    for mean in (False, True):
        finder = Finder(checkpoint, tmp_path / "catalog", "mean" if mean else "max")
        for place in range(5):
            query = embeddings[place : place + 1]
            gallery = query @ embeddings.T
            both = gallery[:, :2].amax(dim=1, keepdim=True)
            if mean:
                both = query @ functional.normalize(embeddings[:2].sum(dim=0, keepdim=True)).T
            evidence = calibration.evidence(torch.cat([both, gallery[:, 2:]], dim=1))
            cohort = others if place < 2 else torch.cat([embeddings[:2], others])
            wanted = torch.sigmoid(evidence - 0.5 * calibration.evidence(query @ cohort.T))
            found = finder.rank_embeddings(query)[0]
            assert found.matches[0].product_id == ("0" if place < 2 else str(place))
            assert found.probability == pytest.approx(float(wanted), abs=1e-4)


def test_an_evaluation_leaves_out_of_the_cohort_what_was_found_as_a_search_does() -> None:
    """Products 0 (two photos) and 1 are worn; the cohort has both photos of 0 and one of nobody."""
    axes = torch.eye(6)
    embedding = torch.stack([axes[0], axes[1], axes[2], axes[0], axes[2]])
    product = np.array([0, 0, 1, 0, 1])
    is_person = np.array([False, False, False, True, True])
    cohort = Cohort(torch.stack([axes[0], axes[1], axes[5]]))
    strangers = axes[1:2]
    calibration = Calibration(scale=4.0, bias=-2.0, cohort_weight=1.0)
    answers = ask_strangers(embedding, product, is_person, strangers, calibration, 40, 0, cohort)
    seen = {round(float(p), 4) for p in answers.present}
    own = calibration.evidence(torch.tensor([[1.0, 0.0]]))
    wanted = []
    for beside in ([0.0], [0.0, 0.0, 0.0]):  # of 0, as of the stranger, axes 0 and 1 are left out
        evidence = own - calibration.evidence(torch.tensor([beside]))
        wanted.append(round(float(torch.sigmoid(evidence)), 4))
    assert seen == set(wanted)
