"""Flags: any column from other attributes and the embedding, with rare values taken seriously."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_catalog import MADE_BY, SIZE, Call, assert_one_line, called

from siamese.attributes.flag import Flag, FlagCard, inputs_of, load_flag, train_flag
from siamese.attributes.flag_commands import card_of
from siamese.attributes.flag_report import flag_report
from siamese.attributes.tensor_file import TaggerError
from siamese.catalog import Catalog, Product

COUNT = 300


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One product in ten is fragile: glass, or what an embedding shows; the flag of five lacks."""
    folder = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(0)
    products = []
    for number in range(COUNT):
        vector = random.normal(scale=0.1, size=SIZE)
        vector[0] += 1
        glass, shown = number % 20 == 0, number % 20 == 10
        vector[1] += shown
        vector /= np.linalg.norm(vector)
        attributes: dict[str, Any] = {
            "material": "glass" if glass else ("wood", "cloth", None)[number % 3],
            "price": None if number % 9 == 0 else float(number % 50),
            "sku": f"A-{number}",
            "brand": "one",
            "isFragile": None if number < 5 else glass or shown,
            "isReturnable": True,
        }
        photos = [f"/shop/{number}.jpg"]
        products.append(Product(f"{number:03}", photos, vector[None].astype("f4"), attributes))
    Catalog.create(folder / "catalog", MADE_BY, SIZE, products)
    return folder


@pytest.fixture
def call(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(action: str, *words: object) -> tuple[int, str, str]:
        own = ["--catalog", f"{shop}/catalog", "--flag", f"{tmp_path}/flag.safetensors"]
        return called(capsys, "flag", action, *own, *words)

    return run


def test_a_rare_flag_is_found_by_attributes_and_embedding_together(call: Call) -> None:
    status, out, err = call("train", "isFragile", "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert [line["inputs"] for line in report["lines"]] == [
        "most frequent", "attributes", "embedding", "both, most probable", "both"
    ]  # fmt: skip
    guess, attributes, embedding, _, both = report["lines"]
    assert guess["balanced_accuracy"] == 0.5
    assert guess["accuracy"] > 0.8  # which says nothing of a rare flag
    assert both["balanced_accuracy"] > 0.95
    assert max(attributes["balanced_accuracy"], embedding["balanced_accuracy"]) < 0.9
    rare = next(row for row in report["values"] if row["value"] is True)
    assert rare["recall"] == 1


def test_the_report_says_what_it_did_not_look_at(call: Call) -> None:
    """The SKU names single products, and one brand tells nothing but that it is known."""
    _, out, _ = call("train", "isFragile")
    assert "isFragile of" in out
    assert "not looked at: sku" in out
    _, out, _ = call("train", "isFragile", "--without", "material", "--json")
    assert json.loads(out)["lines"][1]["balanced_accuracy"] < 0.7


def test_the_flag_fills_products_that_lack_it(call: Call, shop: Path, tmp_path: Path) -> None:
    import shutil

    call("train", "isFragile")
    place = tmp_path / "filled"
    shutil.copytree(shop / "catalog", place)
    status, out, _ = call("apply", "--catalog", place)
    assert (status, "filled isFragile of 5 products" in out) == (0, True)
    filled = Catalog.open(place).products("isFragile_predicted IS NOT NULL")
    assert filled["product_id"].tolist() == ["000", "001", "002", "003", "004"]
    assert filled["isFragile"].tolist() == [True, False, False, False, False]
    assert filled["isFragile_predicted"].between(0.5, 1).all()
    shutil.copytree(shop / "catalog", tmp_path / "sure")
    assert "of 0 products" in call("apply", "--catalog", tmp_path / "sure", "--least", "1")[1]


def test_a_plus_may_be_part_of_the_columns_name(call: Call, shop: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(shop / "catalog", tmp_path / "aged")
    catalog = Catalog.open(tmp_path / "aged")
    known = catalog.products().set_index("product_id")["isFragile"].dropna()
    catalog.set_each(
        {str(name): {"age 18+": bool(value)} for name, value in known.to_dict().items()}
    )
    status, out, _ = call("train", "age 18+", "--catalog", tmp_path / "aged")
    assert (status, "age 18+ of" in out) == (0, True)


def card(**options: Any) -> FlagCard:
    settings: dict[str, Any] = {
        "name": "flag", "values": (False, True), "kinds": {"kind": ("a", "b")},
        "numbers": {"price": 2.5}, "embedding": True, "fingerprint": MADE_BY,
    }  # fmt: skip
    return FlagCard(**settings | options)


def test_inputs_are_ones_for_values_numbers_with_a_mark_and_the_embedding() -> None:
    columns: dict[str, list[Any]] = {"kind": ["b", None, "new"], "price": [2.0, None, 3]}
    vectors = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    assert inputs_of(card(), columns, vectors).tolist() == [
        [0, 1, 2, 0, 1, 0], [0, 0, 2.5, 1, 0, 1], [0, 0, 3, 0, 1, 0]
    ]  # fmt: skip
    assert inputs_of(card(), {}, vectors).shape == (3, 6)
    assert inputs_of(card(embedding=False), {}, vectors).shape == (3, 4)


YEARS: list[int | None] = [*[2010] * 20, *[2011] * 20]  # True from 2011 on


def of_years(numbers: dict[str, float], years: list[int | None]) -> Flag:
    asked = card(kinds={}, numbers=numbers, embedding=False)
    inputs = inputs_of(asked, {"year": years}, np.zeros((len(years), 2), np.float32))
    return train_flag(asked, inputs, (np.arange(len(years)) >= 20).astype(np.int64))


def said_without_a_year(flag: Flag) -> list[float]:
    nothing = np.zeros((1, 2), np.float32)
    probabilities: list[float] = flag.probabilities(inputs_of(flag.card, {}, nothing))[0].tolist()
    return probabilities


def test_an_unknown_number_speaks_for_no_value_though_the_training_knew_all() -> None:
    """Taken for 0 it would be 4000 standard deviations before every year of the training."""
    columns: dict[str, list[Any]] = {"year": [*YEARS, None]}
    train = np.arange(41) < 40
    asked, _ = card_of("flag", (False, True), columns, train, MADE_BY, "attributes")
    assert asked.numbers == {"year": 2010.5}
    flag = of_years(asked.numbers, YEARS)
    assert said_without_a_year(flag) == pytest.approx([0.5, 0.5])
    assert [tag.value for tag in flag.tags(np.array([[2010.0, 0], [2011, 0]]))] == [False, True]


def test_flags_of_before_say_of_unknown_numbers_what_they_learned_or_nothing(
    tmp_path: Path,
) -> None:
    """Their cards have names of numbers alone; unknown ones were 0 in training, if there."""
    path = tmp_path / "flag.safetensors"

    def of_before(years: list[int | None]) -> Flag:
        flag = of_years({"year": 0.0}, years)
        replace(flag, card=replace(flag.card, numbers=["year"])).save(path)  # type: ignore[arg-type]
        return load_flag(path)

    knew_all = of_before(YEARS)
    assert knew_all.card.numbers == {"year": 2010.5}
    assert said_without_a_year(knew_all) == pytest.approx([0.5, 0.5])
    knew_none_of_the_first = of_before([None if year == 2010 else year for year in YEARS])
    assert knew_none_of_the_first.card.numbers == {"year": 0.0}
    assert said_without_a_year(knew_none_of_the_first)[0] > 0.8


@pytest.mark.parametrize("values", [2, 3])
def test_a_flag_says_what_scikit_learn_says_and_comes_back_from_its_file(
    tmp_path: Path, values: int
) -> None:
    """The balanced probabilities; the true ones are weighted by the frequencies."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(values)
    inputs = random.normal(size=(60, 4)) * [1, 5, 0, 2]
    labels = random.integers(0, values, 60)
    labels[:5] = 1
    flag = train_flag(card(values=tuple("xyz"[:values])), inputs, labels)
    scaled = (inputs - inputs.mean(0)) / np.where(inputs.std(0) > 0, inputs.std(0), 1)
    naive = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500).fit(scaled, labels)
    np.testing.assert_allclose(flag.balanced(inputs), naive.predict_proba(scaled), atol=1e-6)
    shares = naive.predict_proba(scaled) * np.bincount(labels) / len(labels)
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(flag.probabilities(inputs), shares, atol=1e-6)
    flag.save(tmp_path / "flag.safetensors")
    assert load_flag(tmp_path / "flag.safetensors").tags(inputs) == flag.tags(inputs)


def test_a_value_that_only_tests_have_is_never_predicted() -> None:
    inputs, labels = np.arange(6.0)[:, None], np.array([0, 0, 0, 2, 2, 2])
    flag = train_flag(card(values=("a", "b", "c")), inputs, labels)
    assert flag.balanced(inputs)[:, 1].tolist() == [0] * 6
    assert {tag.value for tag in flag.tags(inputs)} == {"a", "c"}
    with pytest.raises(TaggerError, match="fewer than two values in the products to train on"):
        train_flag(card(), inputs, np.zeros(6, np.int64))


def test_a_report_counts_by_hand() -> None:
    truth = np.array([0, 0, 0, 1])
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    report = flag_report("f", (False, True), truth, 0, {"both": (shares.argmax(1), shares)})
    guess, both = report.lines
    assert (guess.accuracy, guess.balanced_accuracy) == (0.75, 0.5)
    assert guess.average_precision == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert both.accuracy == 0.75
    assert both.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert both.average_precision == pytest.approx(((1 + 1 + 3 / 4) / 3 + 1 / 2) / 2)
    assert report.values[1] == {
        "value": True, "products": 1, "precision": 0.5, "recall": 1.0, "F1": pytest.approx(2 / 3)
    }  # fmt: skip


def test_every_bad_input_is_one_clear_line(call: Call, tmp_path: Path) -> None:
    cases: list[tuple[list[object], str]] = [
        (["train", "isReturnable"], "column 'isReturnable' says only True; a flag needs two"),
        (
            ["train", "isFragil"],
            "no column 'isFragil'; there are material, sku, brand, isReturnable",
        ),
        (["train", "sku"], "has 300 different values on 300 products"),
        (["train", "price"], "has 50 different values"),
        (["train", "isFragile+brand"], "name one column"),
        (["train", "isFragile", "--without", "colour"], "no column 'colour'"),
        (["train", "isFragile", "--where", "price > 99"], "holds for none"),
        (["train", "isFragile", "--where", "brand = 'two'"], "has brand 'two'; there are one"),
        (["apply"], "no such file; make a flag with infer.py flag train"),
    ]
    for words, message in cases:
        assert_one_line(call, words, message)
    (tmp_path / "flag.safetensors").write_bytes(b"x")
    assert "not a flag or damaged" in call("apply")[2]
