"""`infer.py explore`: counts, missing values, clusters and the map of a catalog."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers_catalog import MADE_BY, draw_photo, unit_vectors
from matplotlib.figure import Figure
from PIL import Image

import infer
from siamese.attributes import exploration_report
from siamese.attributes.confusion import draw_confusion
from siamese.attributes.exploration import (
    cluster,
    cluster_labels,
    flat_map,
    label_columns,
    label_counts,
    overview,
    products_of,
    purity,
)
from siamese.attributes.exploration_report import (
    SIDE,
    draw_bars,
    draw_map,
    sample_sheet,
    samples_of,
)
from siamese.attributes.figures import OTHERS, PALETTE, label_colours, save_figure
from siamese.catalog import Catalog, Product
from siamese.errors import UserError

COLOURS = ("red", "green", "blue")
DOLLARS = r"$\frac$"
NASTY = "</script><b>\"'&"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty products around three points, so that k-means must find the three colours."""
    folder = tmp_path_factory.mktemp("shop")
    centres, noise = unit_vectors(3, seed=1), unit_vectors(30, seed=2)
    products = []
    for number in range(30):
        path = draw_photo(folder / f"{number:02}.png", hue=85 * (number % 3), stripes=number % 4)
        vector = centres[number % 3] + 0.1 * noise[number]
        vector = (vector / np.linalg.norm(vector))[None].astype(np.float32)
        attributes: dict[str, Any] = {
            "colour": COLOURS[number % 3],
            "name": f"number {number}",
        }
        attributes |= {"year": 2010.0 + number % 2, "fit": NASTY if number else None}
        products.append(Product(f"{number:02}", [str(path)], vector, attributes))
    Catalog.create(folder / "catalog", MADE_BY, 8, products)
    return folder / "catalog"


@pytest.fixture(scope="module")
def explored(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "deep"
    words = ["explore", "--catalog", shop, "--out", out, "--labels", "colour", "year", "fit"]
    assert infer.main([str(word) for word in words]) == 0
    return out


def test_names_are_no_labels_and_years_are(shop: Path) -> None:
    table = products_of(Catalog.open(shop).snapshot()).table
    assert label_columns(table) == ["colour", "year"]  # of fit there is one value only
    assert label_columns(table, ["fit", "name", "fit"]) == ["fit", "name"]
    with pytest.raises(UserError, match="--labels kind: no such column; there are colour, name"):
        label_columns(table, ["kind"])
    with pytest.raises(UserError, match="no column of the catalog holds labels"):
        label_columns(table[["product_id", "path", "name"]])
    with pytest.raises(UserError, match="no product has a value"):
        label_columns(table.assign(kind=None), ["kind"])


def test_marks_of_predicted_values_are_no_labels(shop: Path) -> None:
    table = products_of(Catalog.open(shop).snapshot()).table
    table["colour_predicted"] = [0.5, 0.75] * 15
    assert label_columns(table) == ["colour", "year"]


def test_labels_that_name_colours_have_them_and_others_one_each() -> None:
    colours = ["Black", "Navy Blue", "Off White", "Multi"]
    assert label_colours(colours, 2) == ["#000000", "#000080", "#ffffff", OTHERS]
    names = [f"label {number}" for number in range(4)]
    assert label_colours(["Tan", *names], 3) == [*PALETTE[:3], OTHERS, OTHERS]
    assert label_colours(["Multi", "Steel", "Red"], 3) == list(PALETTE[:3])  # hardly any does
    assert len(set(PALETTE)) == len(PALETTE)


def test_every_label_has_its_line_of_samples(shop: Path) -> None:
    table = products_of(Catalog.open(shop).snapshot()).table
    names = [f"number {number}" for number in range(30)]
    chosen = samples_of(table, table["name"], names, seed=0)
    assert {name: Path(path).stem for name, (path,) in chosen.items()} == {
        f"number {number}": f"{number:02}" for number in range(30)
    }
    lines = sample_sheet(chosen, dict.fromkeys(names, "1 product")).height
    assert lines > 30 * SIDE


def test_letters_that_the_font_lacks_are_no_noise(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    counts = label_counts(pd.DataFrame({"kind": ["東京", "b", "b"]}), ["kind"])
    draw_bars(counts, {"kind": 0}, tmp_path / "labels.png")
    assert (tmp_path / "labels.png").exists()
    assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []


def test_dollars_in_labels_begin_no_formula(tmp_path: Path) -> None:
    """matplotlib would end with an error of its parser, or leave the dollars out."""
    table = pd.DataFrame({DOLLARS: [DOLLARS, "$10 to $20", "c"]})
    draw_bars(label_counts(table, [DOLLARS]), {DOLLARS: 1}, tmp_path / "labels.png")
    draw_map(np.eye(3, 2), table, [DOLLARS], tmp_path / "map.png")
    draw_confusion(tmp_path / "confusion.png", DOLLARS, [DOLLARS, "$10 to $20"], np.eye(2))
    assert {path.name for path in tmp_path.iterdir()} == {"labels.png", "map.png", "confusion.png"}
    figure = Figure()
    text = figure.text(0.1, 0.1, "$10 to $20")
    save_figure(figure, tmp_path / "text.png")
    assert not text.get_parse_math()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that would have been saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(
        exploration_report, "save_figure", lambda figure, *_, **__: figures.append(figure)
    )
    return figures


def test_the_map_names_labels_that_begin_with_an_underscore(drawn: list[Figure]) -> None:
    draw_map(np.eye(3, 2), pd.DataFrame({"kind": ["_x", "_x", "y"]}), ["kind"], Path("map.png"))
    legend = drawn[0].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["_x", "y"]


@pytest.mark.parametrize(("labels", "last"), [(15, "14"), (16, "15"), (17, "2 others")])
def test_a_single_rest_is_named(drawn: list[Figure], labels: int, last: str) -> None:
    table = pd.DataFrame({"kind": [f"{number:02}" for number in range(labels)]})
    draw_bars(label_counts(table, ["kind"]), {"kind": 0}, Path("labels.png"))
    names = [text.get_text() for text in drawn[0].axes[0].get_yticklabels()]
    assert (len(names), names[-1]) == (min(labels, 16), last)


def test_labels_are_counted_and_missing_ones_too() -> None:
    table = pd.DataFrame(
        {"kind": ["b", "a", "b", None, "b"], "year": [2010.0, 2011, None, 2010, 1]}
    )
    counts = label_counts(table, ["kind", "year"])
    assert counts.to_dict("split")["data"] == [
        ["kind", "b", 3, 0.6],
        ["kind", "a", 1, 0.2],
        ["year", "2010", 2, 0.4],
        ["year", "1", 1, 0.2],
        ["year", "2011", 1, 0.2],
    ]
    first, second = overview(table, counts).to_dict("records")
    assert (first["labels"], first["missing"], first["rare labels"]) == (2, 1, 2)
    assert (first["most common"], first["its share"], first["largest / smallest"]) == ("b", 0.6, 3)
    assert (second["labels"], second["missing"]) == (3, 1)


def test_numbers_with_many_digits_stay_different_labels() -> None:
    """One product without a code makes fractions of all."""
    codes = [*range(1_000_001, 1_000_005), None]
    table = pd.DataFrame({"code": codes, "size": [0.1234567, 0.1234568, 38.5, 38.0, 38.0]})
    counts = label_counts(table, ["code", "size"])
    by_column = counts.groupby("column")["label"].agg(list)
    assert by_column["code"] == ["1000001", "1000002", "1000003", "1000004"]
    assert by_column["size"] == ["38", "0.1234567", "0.1234568", "38.5"]


def test_purity_is_the_share_of_the_most_common_label_of_each_cluster() -> None:
    """Cluster 0 has 2 of 3 hats, cluster 1 one of two; a missing label is of no kind."""
    table = pd.DataFrame({"kind": ["hat", "hat", "shoe", "bag", None]})
    found = cluster_labels(table, np.array([0, 0, 0, 1, 1]), ["kind"])
    assert found["products"].tolist() == [3, 2]
    assert found["kind"].tolist() == ["hat", "bag"]
    assert found["kind purity"].tolist() == [2 / 3, 1 / 2]
    assert purity(found, "kind") == pytest.approx(3 / 5)
    nothing = cluster_labels(pd.DataFrame({"kind": [None, None]}), np.array([0, 0]), ["kind"])
    assert nothing["kind purity"].tolist() == [0.0]


def test_columns_called_as_the_table_calls_its_own_are_told_apart() -> None:
    table = pd.DataFrame({"products": ["a", "a", "b"], "cluster": ["c", "d", "d"]})
    found = cluster_labels(table, np.array([0, 0, 1]), ["products", "cluster"])
    assert found["products"].tolist() == [2, 1]
    assert found["cluster"].tolist() == [0, 1]
    assert found["products label"].tolist() == ["a", "b"]
    assert purity(found, "products") == 1.0
    assert purity(found, "cluster") == pytest.approx(2 / 3)


def test_clusters_find_the_points_that_products_lie_around(shop: Path) -> None:
    products = products_of(Catalog.open(shop).snapshot())
    clusters = cluster(products.embeddings, 3)
    assert np.bincount(clusters).tolist() == [10, 10, 10]
    assert purity(cluster_labels(products.table, clusters, ["colour"]), "colour") == 1.0
    assert np.array_equal(clusters, cluster(products.embeddings, 3))
    with pytest.raises(UserError, match="--clusters 31: there are 30 products only"):
        cluster(products.embeddings, 31)


def test_the_largest_cluster_is_number_0() -> None:
    embeddings = unit_vectors(2, seed=3)[[0, 1, 1, 1, 0, 1]]
    assert np.bincount(cluster(embeddings, 2)).tolist() == [4, 2]


def test_on_the_map_alike_products_lie_together(shop: Path) -> None:
    products = products_of(Catalog.open(shop).snapshot())
    places = flat_map(products.embeddings)
    assert places.shape == (30, 2)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    colour = products.table["colour"].to_numpy()
    assert (colour[distance.argmin(axis=1)] == colour).all()
    assert flat_map(products.embeddings[:3]).shape == (3, 2)


def test_products_that_are_all_equal_have_places_on_the_map() -> None:
    """t-SNE from their principal components would end the process."""
    embeddings = np.eye(1, 8, dtype=np.float32).repeat(12, axis=0)
    for difference in (0.0, 1e-30):
        embeddings[0, 1] = difference
        places = flat_map(embeddings)
        assert places.shape == (12, 2)
        assert np.isfinite(places).all()


def test_a_filter_leaves_products_out_and_too_few_are_refused(shop: Path) -> None:
    catalog = Catalog.open(shop)
    table = products_of(catalog.snapshot(), "colour = 'red'").table
    assert table["product_id"].tolist() == [f"{n:02}" for n in range(0, 30, 3)]
    with pytest.raises(UserError, match="2 products are too few to explore"):
        products_of(catalog.snapshot(), "product_id IN ('01', '02')")


def test_every_file_is_written_and_no_picture_is_empty(explored: Path) -> None:
    names = {path.name for path in explored.iterdir()}
    samples = {f"samples_{column}.png" for column in ("colour", "year", "fit")}
    pictures = {"labels.png", "clusters.png", "map.png"} | samples
    tables = {f"{name}.csv" for name in ("labels", "columns", "clusters", "map")}
    assert names == pictures | tables | {"map.html"}
    for name in pictures:
        with Image.open(explored / name) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert len(np.unique(pixels[::5, ::5].reshape(-1, 3), axis=0)) > 20, name
    assert pd.read_csv(explored / "clusters.csv")["colour purity"].tolist() == [1.0] * 3
    assert len(pd.read_csv(explored / "map.csv")) == 30
    assert pd.read_csv(explored / "columns.csv")["missing"].tolist() == [0, 0, 1]


def test_the_page_needs_nothing_from_elsewhere_and_no_label_breaks_it(explored: Path) -> None:
    page = (explored / "map.html").read_text("utf-8")
    assert "http" not in page.replace("http-equiv", "")
    text = page.partition('<script id="data" type="application/json">')[2].partition("</script>")[0]
    data = json.loads(text)
    assert data["ids"] == [f"{n:02}" for n in range(30)]
    by_column = {each["column"]: each for each in data["labels"]}
    assert by_column["fit"]["names"] == [NASTY]
    assert by_column["fit"]["codes"] == [-1] + [0] * 29
    assert by_column["colour"]["counts"] == [10, 10, 10]
    assert by_column["year"]["names"] == ["2010", "2011"]
    assert max(data["x"] + data["y"]) == 10_000


def test_a_large_catalog_is_drawn_in_part(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explore", "--catalog", shop, "--out", tmp_path, "--limit", "12", "--clusters", "2"]
    assert infer.main([str(word) for word in words]) == 0
    captured = capsys.readouterr()
    assert "the map shows 12 of all products" in captured.err
    assert f'"title":"{shop}: 12 of 30 products"' in (tmp_path / "map.html").read_text("utf-8")
    assert "purity of 2 clusters" in captured.out
    assert "colour: 0.667 (one cluster: 0.333)" in captured.out
    assert len(pd.read_csv(tmp_path / "map.csv")) == 12
    assert len(pd.read_csv(tmp_path / "clusters.csv")) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--labels", "kind"], "no such column"),
        (["--clusters", "99"], "there are 30 products only"),
        (["--where", "colour = 'rde'"], "no product has colour 'rde'; there are red"),
        (["--catalog", "/missing"], "no such catalog"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    complaint: str,
    shop: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = ["explore", "--catalog", str(shop), "--out", str(tmp_path / "out")]
    assert infer.main([*first, *words]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert complaint in error


@pytest.mark.parametrize(
    "words", [("--limit", "2"), ("--seed", "-1"), ("--seed", str(2**32)), ("--seed", "x")]
)
def test_numbers_out_of_their_range_are_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        infer.main(["explore", *words])
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {words[0]}: {words[1]!r} is no whole number from" in message
