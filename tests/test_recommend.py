"""Personal taste, variants, complements, variety and candidates, against cases made by hand."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_catalog import MADE_BY, SIZE, draw_photo, save_checkpoint, unit_vectors

import infer
from siamese.attributes.label_table import read_labels
from siamese.attributes.tagger import load_tagger
from siamese.catalog import Catalog, CatalogError, Product
from siamese.checkpoint import load_checkpoint
from siamese.finder import Finder
from siamese.labels import UNKNOWN
from siamese.recommend.candidates import Candidates, candidates_of, medoids
from siamese.recommend.complements import RULES, complements, learn_companions
from siamese.recommend.narrowing import Kinds, NarrowingFinder
from siamese.recommend.personal import PersonalFinder, rocchio
from siamese.recommend.taste import Taste, TasteError, read_taste, taste_from
from siamese.recommend.variants import variants
from siamese.recommend.variety import vary

Call = Callable[..., tuple[int, str, str]]
COLOURS = ("Black", "Blue", "Yellow")


def naive_medoid(vectors: np.ndarray) -> int:
    """With the matrix of all pairs."""
    wide = vectors.astype(np.float64)
    return int((wide @ wide.T).sum(axis=1).argmax())


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_medoids_are_those_of_the_full_matrix_whatever_the_chunk(chunk: int) -> None:
    vectors = unit_vectors(60, seed=1)
    group = np.random.default_rng(2).integers(UNKNOWN, 5, 60)
    group[group == 4] = UNKNOWN
    group[17] = 4  # a kind of one product
    places, sums = medoids(vectors, group, chunk)
    for kind in range(5):
        members = np.flatnonzero(group == kind)
        best = members[naive_medoid(vectors[members])]
        assert places[kind] == best
        assert sums[kind] == pytest.approx((vectors[members] @ vectors[best]).sum(), abs=1e-5)
    assert places[4] == 17


def test_of_equal_products_the_first_is_the_medoid() -> None:
    vectors = np.repeat(unit_vectors(1), 5, axis=0)
    places, _ = medoids(vectors, np.zeros(5, np.int64), chunk=2)
    assert places.tolist() == [0]


def wardrobe(folder: Path) -> Catalog:
    """Shirts in three colours (the colour is the second coordinate), and things to go with them.

    | id | type | colour | gender | usage |
    """
    rows = [
        ("s1", "Topwear", "Shirts", "Blue", "Men", "Casual"),
        ("s2", "Topwear", "Shirts", "Yellow", "Men", "Casual"),
        ("s3", "Topwear", "Shirts", "Yellow", "Men", "Formal"),
        ("s4", "Topwear", "Shirts", "Black", "Men", "Casual"),
        ("s5", "Topwear", "Shirts", "Black", "Women", "Casual"),
        ("s6", "Topwear", "Tops", "Black", "Women", "Casual"),
        ("s7", "Topwear", "Shirts", None, "Men", "Casual"),
        ("t1", "Bottomwear", "Jeans", "Blue", "Men", "Formal"),
        ("t2", "Bottomwear", "Jeans", "Blue", "Men", "Casual"),
        ("t3", "Bottomwear", "Jeans", "Blue", "Women", "Casual"),
        ("w1", "Watches", "Watches", "Black", "Unisex", "Casual"),
        ("x1", "Unheard of", "Thing", "Black", None, None),
    ]
    columns = ("subCategory", "articleType", "baseColour", "gender", "usage")
    products = []
    for number, (name, *values) in enumerate(rows):
        vector = np.zeros(SIZE)
        vector[0], vector[1] = 1.0, 0.1 * number
        vector[2] = 1.0 if values[0] != "Topwear" else 0.0
        vector /= np.linalg.norm(vector)
        attributes = dict(zip(columns, values, strict=True))
        products.append(
            Product(name, [f"/{name}.jpg"], vector[None].astype(np.float32), attributes)
        )
    return Catalog.create(folder, MADE_BY, SIZE, products)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return wardrobe(tmp_path_factory.mktemp("wardrobe") / "catalog")


def test_candidates_tell_how_alike_their_kind_is_also_of_a_single_product(catalog: Catalog) -> None:
    found = candidates_of(read_labels(catalog, ["gender+articleType"]))
    assert found.labels == (
        "Men Jeans", "Men Shirts", "Unisex Watches", "Women Jeans", "Women Shirts", "Women Tops"
    )  # fmt: skip
    assert found.counts.tolist() == [2, 5, 1, 1, 1, 1]
    assert found.similarity[2:].tolist() == [1, 1, 1, 1]
    vectors = catalog.snapshot().means
    men = [catalog.snapshot().place_of[f"s{n}"] for n in (1, 2, 3, 4, 7)]
    best = men[naive_medoid(vectors[men])]
    assert found.product_ids[1] == catalog.snapshot().product_ids[best]
    others = [place for place in men if place != best]
    assert found.similarity[1] == pytest.approx((vectors[others] @ vectors[best]).mean(), abs=1e-6)
    assert found.group[catalog.snapshot().place_of["x1"]] == UNKNOWN


def test_a_label_that_no_product_has_is_refused(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="no product has the label 'gender'"):
        candidates_of(read_labels(catalog, ["gender"], "product_id = 'x1'"))


def test_rocchio_moves_by_its_formula_and_stands_still_without_likes() -> None:
    query, liked, disliked = (torch.from_numpy(unit_vectors(n, seed=n)) for n in (2, 3, 4))
    moved = rocchio(query, liked, disliked)
    naive = query + 0.75 * liked.mean(0) - 0.15 * disliked.mean(0)
    torch.testing.assert_close(moved, naive / naive.norm(dim=1, keepdim=True))
    assert torch.equal(rocchio(query, liked[:0], disliked[:0]), query)


def naive_mmr(scores: np.ndarray, vectors: np.ndarray, top: int, variety: float) -> list[int]:
    """As the formula stands."""
    chosen: list[int] = []
    while len(chosen) < top:

        def gain(place: int) -> float:
            twin = max((float(vectors[place] @ vectors[c]) for c in chosen), default=0.0)
            return (1 - variety) * scores[place] - variety * twin

        left = [place for place in range(len(scores)) if place not in chosen]
        chosen.append(max(left, key=gain))
    return chosen


@pytest.mark.parametrize("variety", [0.0, 0.3, 0.7, 1.0])
def test_variety_is_maximal_marginal_relevance(variety: float) -> None:
    vectors, query = unit_vectors(30, seed=5), unit_vectors(1, seed=6)[0]
    scores = vectors @ query
    found = vary(scores, vectors, 8, variety).tolist()
    expected = naive_mmr(scores, vectors, 8, variety)
    assert found == (expected if variety else np.argsort(-scores)[:8].tolist())
    assert sorted(vary(scores, vectors, 99, variety)) == list(range(30))


def test_twins_do_not_stand_beside_each_other_in_a_varied_list() -> None:
    one, other = np.eye(2, dtype=np.float32)
    vectors, scores = np.stack([one, one, one, other]), np.array([0.9, 0.89, 0.88, 0.5])
    assert vary(scores, vectors, 2, 0.0).tolist() == [0, 1]
    assert vary(scores, vectors, 2, 0.5).tolist() == [0, 3]
    with pytest.raises(ValueError, match="from 0 to 1"):
        vary(scores, vectors, 2, 1.5)


def test_what_is_never_shown_is_not_and_unknown_colours_are(catalog: Catalog) -> None:
    taste = Taste(never={"baseColour": ("Yellow", "Blue")}, dislikes=("w1",))
    snapshot = catalog.snapshot()
    allowed = taste.allows(snapshot)
    shown = [name for name, ok in zip(snapshot.product_ids, allowed, strict=True) if ok]
    assert shown == ["s4", "s5", "s6", "s7", "x1"]


def test_a_profile_that_the_catalog_does_not_know_lists_what_it_knows(catalog: Catalog) -> None:
    snapshot = catalog.snapshot()
    known = "baseColour has no value Yelow; there are Black, Blue, Yellow"
    for taste, message in [
        (Taste(never={"baseColour": ("Yelow",)}), known),
        (Taste(prefer={"baseColour": ("Yelow",)}), known),
        (Taste(never={"color": ("Yellow",)}), "no column 'color'; there are subCategory"),
        (Taste(likes=("s1", "nothing")), "no product nothing in the catalog"),
        (Taste(dislikes=("nothing",)), "no product nothing"),
    ]:
        with pytest.raises(CatalogError, match=message):
            taste.check(snapshot)


def test_profiles_are_read_joined_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "taste.json"
    path.write_text('{"never": {"baseColour": "Yellow", "year": [2011]}, "likes": ["1", 2]}')
    taste = read_taste(path) | Taste(never={"baseColour": ("Red", "Yellow")}, likes=("2", "3"))
    assert taste.never == {"baseColour": ("Yellow", "Red"), "year": (2011,)}
    assert taste.likes == ("1", "2", "3")
    assert taste
    assert not taste_from({})
    contents = ["[]", '{"nver": {}}', '{"never": []}', '{"likes": [{}]}', "{", ""]
    for content in contents:
        path.write_text(content)
        with pytest.raises(TasteError, match=r"taste\.json: "):
            read_taste(path)
    with pytest.raises(TasteError, match="No such file"):
        read_taste(tmp_path / "none")


def test_variants_are_of_the_same_kind_in_another_known_colour_one_each(catalog: Catalog) -> None:
    """Of s1 (blue): s2 is the more alike of two yellow ones, s5 and s6 are of another kind."""
    found = variants(catalog, "s1")
    assert [(s.product_id, s.why) for s in found] == [("s2", "Yellow"), ("s4", "Black")]
    assert found[0].cosine > found[1].cosine
    assert found[0].path == "/s2.jpg"
    never = Taste(never={"baseColour": ("Yellow",)})
    assert [s.product_id for s in variants(catalog, "s1", taste=never)] == ["s4"]
    both = variants(catalog, "s1", same=["articleType"], different="gender")
    assert [s.why for s in both] == ["Women"]
    assert variants(catalog, "w1") == []
    assert len(variants(catalog, "s1", top=1)) == 1


def test_variants_of_what_is_not_known_say_what_to_do(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="s7 has no baseColour; set it"):
        variants(catalog, "s7")
    with pytest.raises(CatalogError, match="no product s9"):
        variants(catalog, "s9")
    with pytest.raises(CatalogError, match="no column 'colour'; there are subCategory"):
        variants(catalog, "s1", different="colour")


def test_by_rule_complements_are_of_other_categories_for_the_same_people(catalog: Catalog) -> None:
    """t2 before t1: of the same usage. t3 is for women; the watch is for all."""
    found = complements(catalog, "s1")
    assert [(s.why, s.product_id) for s in found] == [
        ("Bottomwear", "t2"), ("Bottomwear", "t1"), ("Watches", "w1")
    ]  # fmt: skip
    assert len(complements(catalog, "s1", top=1, categories=1)) == 1
    assert [s.product_id for s in complements(catalog, "s6")] == ["t3", "w1"]
    with pytest.raises(CatalogError, match="nothing is known to go with subCategory 'Unheard of'"):
        complements(catalog, "x1")


def test_rules_never_name_a_category_twice_and_only_known_ones() -> None:
    for kind, others in RULES.items():
        assert len(set(others)) == len(others) > 0
        assert set(others) <= set(RULES), kind


def test_what_sets_teach_comes_before_rules_and_known_pairs_come_first(catalog: Catalog) -> None:
    """Watches were three times with tops, jeans once; t1 was worn with s1 itself."""
    sets = [["s1", "w1"], ["s2", "w1", "w1"], ["s6", "w1"], ["s1", "t1"], ["lost", "s1"]]
    snapshot = catalog.snapshot()
    category = {
        name: row.attributes["subCategory"]
        for name in snapshot.product_ids
        for row in [_match(catalog, name)]
    }
    learned = learn_companions(sets, category)
    assert learned.categories == {
        "Topwear": ["Watches", "Bottomwear"],
        "Watches": ["Topwear"],
        "Bottomwear": ["Topwear"],
    }
    assert learned.together["s1", "t1"] == learned.together["t1", "s1"] == 1
    found = complements(catalog, "s1", learned)
    assert [s.product_id for s in found] == ["w1", "t1", "t2"]


def _match(catalog: Catalog, name: str) -> Any:
    class Row:
        attributes = catalog.snapshot().describe(
            catalog.snapshot().first[[catalog.snapshot().place_of[name]]]
        )[0][1]

    return Row


def test_the_nearest_candidate_of_the_category_says_the_kind() -> None:
    """The second query's category is none of them, so all candidates are compared."""
    vectors = np.eye(3, dtype=np.float32)
    found = Candidates(("a", "b", "c"), ("1", "2", "3"), vectors, *[np.ones(3)] * 3)
    kinds = Kinds(1, found, np.array(["x", "x", "y"], dtype=object))
    query = np.array([[0.1, 0.2, 0.9]], np.float32)
    assert kinds.nearest(query, ["x"]).tolist() == [1]
    assert kinds.nearest(query, ["unheard of"]).tolist() == [2]
    assert kinds.nearest(np.repeat(query, 2, 0), ["x", "y"]).tolist() == [1, 2]


def test_a_narrowed_search_ranks_the_kind_alone_and_a_filter_comes_before_it(
    call: Call, shop: Path, tmp_path: Path
) -> None:
    tagger = tmp_path / "tagger.safetensors"
    words = [*places(shop), "--tagger", str(tagger), "--input", "embedding"]
    assert infer.main(["tagger", "train", *words, "--columns", "subCategory", "baseColour"]) == 0
    finder = Finder(load_checkpoint(shop / "model.safetensors"), f"{shop}/catalog")
    narrowing = NarrowingFinder(finder, load_tagger(tagger), label="baseColour")
    query = torch.from_numpy(finder.catalog.snapshot().means[2:3])
    (ranking,) = narrowing.rank_embeddings(query, 30)
    kind = int(narrowing.kinds(finder.catalog.snapshot(), query)[0])
    assert {match.attributes["baseColour"] for match in ranking.matches} == {COLOURS[kind]}
    assert len(ranking.matches) == 10
    elsewhere = f"baseColour != '{COLOURS[kind]}'"
    assert len(narrowing.rank_embeddings(query, 30, elsewhere)[0].matches) == 20
    status, out, _ = call("search", shop / "photos" / "02.png", "--json", "--narrow", tagger)
    assert status == 0
    assert len(colours(out)) == 20  # all are shirts for men
    words[-1] = "features"
    assert infer.main(["tagger", "train", *words, "--columns", "subCategory"]) == 0
    status, _, err = call("search", shop / "photos" / "02.png", "--narrow", tagger)
    assert (status, "narrowing needs a tagger of subCategory" in err) == (1, True)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty photos in three colours, and a catalog of them."""
    folder = tmp_path_factory.mktemp("shop")
    lines = ["id,baseColour,gender,articleType,subCategory"]
    for number, colour in zip(range(30), itertools.cycle(COLOURS), strict=False):
        hue = {"Black": 0, "Blue": 160, "Yellow": 40}[colour] + number // 3
        draw_photo(folder / "photos" / f"{number:02}.png", hue, number % 5)
        lines.append(f"{number:02},{colour},Men,Shirts,{('Topwear', 'Shoes')[number % 2]}")
    (folder / "shop.csv").write_text("\n".join(lines))
    save_checkpoint(folder / "model.safetensors")
    words = ["--photos", f"{folder}/photos", "--attributes", f"{folder}/shop.csv"]
    assert infer.main(["index", *places(folder), *words]) == 0
    return folder


def places(folder: Path) -> list[str]:
    return ["--catalog", f"{folder}/catalog", "--checkpoint", f"{folder}/model.safetensors"]


@pytest.fixture
def call(shop: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(command: str, *words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = infer.main([command, *places(shop), *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def colours(out: str) -> list[str]:
    return [match["attributes"]["baseColour"] for match in json.loads(out)[0]["matches"]]


def test_a_search_never_shows_what_is_hated_and_moves_up_what_is_preferred(
    call: Call, shop: Path, tmp_path: Path
) -> None:
    search = ["search", shop / "photos" / "02.png", "--json", "--top", "10"]
    assert "Yellow" in colours(call(*search)[1])
    profile = tmp_path / "taste.json"
    profile.write_text('{"never": {"baseColour": ["Yellow"]}}')
    for words in (["--never", "baseColour=yellow"], ["--taste", profile]):
        status, out, _ = call(*search, *words)
        assert (status, len(colours(out))) == (0, 10)
        assert "Yellow" not in colours(out)
    preferred = colours(call(*search, "--prefer", "baseColour=Blue")[1])
    assert preferred.count("Blue") >= colours(call(*search)[1]).count("Blue")
    liked = json.loads(call(*search, "--like", "01", "--dislike", "02")[1])[0]["matches"]
    assert "02" not in [match["product_id"] for match in liked]
    assert call(*search, "--variety", "0")[1] == call(*search)[1]
    assert call(*search, "--variety", "0.9")[1] != call(*search)[1]


def test_likes_move_the_query_towards_them(shop: Path) -> None:
    finder = Finder(load_checkpoint(shop / "model.safetensors"), f"{shop}/catalog")
    query = torch.from_numpy(finder.catalog.snapshot().means[:1])
    (before,) = finder.rank_embeddings(query, 30)
    (after,) = PersonalFinder(finder, Taste(likes=("01",))).rank_embeddings(query, 30)
    place = {m.product_id: n for n, m in enumerate(before.matches)}
    moved = {m.product_id: n for n, m in enumerate(after.matches)}
    assert moved["01"] < place["01"]
    (plain,) = PersonalFinder(finder, Taste()).rank_embeddings(query, 30)
    assert plain == before
    everything = Taste(never={"baseColour": COLOURS})
    with pytest.raises(CatalogError, match="rules out every product"):
        PersonalFinder(finder, everything).rank_embeddings(query)


def test_the_commands_show_suggestions(call: Call, tmp_path: Path) -> None:
    status, out, _ = call("variants", "02", "--sheet", tmp_path / "v.png")
    assert (status, sorted(line.split()[0] for line in out.splitlines())) == (0, ["Black", "Blue"])
    assert (tmp_path / "v.png").exists()
    status, out, _ = call("variants", "02", "--json", "--never", "baseColour=Blue")
    assert [row["why"] for row in json.loads(out)] == ["Black"]
    status, out, _ = call("complements", "02", "--json", "--sheet", tmp_path / "c.png")
    assert [row["why"] for row in json.loads(out)] == ["Shoes"] * 3
    sets = tmp_path / "sets.csv"
    sets.write_text("set_id,product_id\na,02\na,05\nb,04\nb,07\n")
    status, out, _ = call("complements", "02", "--sets", sets)
    assert out.split()[:2] == ["Shoes", "05"]
    status, out, _ = call("candidates", "--label", "baseColour")
    assert [line.split()[:2] for line in out.splitlines()] == [[c, "10"] for c in COLOURS]
    assert len(json.loads(call("candidates", "--json")[1])) == 1


def test_every_bad_input_is_one_clear_line(call: Call, shop: Path, tmp_path: Path) -> None:
    photo = shop / "photos" / "02.png"
    for name, content in (("lone", "set_id,product_id\na,1\n"), ("odd", "set,product\n1,2\n")):
        (tmp_path / f"{name}.csv").write_text(content)
    cases: list[tuple[list[object], str]] = [
        (["search", photo, "--never", "baseColour=Yelow"], "there are Black, Blue, Yellow"),
        (["search", photo, "--prefer", "colour=Red"], "no column 'colour'; there are baseColour"),
        (["search", photo, "--never", "baseColour"], "--never baseColour: write it as COLUMN="),
        (["search", photo, "--like", "99"], "no product 99"),
        (["search", photo, "--taste", "/missing"], "/missing: the profile cannot be read"),
        (["variants", "99"], "no product 99"),
        (["complements", "02", "--sets", "/missing"], "the sets cannot be read"),
        (["complements", "02", "--sets", tmp_path / "lone.csv"], "no set has two products"),
        (["complements", "02", "--sets", tmp_path / "odd.csv"], "needs the columns set_id and"),
        (["complements", "02", "--category", "kind"], "no column 'kind'; there are"),
        (["candidates", "--label", "kind"], "no column 'kind'; there are"),
        (["candidates", "--where", "kind = 1"], "no column kind"),
    ]
    for words, message in cases:
        status, out, err = call(*words)
        assert (status, out) == (1, ""), words
        assert message in err, (words, err)
        assert err.count("\n") == 1, (words, err)
