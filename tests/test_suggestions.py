"""Variants and complements of products, against cases made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_catalog import MADE_BY, SIZE, unit_vectors
from helpers_recommend import wardrobe

from siamese.catalog import Catalog, CatalogError, Product
from siamese.recommend.commands import read_companions
from siamese.recommend.complements import RULES, complements, learn_companions
from siamese.recommend.taste import Taste
from siamese.recommend.variants import variants


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return wardrobe(tmp_path_factory.mktemp("wardrobe") / "catalog")


def test_variants_are_of_the_same_kind_in_another_known_colour_one_each(catalog: Catalog) -> None:
    """Of s1 (blue): s2 is the more alike of two yellow ones, s5 and s6 are of another kind."""
    found = variants(catalog.snapshot(), "s1")
    assert [(s.product_id, s.why) for s in found] == [("s2", "Yellow"), ("s4", "Black")]
    assert found[0].cosine > found[1].cosine
    assert found[0].path == "/s2.jpg"
    never = Taste(never={"baseColour": ("Yellow",)})
    assert [s.product_id for s in variants(catalog.snapshot(), "s1", taste=never)] == ["s4"]
    both = variants(catalog.snapshot(), "s1", same=["articleType"], different="gender")
    assert [s.why for s in both] == ["Women"]
    assert variants(catalog.snapshot(), "w1") == []
    assert len(variants(catalog.snapshot(), "s1", top=1)) == 1


def test_variants_of_what_is_not_known_say_what_to_do(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="s7 has no baseColour; set it"):
        variants(catalog.snapshot(), "s7")
    with pytest.raises(CatalogError, match="no product s9"):
        variants(catalog.snapshot(), "s9")
    with pytest.raises(CatalogError, match="no column 'colour'; there are subCategory"):
        variants(catalog.snapshot(), "s1", different="colour")


def test_by_rule_complements_are_of_other_categories_for_the_same_people(catalog: Catalog) -> None:
    """t2 before t1: of the same usage. t3 is for women; the watch is for all."""
    found = complements(catalog.snapshot(), "s1")
    assert [(s.why, s.product_id) for s in found] == [
        ("Bottomwear", "t2"), ("Bottomwear", "t1"), ("Watches", "w1")
    ]  # fmt: skip
    assert len(complements(catalog.snapshot(), "s1", top=1, categories=1)) == 1
    assert [s.product_id for s in complements(catalog.snapshot(), "s6")] == ["t3", "w1"]
    with pytest.raises(CatalogError, match="nothing is known to go with subCategory 'Unheard of'"):
        complements(catalog.snapshot(), "x1")


def test_rules_never_name_a_category_twice_and_only_known_ones() -> None:
    for kind, others in RULES.items():
        assert len(set(others)) == len(others) > 0
        assert set(others) <= set(RULES), kind


def test_what_sets_teach_comes_before_rules_and_known_pairs_come_first(catalog: Catalog) -> None:
    """Watches were three times with tops, jeans once; t1 was worn with s1 itself."""
    sets = [["s1", "w1"], ["s2", "w1", "w1"], ["s6", "w1"], ["s1", "t1"], ["lost", "s1"]]
    products = catalog.products()
    category = dict(zip(products["product_id"], products["subCategory"], strict=True))
    learned = learn_companions(sets, category)
    assert learned.categories == {
        "Topwear": ["Watches", "Bottomwear"],
        "Watches": ["Topwear"],
        "Bottomwear": ["Topwear"],
    }
    assert learned.together["s1", "t1"] == learned.together["t1", "s1"] == 1
    found = complements(catalog.snapshot(), "s1", learned)
    assert [s.product_id for s in found] == ["w1", "t1", "t2"]


def test_categories_may_be_numbers(tmp_path: Path) -> None:
    """Departments 10 and 20; the catalog keeps them as fractions, and of x none is known."""
    departments = {"a": 10.0, "b": 20.0, "c": 20.0, "d": 10.0, "x": None}
    vectors = unit_vectors(len(departments), seed=1)[:, None]
    products = [
        Product(name, [f"/{name}.jpg"], vector, {"department": number})
        for (name, number), vector in zip(departments.items(), vectors, strict=True)
    ]
    snapshot = Catalog.create(tmp_path / "catalog", MADE_BY, SIZE, products).snapshot()
    (tmp_path / "sets.csv").write_text("set_id,product_id\n1,a\n1,b\n")
    learned = read_companions(str(tmp_path / "sets.csv"), snapshot, "department")
    found = complements(snapshot, "d", learned, category="department")
    assert sorted((s.product_id, s.why) for s in found) == [("b", "20"), ("c", "20")]
    with pytest.raises(CatalogError, match="nothing is known to go with department None"):
        complements(snapshot, "x", learned, category="department")
