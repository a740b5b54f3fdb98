"""Labels that a model fills in: only where it is sure, and people are never overruled."""

from pathlib import Path

from helpers_catalog import new_catalog, product

from siamese.attributes.filling import fill, missing
from siamese.attributes.tagger import Tag


def test_what_is_less_probable_than_asked_goes_with_its_mark_but_people_s_labels_stay(
    tmp_path: Path,
) -> None:
    given = product("given", colour="red")
    catalog = new_catalog(tmp_path, given, product("sure", seed=1), product("unsure", seed=2))
    unsure = Tag("red", 0.4)
    tags = {name: {"colour": unsure, "kind": unsure} for name in ("given", "sure", "unsure")}
    assert fill(catalog, tags) == {"colour": 2, "kind": 3}
    tags["sure"] = {"colour": Tag("blue", 0.99)}
    assert fill(catalog, tags, least=0.5) == {"colour": 1}
    found = catalog.products().set_index("product_id")
    assert found["colour"].fillna("").to_dict() == {"given": "red", "sure": "blue", "unsure": ""}
    assert found["colour_predicted"].dropna().to_dict() == {"sure": 0.99}
    assert found["kind"].dropna().to_dict() == {"sure": "red"}  # of which nothing new was said
    assert missing(catalog, ["colour"]) == ["sure", "unsure"]
    assert fill(catalog, {"unsure": {"colour": unsure}}, least=0.5) == {}  # nothing to take away
