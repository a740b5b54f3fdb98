"""Both reports of a split: perfect embeddings are perfect, random ones are at chance."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from siamese.errors import UserError
from siamese.evaluation import codes, evaluate, fit
from siamese.evaluation_report import Evaluation, from_dict, side_by_side
from siamese.pair_score import Calibration
from siamese.retrieval import TOP, Distractors

SURE = Calibration(scale=20.0, bias=-10.0, threshold=0.6)  # cosine 1 → .99995, 0 → .00005


def manifest(products: int, persons: int) -> pd.DataFrame:
    """For each product one product photo and so many of persons, rows in shuffled order."""
    rows = [
        (f"{product:06d}", role)
        for product in range(products)
        for role in ("product", *["person"] * persons)
    ]
    frame = pd.DataFrame(rows, columns=["product_id", "role"])
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


def perfect(frame: pd.DataFrame) -> Tensor:
    """Every photo is embedded as the direction of its product."""
    product, _ = codes(frame)
    return torch.eye(int(product.max()) + 1)[torch.from_numpy(product)]


def shuffled(frame: pd.DataFrame, seed: int = 0) -> Tensor:
    """Directions that have nothing to do with the photo."""
    vectors = torch.randn(len(frame), 32, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


def test_perfect_embeddings_have_perfect_figures_in_every_line() -> None:
    frame = manifest(60, 2)
    evaluation = evaluate(perfect(frame), frame, SURE)
    assert list(evaluation.verification) == ["at .5", "at fitted threshold"]
    assert list(evaluation.retrieval) == ["50 drawn", "all"]
    for pairs in evaluation.verification.values():
        assert pairs.pairs == 60 * 2 * 2
        figures = (pairs.accuracy, pairs.precision, pairs.recall, pairs.f1, pairs.auc)
        assert figures == (1.0,) * 5
    for ranking in evaluation.retrieval.values():
        assert ranking.top == dict.fromkeys(TOP, 1.0)
        assert ranking.mean_reciprocal_rank == ranking.mean_average_precision == 1.0
    assert evaluation.retrieval["50 drawn"].catalog_size == 50
    assert evaluation.retrieval["all"].catalog_size == 60


def test_random_embeddings_are_at_chance() -> None:
    """Seed 0. Draws repeat photos, so the bound is four deviations of 600 different photos."""
    frame = manifest(120, 5)
    evaluation = evaluate(shuffled(frame), frame, Calibration())
    for ranking in evaluation.retrieval.values():
        for k in TOP:
            chance = ranking.chance(k)
            deviation = (chance * (1 - chance) / ranking.distinct_queries) ** 0.5
            assert abs(ranking.top[k] - chance) < 4 * deviation
    pairs = evaluation.verification["at .5"]
    assert pairs.auc == pytest.approx(0.5, abs=0.06)
    assert pairs.accuracy == pytest.approx(0.5, abs=0.06)


def test_the_report_of_experiment_two_is_its_chance_line() -> None:
    """SYSTEMS 1: .02, .10, .20, .40 for 50 products, .003, .017, .033, .067 for 300."""
    frame = manifest(301, 1)
    evaluation = evaluate(perfect(frame), frame, SURE, draws=2)
    assert list(evaluation.retrieval) == ["50 drawn", "300 drawn", "all"]
    of_300 = [evaluation.retrieval["300 drawn"].chance(k) for k in TOP]
    assert [evaluation.retrieval["50 drawn"].chance(k) for k in TOP] == [0.02, 0.1, 0.2, 0.4]
    assert of_300 == pytest.approx([0.003, 0.017, 0.033, 0.067], abs=5e-4)


def test_whole_catalogs_with_one_person_each_need_one_draw() -> None:
    frame = manifest(20, 1)
    assert evaluate(perfect(frame), frame, SURE).retrieval["all"].draws == 1
    frame = manifest(20, 2)
    assert evaluate(perfect(frame), frame, SURE, draws=7).retrieval["all"].draws == 7


def test_the_fitted_threshold_is_used() -> None:
    """At cosine 1 the probability is .731: yes at .5, no at a threshold of .8."""
    frame = manifest(10, 1)
    evaluation = evaluate(perfect(frame), frame, Calibration(1.0, 0.0, threshold=0.8))
    assert evaluation.verification["at .5"].recall == 1.0
    assert evaluation.verification["at fitted threshold"].recall == 0.0


def test_fitting_finds_a_threshold_that_parts_perfect_embeddings() -> None:
    frame = manifest(30, 2)
    calibration = fit(perfect(frame), frame)
    assert calibration.catalog_threshold == 0.5  # what is more likely than not is said
    same, other = calibration.probability(torch.tensor([1.0, 0.0])).tolist()
    assert other < calibration.threshold < same
    assert evaluate(perfect(frame), frame, calibration).verification[
        "at fitted threshold"
    ].accuracy == 1.0  # fmt: skip
    raw = fit(perfect(frame), frame, Calibration())
    assert (raw.scale, raw.bias) == (1.0, 0.0)
    assert raw.threshold == pytest.approx((0.5 + 1 / (1 + math.exp(-1))) / 2)


def test_hard_pairs_are_told_apart_worse_by_an_encoder_that_knows_categories_only() -> None:
    """All photos of a category are embedded alike: other categories are easy, the same are not.

    40 products in 4 categories, so of random strangers 9 in 39 are of the same category.
    """
    frame = manifest(40, 10)
    product, _ = codes(frame)
    frame["category"] = np.array(["top", "skirt", "coat", "dress"])[product % 4]
    embedding = torch.eye(4)[torch.from_numpy(product % 4)]
    evaluation = evaluate(embedding, frame, SURE)
    easy = evaluation.verification["at fitted threshold"]
    hard = evaluation.verification["same category, fitted"]
    assert easy.accuracy == pytest.approx(1 - (9 / 39) / 2, abs=0.04)
    assert hard.accuracy == 0.5
    assert hard.auc == 0.5


@pytest.mark.parametrize("category", ["each its own", "missing"])
def test_without_two_products_of_a_category_there_is_no_such_line(category: str) -> None:
    frame = manifest(10, 1)
    frame["category"] = frame["product_id"] if category == "each its own" else None
    evaluation = evaluate(perfect(frame), frame, SURE)
    assert list(evaluation.verification) == ["at .5", "at fitted threshold"]


def twins(frame: pd.DataFrame) -> Tensor:
    """Products 2n and 2n + 1 are embedded alike: nobody could tell them apart."""
    product, _ = codes(frame)
    return torch.eye(40)[torch.from_numpy(product // 2)]


def test_one_product_of_each_group_of_twins_is_ranked_in_a_line_of_its_own() -> None:
    """Of two equal products the smaller number comes first: top-1 is one half, without twins 1."""
    frame = manifest(40, 1)
    frame["twin_group"] = (codes(frame)[0] // 2).astype(str)
    evaluation = evaluate(twins(frame), frame, SURE)
    assert evaluation.retrieval["all"].top[1] == 0.5
    single = evaluation.retrieval["all, no twins"]
    assert (single.catalog_size, single.top[1]) == (20, 1.0)


def test_products_without_a_group_are_no_twins_of_each_other() -> None:
    frame = manifest(40, 1)
    product, _ = codes(frame)
    frame["twin_group"] = pd.Series(product // 2).astype(str).where(product < 10)
    assert evaluate(perfect(frame), frame, SURE).retrieval["all, no twins"].catalog_size == 35


def test_a_twin_that_someone_wears_stands_for_its_group() -> None:
    """The first of each pair has no person photo, the second has."""
    frame = manifest(20, 1)
    product, is_person = codes(frame)
    frame["twin_group"] = (product // 2).astype(str)
    kept = ~(is_person & (product % 2 == 0))
    frame = frame[kept].reset_index(drop=True)
    evaluation = evaluate(perfect(frame), frame, SURE)
    assert evaluation.retrieval["all, no twins"].catalog_size == 10


def test_products_that_nobody_wears_are_ranked_in_a_line_of_their_own() -> None:
    """8 of 20 products have no person photo; drawn catalogs leave them out, this line does not."""
    frame = manifest(20, 2)
    product, is_person = codes(frame)
    frame = frame[~(is_person & (product >= 12))].reset_index(drop=True)
    evaluation = evaluate(perfect(frame), frame, SURE)
    assert evaluation.retrieval["all"].catalog_size == 12
    crowded = evaluation.retrieval["all, and unworn"]
    assert (crowded.catalog_size, crowded.queries, crowded.top[1]) == (20, 24, 1.0)


@pytest.mark.parametrize("persons", [1, 3])
def test_distractors_are_ranked_in_a_line_of_their_own_and_win_ties(persons: int) -> None:
    """15 distractors look like one of the 60 products each: there the right one comes second."""
    frame = manifest(60, persons)
    embedding = perfect(frame)
    without = evaluate(embedding, frame, SURE)
    crowd = Distractors(torch.eye(60)[:15], torch.arange(15))
    crowded = evaluate(embedding, frame, SURE, distractors=crowd)
    line = crowded.retrieval.pop("60 + 15 distractors")
    assert crowded == without
    assert (line.queries, line.catalog_size, line.chance(5)) == (60, 75, 5 / 75)
    assert line.top == {1: 0.75, 5: 1.0, 10: 1.0, 20: 1.0}
    assert line.mean_reciprocal_rank == pytest.approx((45 + 15 / 2) / 60)


def test_open_sets_have_a_line_without_twins_and_one_of_strangers() -> None:
    """Where a product is missing and its twin is not, the answer is wrong; not so without twins."""
    frame = manifest(40, 1)
    product, _ = codes(frame)
    frame["twin_group"] = (product // 2).astype(str)
    embedding = torch.eye(41)[torch.from_numpy(product // 2)]
    strangers = torch.eye(41)[20:30]
    lines = evaluate(embedding, frame, SURE, strangers=strangers).open_set
    assert list(lines) == ["half of the products", "half, no twins", "what 10 strangers wear"]
    assert [report.catalog_size for report in lines.values()] == [20, 10, 40]
    assert lines["half of the products"].auroc < 0.9
    assert lines["half, no twins"].auroc == lines["what 10 strangers wear"].auroc == 1.0
    assert list(evaluate(perfect(manifest(9, 1)), manifest(9, 1), SURE).open_set) == [
        "half of the products"
    ]


def test_the_result_depends_on_the_seed_alone() -> None:
    frame = manifest(60, 3)
    first, again = (evaluate(shuffled(frame), frame, SURE, seed=1) for _ in range(2))
    assert first == again
    assert first != evaluate(shuffled(frame), frame, SURE, seed=2)


def test_a_split_without_pairs_is_an_error() -> None:
    frame = manifest(3, 0)
    with pytest.raises(UserError, match="no pairs"):
        evaluate(perfect(frame), frame, SURE)


@pytest.fixture(scope="module")
def small() -> Evaluation:
    frame = manifest(60, 2)
    frame["category"] = "top"
    return evaluate(shuffled(frame), frame, SURE, draws=3)


def test_a_report_survives_json(small: Evaluation) -> None:
    assert from_dict(json.loads(json.dumps(small.as_dict()))) == small


def test_the_text_is_a_table_with_a_line_for_each_report(small: Evaluation) -> None:
    text = str(small)
    for name in (*small.verification, *small.retrieval, *small.open_set):
        assert name in text
    assert "recipe" not in text
    for table in text.split("\n\n"):
        title, *lines = table.splitlines()
        assert title.endswith("?")
        assert len({len(line) for line in lines}) == 1  # columns are aligned to the right
        assert max(map(len, lines)) <= 140


def test_recipes_stand_under_each_other_line_by_line(small: Evaluation) -> None:
    text = side_by_side({"ours": small, "the report's": small})
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("50 drawn"))
    assert lines[place].split()[2] == "ours"
    assert lines[place + 1].split()[:2] == ["the", "report's"]  # the line's name is said once


def test_codes_number_the_products_in_order_of_their_ids() -> None:
    frame = pd.DataFrame(
        {"product_id": ["b", "a", "b", "c"], "role": ["product", "person", "person", "product"]}
    )
    product, is_person = codes(frame)
    assert product.tolist() == [1, 0, 1, 2]
    assert product.dtype == np.int64
    assert is_person.tolist() == [False, True, True, False]
