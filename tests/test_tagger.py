"""Taggers: labels learned from embeddings, measured on others, and filled in where they lack."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import MADE_BY, SIZE, save_checkpoint

from siamese.attributes.filling import fill, missing
from siamese.attributes.held_out import held_out
from siamese.attributes.label_table import read_labels
from siamese.attributes.labelled import labelled
from siamese.attributes.one_pass import embed_and_tag
from siamese.attributes.tagger import (
    Column,
    Tag,
    Tagger,
    TaggerCard,
    columns_of,
    load_tagger,
    without_neck,
)
from siamese.attributes.tagger_training import tagger_loss, train_tagger
from siamese.attributes.tensor_file import TaggerError
from siamese.catalog import Catalog, CatalogError, Product
from siamese.checkpoint_file import load_checkpoint
from siamese.concatenation import concatenated
from siamese.labels import UNKNOWN

UNISEX: dict[str, tuple[str, ...]] = {"Unisex": ("Men", "Women")}
GENDERS = ("Men", "Unisex", "Women")


def labelled_catalog(folder: Path, count: int = 120) -> Catalog:
    """Products whose first two coordinates say colour and gender; the colour of every 7th lacks."""
    random = np.random.default_rng(0)
    products = []
    for number in range(count):
        vector = random.normal(scale=0.1, size=SIZE)
        vector[0] += 1 if number % 2 else -1
        vector[1] += (number % 3) - 1
        vector /= np.linalg.norm(vector)
        attributes = {
            "colour": None if number % 7 == 0 else ("red", "blue")[number % 2],
            "gender": GENDERS[number % 3],
            "price": float(number),
            "brand": "one",
        }
        path = f"/shop/{number}.jpg"
        products.append(
            Product(f"{number:03}", [path], vector[None].astype(np.float32), attributes)
        )
    return Catalog.create(folder, MADE_BY, SIZE, products)


def card(output: str = "softmax", values: tuple[str, ...] = GENDERS) -> TaggerCard:
    unions: dict[str, tuple[str, ...]] = UNISEX if output == "sigmoid" else {}
    return TaggerCard((Column("gender", values, unions),), SIZE, "embedding", output, MADE_BY)  # type: ignore[arg-type]


def test_labels_become_numbers_and_what_is_not_known_stays_unknown(tmp_path: Path) -> None:
    table = read_labels(labelled_catalog(tmp_path), ["colour", "gender", "gender+colour"])
    assert table.values[:2] == (("blue", "red"), GENDERS)
    assert table.labels[:3].tolist() == [
        [UNKNOWN, 0, UNKNOWN],
        [0, 1, table.values[2].index("Unisex blue")],
        [1, 2, table.values[2].index("Women red")],
    ]


def test_columns_of_text_are_taken_that_have_several_values(tmp_path: Path) -> None:
    assert read_labels(labelled_catalog(tmp_path)).columns == (
        "gender",
        "colour",
    )  # as in the catalog


def test_an_unknown_column_lists_the_known_ones_and_one_value_is_refused(tmp_path: Path) -> None:
    catalog = labelled_catalog(tmp_path)
    with pytest.raises(
        CatalogError, match="no column 'color'; there are gender, price, brand, colour"
    ):
        read_labels(catalog, ["color"])
    with pytest.raises(CatalogError, match="holds for none"):
        read_labels(catalog, where="price > 999")
    table = read_labels(catalog, ["brand"])
    with pytest.raises(TaggerError, match="column 'brand' says only 'one'"):
        columns_of(table.columns, table.values, {})
    with pytest.raises(TaggerError, match=r"no column has all of these.*colour: blue, red"):
        columns_of(("colour",), (("blue", "red"),), UNISEX)


def test_a_union_switches_its_members_on_and_other_values_their_own_output() -> None:
    assert Column("gender", GENDERS, UNISEX).codes().tolist() == [[1, 0], [1, 1], [0, 1]]
    assert Column("gender", GENDERS, {}).codes().tolist() == torch.eye(3).tolist()


def test_probabilities_of_independent_outputs_are_those_of_all_their_patterns() -> None:
    """Against Π σ(z)^c (1 − σ(z))^(1 − c), normalised over the three values."""
    torch.manual_seed(1)
    tagger, inputs = Tagger(card("sigmoid")).eval(), torch.randn(4, SIZE)
    on = tagger(inputs)[0].sigmoid()  # of Men, Women
    men, women = on[:, 0], on[:, 1]
    likely = torch.stack([men * (1 - women), men * women, (1 - men) * women], dim=1)
    expected = likely / likely.sum(dim=1, keepdim=True)
    torch.testing.assert_close(tagger.probabilities(inputs)[0], expected)


def test_the_losses_are_those_of_their_formulas_and_unknown_labels_do_not_count() -> None:
    torch.manual_seed(2)
    inputs, labels = torch.randn(4, SIZE), torch.tensor([[0], [1], [UNKNOWN], [2]])
    known, truth = [0, 1, 3], labels[[0, 1, 3], 0]
    tagger = Tagger(card()).eval()
    logits = tagger(inputs)[0][known]
    naive = -logits.log_softmax(dim=1)[range(3), truth].mean()
    torch.testing.assert_close(tagger_loss(tagger, inputs, labels), naive)
    tagger = Tagger(card("sigmoid")).eval()
    on = tagger(inputs)[0][known].sigmoid()
    code = torch.tensor([[1.0, 0], [1, 1], [0, 1]])
    naive = -(code * on.log() + (1 - code) * (1 - on).log()).sum(dim=1).mean()
    torch.testing.assert_close(tagger_loss(tagger, inputs, labels), naive)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_tagger_learns_what_embeddings_say_and_comes_back_from_its_file(
    tmp_path: Path, output: str
) -> None:
    table = read_labels(labelled_catalog(tmp_path / "catalog", 400), ["gender"])
    test = held_out(table.product_ids, table.embeddings)
    tagger = train_tagger(card(output), table.embeddings[~test], table.labels[~test])
    tagger.save(tmp_path / "tagger.safetensors")
    inputs = torch.from_numpy(table.embeddings[test])
    tags = load_tagger(tmp_path / "tagger.safetensors").tags(inputs)
    truth = [GENDERS[label] for label in table.labels[test, 0]]
    assert np.mean([row["gender"].value == t for row, t in zip(tags, truth, strict=True)]) > 0.85
    assert tags == tagger.tags(inputs)


def test_training_is_repeatable_and_leaves_the_random_numbers_of_others_alone() -> None:
    random = np.random.default_rng(3)
    inputs = random.normal(size=(9, SIZE)).astype(np.float32)
    labels = random.integers(0, 3, (9, 1))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = (train_tagger(card(), inputs, labels, epochs=2) for _ in range(2))
    assert torch.rand(1) == expected
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_tagger_of_another_encoder_or_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaggerError, match="trained with another encoder"):
        Tagger(card()).check("feedbeef")
    with pytest.raises(TaggerError, match="no such file"):
        load_tagger(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"nothing")
    with pytest.raises(TaggerError, match="not a tagger or damaged"):
        load_tagger(tmp_path / "bad")
    with pytest.raises(TaggerError, match="not a tagger;"):
        load_tagger(save_checkpoint(tmp_path / "model.safetensors"))


def test_without_its_neck_an_encoder_gives_its_pooled_features(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(save_checkpoint(tmp_path / "model.safetensors"))
    pixels = np.random.default_rng(4).integers(0, 255, (2, 48, 32, 3), np.uint8)
    bare = without_neck(checkpoint)
    features = bare.embed_pixels(pixels)
    assert features.shape == (2, bare.embedding_size) == (2, 16)
    assert len(features.norm(dim=1).round(decimals=5).unique()) == 1
    torch.testing.assert_close(
        checkpoint.encoder.embed_features(
            checkpoint.encoder.backbone(
                checkpoint.preprocessing.normalise(torch.from_numpy(pixels))
            )
        ).detach(),
        checkpoint.embed_pixels(pixels),
    )


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("kind", ["features", "embedding"])
def test_one_pass_says_what_two_passes_say(tmp_path: Path, kind: str, flip: bool) -> None:
    checkpoint = load_checkpoint(save_checkpoint(tmp_path / "model.safetensors"))
    encoder = checkpoint.encoder
    encoder.config = replace(encoder.config, flip_average=flip)
    torch.manual_seed(3)
    columns = (Column("gender", GENDERS, {}),)
    tagger = Tagger(TaggerCard(columns, 16, kind, "softmax", checkpoint.fingerprint))  # type: ignore[arg-type]
    pixels = np.random.default_rng(4).integers(0, 255, (3, 48, 32, 3), np.uint8)
    embeddings, tags = embed_and_tag(checkpoint, tagger, pixels)
    torch.testing.assert_close(embeddings, checkpoint.embed_pixels(pixels))
    assert tags == tagger.tags(tagger.reader(checkpoint).embed_pixels(pixels))
    checkpoint = load_checkpoint(save_checkpoint(tmp_path / "other.safetensors", seed=1))
    with pytest.raises(TaggerError, match="another encoder"):
        embed_and_tag(checkpoint, tagger, pixels)


def test_features_of_encoders_side_by_side_are_those_of_each_before_its_neck(
    tmp_path: Path,
) -> None:
    """Weighted as their embeddings; in one pass, too, and in an encoder made of the tagger."""
    alone = [
        load_checkpoint(save_checkpoint(tmp_path / f"{seed}.safetensors", seed=seed))
        for seed in (0, 1)
    ]
    both = concatenated(alone, [1.0, 0.25])
    pixels = np.random.default_rng(4).integers(0, 255, (5, 48, 32, 3), np.uint8)
    expected = [
        without_neck(each).embed_pixels(pixels) * share**0.5
        for each, share in zip(alone, (0.8, 0.2), strict=True)
    ]
    bare = without_neck(both)
    features = bare.embed_pixels(pixels)
    torch.testing.assert_close(features, torch.cat(expected, dim=1))
    assert bare.embedding_size == features.shape[1]
    torch.testing.assert_close(
        both.embed_pixels(pixels), concatenated(alone, [1.0, 0.25]).embed_pixels(pixels)
    )
    columns = (Column("gender", GENDERS, {}),)
    tagger = Tagger(TaggerCard(columns, features.shape[1], "features", "softmax", both.fingerprint))
    embeddings, tags = embed_and_tag(both, tagger, pixels)
    torch.testing.assert_close(embeddings, both.embed_pixels(pixels))
    assert tags == tagger.tags(tagger.reader(both).embed_pixels(pixels))
    made = labelled(tagger.reader(both), tagger, features.numpy())
    made.save(tmp_path / "labels.safetensors")
    again = load_checkpoint(tmp_path / "labels.safetensors")
    torch.testing.assert_close(again.embed_pixels(pixels), made.embed_pixels(pixels))
    shares = tagger.probabilities(features)[0]
    torch.testing.assert_close(made.embed_pixels(pixels)[:, :3], shares.detach())


def test_products_held_out_are_a_fifth_and_those_with_one_photo_stay_together() -> None:
    ids = [f"{number}" for number in range(1000)]
    vectors = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    test = held_out(ids, np.concatenate([vectors, vectors]))
    assert (test[:500] == test[500:]).all()
    assert 0.15 < test.mean() < 0.25
    more = held_out(ids[:500], vectors)
    assert (more == test[:500]).mean() == 1  # later products moved none
    assert held_out(ids, vectors, frozenset(["3"])).nonzero()[0].tolist() == [3]
    with pytest.raises(CatalogError, match="0 of 1000 products are for testing"):
        held_out(ids, vectors, frozenset())


def test_missing_labels_are_filled_marked_and_forgotten_when_somebody_sets_them(
    tmp_path: Path,
) -> None:
    catalog = labelled_catalog(tmp_path, count=9)
    assert missing(catalog, ["colour"]) == ["000", "007"]
    tags = {name: {"colour": Tag("red", 0.75)} for name in ("000", "001", "007")}
    assert fill(catalog, tags) == {"colour": 2}
    found = catalog.products().set_index("product_id")
    assert found.loc[["000", "007"], "colour_predicted"].tolist() == [0.75, 0.75]
    assert found["colour_predicted"].notna().sum() == 2
    assert found.loc["001", "colour"] == "blue"
    assert read_labels(catalog, ["colour"]).labels[0, 0] == UNKNOWN  # not for training
    assert fill(catalog, {"000": {"colour": Tag("blue", 0.6)}}, least=0.7) == {}
    assert fill(catalog, {"000": {"colour": Tag("blue", 0.6)}}) == {"colour": 1}
    catalog.set_attributes(["000"], {"colour": "green"})
    again = catalog.products().set_index("product_id").loc["000"]
    assert again["colour"] == "green"
    assert again.isna()["colour_predicted"]
    catalog.update([Product("007", ["/x"], catalog.snapshot().means[:1], {"colour": "blue"})])
    assert missing(catalog, ["colour"]) == []
