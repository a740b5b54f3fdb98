"""The benchmark of tricks asks every line the same queries, and prints them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import tricks
from helpers_catalog import draw_photo, save_checkpoint, unit_vectors

from siamese.cohort import Cohort
from siamese.pair_score import Calibration
from siamese.retrieval import ranks_of


def split_of(persons: list[int], distractors: int = 0) -> pd.DataFrame:
    """Products of one product photo and so many person photos each, in shuffled order."""
    rows = [
        (f"{product}", role, False)
        for product, count in enumerate(persons)
        for role in ["product"] + ["person"] * count
    ]
    rows += [(f"{number}", "product", True) for number in range(distractors)]
    frame = pd.DataFrame(rows, columns=["product_id", "role", "distractor"])
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


def own_direction(frame: pd.DataFrame) -> torch.Tensor:
    """Row r is embedded as (direction of its product, r), so that each row can be told."""
    own = torch.eye(40)[frame["product_id"].astype(int).tolist()]
    return torch.cat([own, torch.arange(len(frame)).float()[:, None]], dim=1)


def test_photos_are_used_once_and_for_their_own_product() -> None:
    """Persons 3, 4 and 5: one of each is worn in the catalog, the other 9 are asked."""
    frame = split_of([3, 4, 5], distractors=2)
    found = tricks.arranged(own_direction(frame), frame)
    assert found.product.tolist() == [0, 1, 2, 3, 4]  # distractors first
    assert (found.products, len(found.query)) == (5, 9)
    assert found.second is not None
    assert found.worn is not None
    assert found.query[:, :40].argmax(dim=1).tolist() == (found.right - 2).tolist()
    assert torch.equal(found.second[:, :40], found.query[:, :40])
    assert (found.second[:, 40] != found.query[:, 40]).all()
    assert found.worn[:, :40].argmax(dim=1).tolist() == (found.worn_product - 2).tolist()
    rows = [*found.query[:, 40], *found.worn[:, 40], *found.gallery[:, 40]]
    assert sorted(map(int, rows)) == list(range(len(frame)))


@pytest.mark.parametrize(("persons", "second"), [([1, 2], False), ([2, 3], True)])
def test_too_few_person_photos_leave_lines_out(persons: list[int], second: bool) -> None:
    frame = split_of(persons)
    found = tricks.arranged(own_direction(frame), frame)
    assert len(found.query) == sum(persons)
    assert found.worn is None
    assert (found.second is not None) == second


def random_photos(seed: int) -> tricks.Photos:
    """150 products, 50 of them with two photos; 30 queries near a photo of their product."""
    gallery = torch.from_numpy(unit_vectors(200, 128, seed))
    product = torch.cat([torch.arange(50).repeat_interleave(2), torch.arange(50, 150)])
    right = torch.arange(0, 150, 5)
    place = torch.searchsorted(product, right)
    noise = torch.from_numpy(unit_vectors(30, 128, seed + 1))
    query = torch.nn.functional.normalize(gallery[place] + 1.5 * noise)
    return tricks.Photos(query, None, right, gallery, product, None, right[:0])


def test_exact_orders_equal_those_of_a_loop() -> None:
    """Int8 is too near to change a rank of these; exact cosines mend binary where it found them."""
    photos = random_photos(seed=0)
    lines = {"plain": tricks.best_of(photos)} | tricks.cosine_lines(photos)
    lines |= tricks.order_lines(photos)
    ranks = {}
    for name, score in lines.items():
        ranks[name] = ranks_of(tricks.asked(photos, score)[0], photos.right).tolist()
    naive = []
    for query, right in zip(photos.query, photos.right.tolist(), strict=True):
        cosine = photos.gallery @ query
        best = [float(cosine[photos.product == p].max()) for p in range(150)]
        naive.append(1.0 + sum(score > best[right] for score in best))
    assert ranks["plain"] == naive
    assert np.mean(np.abs(np.array(ranks["int8"]) - naive)) < 0.5
    mended = ranks["binary, exact among 100"]
    assert sum(a == b for a, b in zip(mended, naive, strict=True)) >= 27
    assert ranks["binary"] != naive
    assert set(ranks) > {"mean of a product's photos", "64 main axes of the gallery", "reciprocal"}


def test_the_error_of_a_sure_and_right_answer_is_nothing() -> None:
    """Cosines of 1 and 0 are told by the calibration as yes and no; half are missing."""
    photos = random_photos(seed=0)
    scores = torch.eye(150)[photos.right]
    sure = Calibration(scale=200.0, bias=-100.0)
    assert tricks.first_match_error(scores, photos, sure) == pytest.approx(0, abs=1e-6)
    assert tricks.first_match_error(1 - scores, photos, sure) > 0.005
    cohort = Cohort(torch.from_numpy(unit_vectors(9, 128, 7)))
    others = tricks.beside(photos, cohort)
    assert others is not None
    assert torch.allclose(others, photos.query @ cohort.embeddings.T, atol=1e-5)
    weighed = replace(sure, cohort_weight=0.5)
    assert tricks.first_match_error(scores, photos, weighed, others) == pytest.approx(0, abs=1e-6)


def test_a_row_counts_queries_won_and_lost() -> None:
    row = tricks.row(torch.tensor([1.0, 1, 2, 6]), torch.tensor([1.0, 3, 1, 1]))
    assert row == {
        **{"top-1": "0.500", "top-5": "0.750", "top-20": "1.000", "MRR": "0.667"},
        **{"won": 1, "lost": 2},
    }


def test_the_table_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["path,product_id,role,split"]
    for number in range(6):
        for count, role in enumerate(["product", "person", "person", "person"]):
            draw_photo(tmp_path / f"{number}-{count}.png", hue=40 * number, stripes=count)
            rows.append(f"{number}-{count}.png,{number},{role},validation")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    for number in range(4):
        draw_photo(tmp_path / "crowd" / f"{number}.png", hue=40 * number + 20)
    save_checkpoint(tmp_path / "model.safetensors")
    words = [tmp_path / "model.safetensors", tmp_path / "m.csv", "--distractors"]
    words += [tmp_path / "crowd", "--distractor-limit", "3"]
    monkeypatch.setattr("sys.argv", ["tricks.py", *map(str, words)])
    tricks.main()
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "12 queries, 9 products, 3 of them distractors"
    for name in ("plain", "flip averaging", "two photos, mean", "with a worn photo, mean", "int8"):
        assert any(line.strip().startswith(f"{name} ") for line in lines), name
