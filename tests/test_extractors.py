"""Encoders by name; weights come from local files here, and never from chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from helpers_catalog import draw_photo, save_checkpoint
from torch.nn import functional

from siamese import extractors
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.commands import index
from siamese.default_checkpoint import KEPT, kept_encoder
from siamese.encoder import Encoder
from siamese.errors import UserError
from siamese.extractors import PUBLISHED, Sample, _parts, extractor, keeping_encoder
from siamese.listing import ListedPhoto
from siamese.preprocessing import Preprocessing
from siamese.pretrained import _check_name, _link
from siamese.products import CatalogError
from siamese.weights import NotFetchedError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of the layout that torchvision publishes."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "resnet18.pth")
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), folder / "other.pth")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("photos")
    return [str(draw_photo(folder / f"{n}.png", hue=40 * n, stripes=n)) for n in range(4)]


def test_a_published_network_gives_its_pooled_features_as_they_are(
    weights: Path, photos: list[str]
) -> None:
    checkpoint = extractor(f"resnet18={weights}/resnet18.pth")
    network = torchvision.models.resnet18(weights=None)
    network.load_state_dict(torch.load(weights / "resnet18.pth"))
    network.fc = torch.nn.Identity()
    assert checkpoint.preprocessing.mean == pytest.approx((0.485, 0.456, 0.406))
    pixels = torch.stack([torch.from_numpy(checkpoint.preprocessing.read(p)) for p in photos])
    with torch.inference_mode():
        features = network.eval()(checkpoint.preprocessing.normalise(pixels))
    expected = functional.normalize(features, dim=1)
    assert torch.allclose(checkpoint.embed(photos), expected, atol=1e-5)
    assert checkpoint.embedding_size == 512


def test_it_is_the_same_encoder_after_it_was_saved(weights: Path, tmp_path: Path) -> None:
    checkpoint = extractor(f"resnet18={weights}/resnet18.pth")
    checkpoint.save(tmp_path / "r.safetensors")
    assert load_checkpoint(tmp_path / "r.safetensors").fingerprint == checkpoint.fingerprint
    assert extractor(f"resnet18={weights}/resnet18.pth").fingerprint == checkpoint.fingerprint


def test_vgg16_is_pooled_by_the_largest_value_of_each_channel() -> None:
    """The same network with its average and with its maximum, on the same random weights."""
    from siamese.pretrained import load_backbone

    torch.manual_seed(0)
    backbone, features = load_backbone("torchvision", "squeezenet1_1", False, 64, 64)
    with pytest.raises(UserError, match="its pooling cannot be changed"):
        load_backbone("torchvision", "squeezenet1_1", False, 64, 64, "max")
    backbone, features = load_backbone("torchvision", "vgg11", False, 64, 64, "max")
    photo = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = backbone.eval().features(photo).amax(dim=(2, 3))  # type: ignore[operator]
        assert torch.equal(backbone(photo), expected)
    assert features == 512
    assert PUBLISHED["vgg16"].pooling == "max"


def test_the_cosine_of_a_concatenation_is_the_mean_of_its_parts(
    photos: list[str], tmp_path: Path
) -> None:
    """Exactly so where the parts take photos of the same size; also after it was saved."""
    save_checkpoint(tmp_path / "a.safetensors", seed=1)
    save_checkpoint(tmp_path / "b.safetensors", seed=2)
    names = [f"{tmp_path}/a.safetensors", f"{tmp_path}/b.safetensors"]
    both = extractor("+".join(names))
    assert both.embedding_size == 32
    cosines = []
    for name in (*names, None):
        embedding = (extractor(name) if name else both).embed(photos)
        cosines.append(embedding @ embedding.T)
    assert torch.allclose(cosines[2], (cosines[0] + cosines[1]) / 2, atol=1e-4)
    both.save(tmp_path / "both.safetensors")
    again = load_checkpoint(tmp_path / "both.safetensors")
    assert again.fingerprint == both.fingerprint
    assert torch.equal(again.embed(photos), both.embed(photos))


def test_each_part_of_a_concatenation_gets_photos_of_its_own_size_and_normalisation(
    weights: Path, photos: list[str], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "a.safetensors")  # 48 x 32
    both = extractor(f"{tmp_path}/a.safetensors + colour_histogram")
    assert (both.preprocessing.height, both.preprocessing.width) == (128, 96)
    parts = both.embed(photos).split([16, 512], dim=1)
    for part, name in zip(parts, (f"{tmp_path}/a.safetensors", "colour_histogram"), strict=True):
        alone = extractor(name).embed(photos)
        nearly = functional.cosine_similarity(part, alone)
        assert nearly.min() > 0.97, name
        assert torch.allclose(part.norm(dim=1), torch.tensor(0.5).sqrt(), atol=1e-5)


def test_a_weight_is_what_a_cosine_counts(photos: list[str], tmp_path: Path) -> None:
    """Of 1 and 0.25 the mean is 0.8 and 0.2; also after it was saved. Weights of 1 change no
    fingerprint, since catalogs of before weights hold it."""
    for seed, name in enumerate("ab"):
        save_checkpoint(tmp_path / f"{name}.safetensors", seed=seed)
    names = [f"{tmp_path}/{name}.safetensors" for name in "ab"]
    weighted = extractor(f"{names[0]} + 0.25*{names[1]}")
    cosines = []
    for checkpoint in (extractor(names[0]), extractor(names[1]), weighted):
        embedding = checkpoint.embed(photos)
        assert torch.allclose(embedding.norm(dim=1), torch.ones(len(photos)), atol=1e-5)
        cosines.append(embedding @ embedding.T)
    assert torch.allclose(cosines[2], 0.8 * cosines[0] + 0.2 * cosines[1], atol=1e-4)
    weighted.save(tmp_path / "weighted.safetensors")
    again = load_checkpoint(tmp_path / "weighted.safetensors")
    assert torch.equal(again.embed(photos), weighted.embed(photos))
    plain = extractor("+".join(names))
    assert plain.fingerprint != weighted.fingerprint
    assert plain.fingerprint == extractor(f"1*{names[0]}+1.0*{names[1]}").fingerprint
    assert "weight" not in json.dumps(plain._recipe())


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_a_weight_that_is_none_is_one_line(weight: str) -> None:
    with pytest.raises(UserError, match="the weight of colour_histogram must be a number above 0"):
        extractor(f"siamese+{weight}*colour_histogram")
    with pytest.raises(UserError, match="'half\\*colour_histogram' is no encoder"):
        extractor("half*colour_histogram")


def test_the_path_of_a_checkpoint_may_hold_marks_that_join_names(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "a+b=c.safetensors")
    for name in (str(path), f"{path}#1"):
        assert extractor(name).fingerprint == load_checkpoint(path).fingerprint


def test_one_of_several_encoders_may_stand_beside_others(photos: list[str], tmp_path: Path) -> None:
    """As if it had been named by its own file; the path of a file may end like a number."""
    paths = [save_checkpoint(tmp_path / f"{name}.safetensors", seed=seed)
             for seed, name in enumerate("ab")]  # fmt: skip
    together = tmp_path / "both.safetensors"
    extractor(f"{paths[0]} + 0.5*{paths[1]}").save(together)
    second = extractor(f"{together}#2")
    assert second.fingerprint == extractor(str(paths[1])).fingerprint
    assert torch.equal(second.embed(photos), extractor(str(paths[1])).embed(photos))
    beside = extractor(f"{together}#2 + 0.3*{together}#1 + lab_histogram")
    assert beside.fingerprint == extractor(f"{paths[1]}+0.3*{paths[0]}+lab_histogram").fingerprint
    assert extractor(f"{paths[0]}#1").fingerprint == load_checkpoint(paths[0]).fingerprint
    like_a_number = save_checkpoint(tmp_path / "c#2", seed=2)
    assert extractor(str(like_a_number)).fingerprint == load_checkpoint(like_a_number).fingerprint
    with pytest.raises(UserError, match=r"both\.safetensors#3: number its encoders from 1 to 2"):
        extractor(f"{together}#3")


@pytest.mark.parametrize(
    ("name", "network"),
    [("mobilenet", "mobilenet_v3_large"), ("xception", "legacy_xception")],
)
def test_every_name_is_the_network_that_it_says(
    name: str, network: str, photos: list[str], tmp_path: Path
) -> None:
    """From a file as the libraries write it; the largest ones would take too long here."""
    torch.manual_seed(0)
    library = timm if name == "xception" else torchvision.models
    published = library.create_model(network) if library is timm else library.get_model(network)
    torch.save(published.state_dict(), tmp_path / "weights.pth")
    checkpoint = extractor(f"{name}={tmp_path}/weights.pth")
    published.fc = published.classifier = torch.nn.Identity()
    pixels = np.stack([checkpoint.preprocessing.read(photo) for photo in photos[:2]])
    normal = checkpoint.preprocessing.normalise(torch.from_numpy(pixels))
    with torch.inference_mode():
        expected = functional.normalize(published.eval()(normal), dim=1)
    assert torch.allclose(checkpoint.embed(photos[:2]), expected, atol=1e-4)


def test_every_published_name_has_a_network_and_a_link_to_its_weights() -> None:
    for name, published in PUBLISHED.items():
        library, _, network = published.backbone.partition("/")
        _check_name(library, network)  # raises
        assert _link(library, network).startswith("https://"), name


def test_eigenfaces_count_beside_others_with_the_weight_that_is_named(
    photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A weight of RADIUS² adds half of the squared distance, in lengths of the longest photo."""
    sample = Sample(photos)
    extractor("colour_histogram+eigenfaces", sample)
    line = capsys.readouterr().err
    assert "between 0.98 and 1; write 100*eigenfaces for about as much\n" in line
    both = extractor("colour_histogram+100*eigenfaces", sample)
    extractor("eigenfaces", sample)
    assert capsys.readouterr().err == ""
    vectors = both.embed(photos).double()
    faces, colours = (extractor(name, sample) for name in ("eigenfaces", "colour_histogram"))
    seen = [each.embed(photos).double() for each in (colours, faces)]
    apart = [1 - vectors_of @ vectors_of.T for vectors_of in seen]
    assert float(apart[1].max()) < 0.02
    expected = apart[0] + 100 * apart[1]
    torch.testing.assert_close(101 * (1 - vectors @ vectors.T), expected, atol=0.02, rtol=0.1)


def test_eigenfaces_are_fitted_to_the_photos_given(photos: list[str]) -> None:
    assert extractor("eigenfaces", Sample(photos)).embedding_size == 4
    with pytest.raises(UserError, match="three photos or more"):
        extractor("eigenfaces")


def test_a_change_of_a_concatenated_part_is_another_encoder(tmp_path: Path) -> None:
    prints = []
    for seed in (1, 2):
        save_checkpoint(tmp_path / "a.safetensors", seed=seed)
        prints.append(extractor(f"{tmp_path}/a.safetensors+colour_histogram").fingerprint)
    assert prints[0] != prints[1]


@pytest.mark.parametrize("name", ["resnet50", "resnet18+vit", "timm/resnet18"])
def test_without_weights_one_line_says_where_to_get_them(
    name: str, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    """As without internet; nothing is ever built on random weights instead."""

    def unreachable(*_: object, **__: object) -> Encoder:
        raise NotFetchedError("hub", "no route", "https://example.org/weights")

    monkeypatch.setattr(extractors, "Encoder", unreachable)
    with pytest.raises(UserError) as caught:
        extractor(name)
    message = str(caught.value)
    assert "\n" not in message
    missing = name.partition("+")[0]
    assert message == (
        f"{missing}: its weights cannot be fetched (no route); check the connection, or download "
        f"https://example.org/weights elsewhere and write {missing}=FILE"
    )


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (
            "resnet5",
            "is no encoder; there are siamese, report_cnn, colour_histogram, lab_histogram",
        ),
        ("resnet18+", "'' is no encoder; there are"),
        ("", "'' is no encoder; there are"),
        ("resnet5=FILE", "is no encoder; there are"),
        ("report_cnn", "has no published weights; train it"),
        ("resnet18=/missing.pth", "no such file of weights"),
        ("missing.safetensors", "no such file of weights"),
        ("missing.safetensors#2", "no such file of weights"),
        ("colour_histogram+siamese=/missing.safetensors", "no such file of weights"),
        ("timm/resnet_18=FILE", "no such model; near it"),
        ("resnet18=OTHER", "lacks"),
        ("report_cnn=SMALL", "that file is of small_resnet"),
    ],
)
def test_bad_names_are_told_in_one_line(
    name: str, complaint: str, weights: Path, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "small.safetensors")
    name = name.replace("OTHER", f"{weights}/other.pth").replace("FILE", f"{weights}/resnet18.pth")
    with pytest.raises(UserError, match=complaint) as caught:
        extractor(name.replace("SMALL", f"{tmp_path}/small.safetensors"))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_may_be_named_by_what_it_is(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "small.safetensors")
    named = extractor(f"small_resnet={tmp_path}/small.safetensors")
    assert named.fingerprint == extractor(f"{tmp_path}/small.safetensors").fingerprint


def test_a_catalog_keeps_its_encoder_until_another_makes_it(tmp_path: Path) -> None:
    checkpoint = extractor("colour_histogram")
    assert kept_encoder(str(tmp_path)) is None
    with keeping_encoder(str(tmp_path), checkpoint):
        assert kept_encoder(str(tmp_path)) is None
    assert kept_encoder(str(tmp_path)) == str(tmp_path / KEPT)
    assert load_checkpoint(tmp_path / KEPT).fingerprint == checkpoint.fingerprint
    with keeping_encoder(str(tmp_path), None):
        pass
    assert kept_encoder(str(tmp_path)) is None
    refused = pytest.raises(CatalogError, match="this is none; make the catalog in a folder")
    with refused, keeping_encoder("s3://bucket/catalog", checkpoint):
        raise AssertionError


def test_an_encoder_that_cannot_be_kept_costs_no_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: nothing of the catalog may be touched; nor if the catalog fails."""
    checkpoint, before = extractor("colour_histogram"), extractor("lab_histogram")
    with keeping_encoder(str(tmp_path), before):
        pass
    full = pytest.raises(CatalogError)
    with full, keeping_encoder(str(tmp_path), checkpoint):
        raise CatalogError("the catalog could not be written")
    monkeypatch.setattr(Checkpoint, "save", lambda self, path: path.open("x"))
    with pytest.raises(FileExistsError), keeping_encoder(str(tmp_path), checkpoint):
        raise AssertionError("the catalog was begun")
    assert load_checkpoint(tmp_path / KEPT).fingerprint == before.fingerprint
    assert [file.name for file in tmp_path.iterdir()] == [KEPT]


@pytest.mark.parametrize("name", ["{0}", "2*{0}", "siamese={0}", "lab_histogram + {0}"])
def test_the_path_of_a_file_may_hold_a_plus_and_a_star(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a+b*2.safetensors"
    save_checkpoint(path)
    pieces = _parts(name.format(path))
    assert pieces[-1][0].endswith(str(path))
    assert pieces[-1][1] == (2.0 if name.startswith("2*") else 1.0)
    assert len(pieces) == (2 if "lab" in name else 1)


def test_where_no_encoder_can_be_kept_nothing_is_embedded_or_overwritten(
    photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamese.catalog.Catalog.create", None)  # not callable
    checkpoint = extractor("colour_histogram")
    listed = [ListedPhoto(photo, "a") for photo in photos]
    with pytest.raises(CatalogError, match="make the catalog in a folder"):
        index("s3://bucket/catalog", checkpoint, listed, overwrite=True, kept=checkpoint)


def test_the_histogram_sees_raw_colours() -> None:
    assert extractor("colour_histogram").preprocessing == Preprocessing(
        128, 96, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
