"""Photos that show several products: what reports then count as right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from datasets.manifest import read_manifest
from siamese.evaluation import evaluate
from siamese.open_set import ask, ask_strangers
from siamese.pair_score import Calibration
from siamese.retrieval import measure
from siamese.worn import worn_products


def test_what_a_photo_shows_is_its_own_product_and_those_named_beside_it() -> None:
    frame = pd.DataFrame(
        {
            "product_id": ["b", "a", "c", "a", "b"],
            "also_worn": [None, "c", "a; b", "gone", ""],
        }
    )
    found = worn_products(frame, ["a", "b", "c"])
    assert found.tolist() == [[1, -1, -1], [0, 2, -1], [2, 0, 1], [0, -1, -1], [1, -1, -1]]
    assert found.dtype == np.int64
    plain = worn_products(frame[["product_id"]], ["a", "b", "c"])
    assert plain.tolist() == [[1], [0], [2], [0], [1]]
    boxed = frame.assign(x1=[1.0] * 3 + [np.nan] * 2, y1=0.0, x2=9.0, y2=9.0)
    boxed.loc[3:, ["y1", "x2", "y2"]] = np.nan
    assert worn_products(boxed, ["a", "b", "c"]).tolist() == [
        [1, -1],
        [0, -1],
        [2, -1],
        [0, -1],
        [1, -1],
    ]
    assert worn_products(frame[:0], ["a"]).shape == (0, 1)
    odd = pd.DataFrame({"product_id": ["a;b", "c"], "also_worn": ["c", "a;b"]})
    assert worn_products(odd, ["a;b", "c"]).tolist() == [[0, 1], [1, 0]]


def test_ids_beside_are_text_in_tables(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(
        "path,product_id,role,split,also_worn,price\n"
        "1.jpg,12,person,test,34,5\n2.jpg,34,product,test,,6\n"
    )
    frame = read_manifest(tmp_path / "all.csv")
    assert frame["also_worn"].tolist()[0] == "34"
    assert frame["price"].tolist() == [5, 6]


@given(st.integers(0, 500))
def test_a_query_is_right_at_its_first_right_product(seed: int) -> None:
    random = np.random.default_rng(seed)
    queries = functional.normalize(torch.from_numpy(random.normal(size=(6, 4))).float(), dim=1)
    gallery = functional.normalize(torch.from_numpy(random.normal(size=(9, 4))).float(), dim=1)
    product = torch.from_numpy(random.integers(0, 5, 9))
    asked = torch.from_numpy(random.integers(-1, 7, (6, 3)))
    report = measure(queries, asked, gallery, product, top=(1, 2, 3))
    reciprocal, precision, first = [], [], []
    for query, wanted in zip(queries, asked.tolist(), strict=True):
        cosine = (gallery @ query).tolist()
        best: dict[int, float] = {}
        for owner, value in zip(product.tolist(), cosine, strict=True):
            best[owner] = max(best.get(owner, -2.0), value)
        order = sorted(best, key=lambda owner: (-best[owner], owner))
        places = [order.index(each) + 1 for each in wanted if each in order]
        reciprocal.append(1 / min(places) if places else 0.0)
        first.append(min(places, default=99))
        hits = [product[row] in wanted for row in np.argsort(-np.array(cosine), kind="stable")]
        found = [sum(hits[: n + 1]) / (n + 1) for n, hit in enumerate(hits) if hit]
        precision.append(sum(found) / len(found) if found else 0.0)
    assert report.mean_reciprocal_rank == pytest.approx(np.mean(reciprocal))
    assert report.mean_average_precision == pytest.approx(np.mean(precision))
    for k in (1, 2, 3):
        assert report.top[k] == pytest.approx(np.mean(np.array(first) <= k))
    own = measure(queries, asked[:, 0].contiguous(), gallery, product)
    assert own.mean_reciprocal_rank <= report.mean_reciprocal_rank + 1e-9


CALIBRATION = Calibration(scale=20.0, bias=-10.0)


def outfits() -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Twelve products; each is worn by a person who also wears the next one, and looks as both."""
    random = np.random.default_rng(0)
    things = functional.normalize(torch.from_numpy(random.normal(size=(12, 24))).float(), dim=1)
    people = functional.normalize(things + things.roll(-1, dims=0), dim=1)
    own = np.arange(12)
    worn = np.stack([np.tile(own, 2), np.r_[np.full(12, -1), np.roll(own, -1)]], axis=1)
    return torch.cat([things, people]), worn, np.arange(24) >= 12


def test_something_worn_is_in_the_catalog_where_any_of_it_is() -> None:
    embedding, worn, is_person = outfits()
    every = ask(embedding, worn, is_person, CALIBRATION, draws=30)
    own = ask(embedding, worn[:, 0], is_person, CALIBRATION, draws=30)
    torch.testing.assert_close(every.present, own.present)  # the same questions and answers
    assert float(own.is_present.double().mean()) == 0.5
    # One of two is there where they were not both taken out: 1 - (6 / 12) * (5 / 11).
    assert float(every.is_present.double().mean()) == pytest.approx(1 - 5 / 22, abs=0.03)
    assert (every.is_present | ~own.is_present).all()
    assert every.is_right[every.is_present].double().mean() > 0.95
    assert own.is_right.double().mean() < 0.6
    strangers = functional.normalize(torch.randn(12, 24), dim=1)
    known = ask_strangers(embedding, worn, is_person, strangers, CALIBRATION, draws=3)
    assert float(known.is_present.double().mean()) == 0.5


def test_reports_have_a_line_that_counts_anything_worn() -> None:
    embedding, worn, is_person = outfits()
    names = [f"p{number:02}" for number in range(12)]
    frame = pd.DataFrame(
        {
            "product_id": [names[own] for own in worn[:, 0]],
            "role": np.where(is_person, "person", "product"),
            "also_worn": [None if other < 0 else names[other] for other in worn[:, 1]],
        }
    )
    plain = evaluate(embedding, frame.drop(columns="also_worn"), CALIBRATION)
    found = evaluate(embedding, frame, CALIBRATION)
    assert "all, anything worn" not in plain.retrieval
    line = found.retrieval["all, anything worn"]
    assert line.top[1] == 1.0
    assert (line.queries, line.catalog_size) == (12, 12)
    assert found.retrieval["all"] == plain.retrieval["all"]
    assert found.retrieval["all"].top[1] < 1.0
    half = "half of the products"
    assert found.open_set[half].auroc > plain.open_set[half].auroc + 0.1
    boxed = frame.assign(x1=0.0, y1=0.0, x2=5.0, y2=5.0)
    assert "all, anything worn" not in evaluate(embedding, boxed, CALIBRATION).retrieval
