"""Filters and their counts, against pandas."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers_catalog import new_catalog, product

from siamese.catalog import CatalogError
from siamese.serving.columns import Columns, Filters, Range

COLOURS = ["Red", "Blue", "Red", None, "Blue", "Red"]
PRICES = [5.0, 10.0, 15.0, 20.0, None, 10.0]
NEW = [True, False, None, True, True, False]


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Columns:
    products = [
        product(f"p{n}", photos=1 + n % 2, seed=n, colour=c, price=p, new=t)
        for n, (c, p, t) in enumerate(zip(COLOURS, PRICES, NEW, strict=True))
    ]
    return Columns(new_catalog(tmp_path_factory.mktemp("catalog"), *products).snapshot())


def test_a_filter_holds_for_the_products_that_pandas_chooses(columns: Columns) -> None:
    frame = pd.DataFrame({"colour": COLOURS, "price": PRICES, "new": NEW})
    expected = (frame["colour"] == "Red") & frame["price"].between(5, 10) & (frame["new"] == False)  # noqa: E712
    filters: Filters = {"colour": ["Red"], "price": Range(5, 10), "new": [False]}
    assert columns.mask(filters).tolist() == expected.tolist() == [False] * 5 + [True]


def test_an_open_range_has_one_end_and_never_holds_for_the_unknown(columns: Columns) -> None:
    assert columns.mask({"price": Range(highest=10)}).tolist() == [1, 1, 0, 0, 0, 1]
    assert columns.mask({"price": Range(lowest=15)}).tolist() == [0, 0, 1, 1, 0, 0]
    assert columns.mask({"price": Range()}).tolist() == [1, 1, 1, 1, 0, 1]


def test_a_number_is_no_truth_value_and_an_empty_list_chooses_nothing(columns: Columns) -> None:
    assert not columns.mask({"new": [1.0]}).any()
    assert columns.mask({"new": [True]}).tolist() == [1, 0, 0, 1, 1, 0]
    assert not columns.mask({"colour": []}).any()


def test_a_value_that_looks_like_sql_is_only_a_value(columns: Columns) -> None:
    assert not columns.mask({"colour": ["Red' OR '1'='1"]}).any()


def test_counts_leave_out_the_columns_own_filter(columns: Columns) -> None:
    facets = {facet.name: facet for facet in columns.facets({"colour": ["Blue"]})}
    assert [(v.value, v.count) for v in facets["colour"].values] == [("Red", 3), ("Blue", 2)]
    assert [(v.value, v.count) for v in facets["new"].values] == [(False, 1), (True, 1)]
    prices = {v.value: v.count for v in facets["price"].values}
    assert prices == {5: 0, 10: 1, 15: 0, 20: 0}


def test_many_numbers_become_a_range_and_many_texts_no_filter(tmp_path: Path) -> None:
    products = [product(f"p{n:03}", seed=n, price=n / 2, name=f"n{n}") for n in range(201)]
    (facet,) = Columns(new_catalog(tmp_path, *products).snapshot()).facets({})
    assert (facet.name, facet.values, facet.lowest, facet.highest) == ("price", (), 0.0, 100.0)


def test_missing_attributes_are_counted(columns: Columns) -> None:
    assert columns.missing() == {"colour": 1, "price": 1, "new": 1}


def test_a_predicted_value_counts_and_its_mark_is_no_column(tmp_path: Path) -> None:
    products = [
        product("p0", seed=0, colour="Red"),
        product("p1", seed=1, colour="Red", colour_predicted=0.75),
        product("p2", seed=2),
    ]
    columns = Columns(new_catalog(tmp_path, *products).snapshot())
    assert list(columns.by_name) == ["colour"]
    assert columns.mask({"colour": ["Red"]}).tolist() == [True, True, False]
    (facet,) = columns.facets({})
    assert [(each.value, each.count) for each in facet.values] == [("Red", 2)]
    assert columns.missing() == {"colour": 1}


def test_an_empty_catalog_has_no_facets(tmp_path: Path) -> None:
    empty = Columns(new_catalog(tmp_path).snapshot())
    assert empty.facets({}) == []
    assert empty.mask({}).shape == (0,)


def test_an_unknown_column_and_a_range_of_text_are_told(columns: Columns) -> None:
    with pytest.raises(CatalogError, match="no column 'size'; there are colour, price, new"):
        columns.mask({"size": ["L"]})
    with pytest.raises(CatalogError, match="'colour' holds no numbers"):
        columns.mask({"colour": Range(1, 2)})


def test_random_filters_agree_with_pandas(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    values = random.integers(0, 5, 40)
    other = random.integers(0, 3, 40)
    products = [
        product(f"p{n:02}", seed=n, a=f"a{x}", b=float(y))
        for n, (x, y) in enumerate(zip(values, other, strict=True))
    ]
    columns = Columns(new_catalog(tmp_path, *products).snapshot())
    for wanted in range(3):
        facets = {f.name: f for f in columns.facets({"b": [float(wanted)]})}
        expected = pd.Series([f"a{x}" for x in values[other == wanted]]).value_counts()
        counts = {v.value: v.count for v in facets["a"].values if v.count}
        assert counts == expected.to_dict()
