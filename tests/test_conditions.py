"""Filters: unknown columns and values list the known ones, and nothing is injected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers_catalog import new_catalog, product

from siamese.catalog import Catalog
from siamese.conditions import check_columns, condition
from siamese.products import CatalogError


@pytest.fixture
def shop(tmp_path: Path) -> Catalog:
    return new_catalog(
        tmp_path / "c",
        product("1", kind="Tshirts", colour="Blue", price=10.0, sale=True),
        product("2", seed=1, kind="Tshirts", colour="Navy Blue", price=20.0, sale=False),
        product("3", seed=2, kind="It's", colour="Blue", price=30.5),
        product("4", seed=3, kind="Shirts", colour="Red", price=40.0),
        product("5", seed=4, colour="a = 'b') OR (1=1"),
    )


def found(catalog: Catalog, filters: list[str], where: str | None = None) -> list[str]:
    return list(catalog.products(condition(catalog, filters, where))["product_id"])


@pytest.mark.parametrize(
    ("filters", "where", "expected"),
    [
        (["kind=Tshirts"], None, ["1", "2"]),
        (["kind=Tshirts", "kind=Shirts"], None, ["1", "2", "4"]),
        (["kind=Tshirts", "colour=Navy Blue"], None, ["2"]),
        (["kind=It's"], None, ["3"]),
        (["price=30.50"], None, ["3"]),
        (["sale=TRUE"], None, ["1"]),
        (["colour=a = 'b') OR (1=1"], None, ["5"]),
        (["colour=Blue"], "price > 10 OR price < 5", ["3"]),
        ([], "price > 10 AND kind = 'It''s'", ["3"]),
    ],
)
def test_filters_choose(
    filters: list[str], where: str | None, expected: list[str], shop: Catalog
) -> None:
    assert found(shop, filters, where) == expected


def test_without_filters_there_is_no_condition(shop: Catalog) -> None:
    assert condition(shop, [], None) is None


@pytest.mark.parametrize(
    ("filters", "complaint"),
    [
        (["kid=Tshirts"], "--filter kid: no such column; there are kind, colour, price, sale"),
        (["kind=Tshrts"], "no product has kind 'Tshrts'; there are Tshirts, Shirts, It's"),
        (["price=11"], "no product has price '11'; there are 10, 20, 30.5, 40"),
        (["price=cheap"], "no product has price 'cheap'"),
        (["sale=perhaps"], "no product has sale 'perhaps'; there are True, False"),
        (["kind"], "--filter kind: write it as column=value"),
        (["product_id=1"], "no such column"),
    ],
)
def test_unknown_columns_and_values_list_the_known_ones(
    filters: list[str], complaint: str, shop: Catalog
) -> None:
    with pytest.raises(CatalogError, match=complaint):
        condition(shop, filters, None)


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("kind = 'Tshrts'", "no product has kind 'Tshrts'; there are Tshirts, Shirts, It's"),
        ("KIND IN ('Nothing', 'Tshirts') AND price > 90", "no product has kind 'Nothing'"),
        ("`colour` = 'Bleu'", "no product has colour 'Bleu'; there are Blue"),
        ("kid = 'Tshirts'", "no column kid; there are product_id, path, kind"),
    ],
)
def test_a_condition_with_an_unknown_value_lists_the_known_ones(
    where: str, complaint: str, shop: Catalog
) -> None:
    with pytest.raises(CatalogError, match=complaint):
        condition(shop, [], where)


def test_a_condition_that_holds_for_none_of_the_known_values_is_not_called_unknown(
    shop: Catalog,
) -> None:
    assert found(shop, [], "kind = 'Shirts' AND price < 5") == []


@pytest.mark.parametrize(
    "where",
    [
        "true) OR (true",
        "price > 10) --",
        "price > 10 -- and more",
        "price > 10 /* and more */",
        "price > 10; DROP TABLE photos",
        "kind = 'x' UNION SELECT * FROM photos",
        "(price > 10",
        "kind = 'it's'",
        "'; DELETE FROM photos; --",
        "kind = ?",
        "kind = $1",
        "regexp_match(kind, '(((a')",
        "kind IN (SELECT kind FROM photos)",
        "read_csv('/etc/passwd')",
        "NOT sale IS kind",
        "",
    ],
)
def test_no_condition_ends_another_or_writes(where: str, shop: Catalog) -> None:
    version = shop.version
    with pytest.raises(CatalogError) as caught:
        found(shop, ["colour=Blue"], where)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"filter {where!r}: ")
    with pytest.raises(CatalogError):
        shop.products(where)
    assert (shop.version, shop.count()) == (version, 5)


def test_marks_in_a_text_are_no_code(shop: Catalog) -> None:
    for where in ("kind = 'It''s' OR colour = '--'", "colour = 'a = ''b'') OR (1=1'"):
        assert len(found(shop, [], where)) == 1


def test_every_value_of_a_wide_column_is_not_printed(tmp_path: Path) -> None:
    products = [product(str(n), seed=n, kind=f"kind {n:02}") for n in range(40)]
    catalog = new_catalog(tmp_path / "c", *products)
    with pytest.raises(CatalogError, match="and 28 more"):
        condition(catalog, ["kind=nothing"], None)


@pytest.mark.parametrize("columns", [[], ["kind", "price"]])
def test_known_columns_pass(columns: list[str], shop: Catalog) -> None:
    check_columns(shop, columns, "--vote")


def test_the_values_of_a_catalog_without_products_are_none(shop: Catalog) -> None:
    shop.remove(["1", "2", "3", "4", "5"])
    for filters, where in ((["kind=Tshirts"], None), ([], "kind = 'Tshirts'")):
        with pytest.raises(CatalogError, match="no product has kind 'Tshirts'; there are none"):
            condition(shop, filters, where)


def test_labels_with_commas_quotes_and_other_letters_are_filtered_by(tmp_path: Path) -> None:
    labels = ["T-shirt, long", 'Blue "navy"', "a=b;c", "東京", "-- x", "it's", "? $1"]
    products = [product(str(n), seed=n, städte=label) for n, label in enumerate(labels)]
    catalog = new_catalog(tmp_path / "c", *products)
    for number, label in enumerate(labels):
        assert found(catalog, [f"städte={label}"]) == [str(number)]
        quoted = label.replace("'", "''")
        assert found(catalog, [], f"`städte` = '{quoted}'") == [str(number)]


def test_a_catalog_without_attributes_has_no_columns(tmp_path: Path) -> None:
    empty: Any = new_catalog(tmp_path / "c", product("1"))
    with pytest.raises(CatalogError, match="there are none"):
        check_columns(empty, ["kind"], "--vote")
