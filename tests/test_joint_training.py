"""Training of a joint embedding: its batches, what it learns, and a whole small run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import save_checkpoint
from helpers_data import OPTIONS
from torch.nn import functional

from datasets import joint_batches, joint_training
from datasets.cache import cache_photos
from datasets.joint_batches import ProductBatches, Seen
from datasets.joint_training import JointModule, look, train
from datasets.look_alikes import nearest_of
from datasets.manifest import write_manifest
from datasets.readers import reader_of
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.concatenation import Concatenation, with_joint_head, with_levels
from siamese.encoder import ConcatenationConfig, JointConfig, StandardisedJointConfig
from siamese.errors import UserError
from siamese.extractors import extractor
from siamese.joint_head import JointHead, Standardisation
from siamese.local_embedding import local_embeddings
from siamese.preprocessing import Preprocessing


def seen_of(products: int, photos: int = 3, views: int = 2) -> Seen:
    """Photos whose features tell the product, in directions that embeddings beside do not show."""
    random = np.random.default_rng(1)
    product = np.repeat(np.arange(products), photos)
    is_person = np.tile(np.arange(photos) > 0, products)
    own = random.normal(size=(products, 16))[product]
    shape = (views, len(product))
    features = np.concatenate(
        [own + 0.3 * random.normal(size=(*shape, 16)), random.normal(size=(*shape, 16))], axis=2
    )
    beside = torch.from_numpy(features @ random.normal(size=(32, 8)))
    beside = functional.normalize(beside.float(), dim=2)
    return Seen(features.astype(np.float16), beside, product, is_person)


def test_the_nearest_are_those_of_all_cosines() -> None:
    embeddings = functional.normalize(torch.randn(1100, 5), dim=1)
    cosines = (embeddings @ embeddings.T).fill_diagonal_(-2).numpy()
    expected = np.argsort(-cosines, axis=1)[:, :7]
    found = nearest_of(embeddings, 7)
    chosen = np.take_along_axis(cosines, found, axis=1)
    np.testing.assert_allclose(chosen, np.take_along_axis(cosines, expected, axis=1), atol=1e-6)
    assert nearest_of(embeddings[:4], 7).shape == (4, 3)


def test_a_batch_has_a_photo_of_each_kind_of_every_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which ones, features tell: each photo and view is one number."""
    monkeypatch.setattr(joint_batches, "GROUPS", 3)
    monkeypatch.setattr(joint_batches, "ALIKE", 4)
    plain = seen_of(30)
    photos = len(plain.product)
    numbers = np.arange(2 * photos).reshape(2, photos, 1).astype(np.float16)
    seen = plain._replace(features=numbers)
    batches = [ProductBatches(seen, 20, seed=3)[number] for number in range(20)]
    views = set()
    for batch in batches:
        person, thing = (side[:, 0].long().numpy() for side in (batch.person, batch.thing))
        views |= {*(person // photos), *(thing // photos)}
        product = plain.product[person % photos]
        assert (plain.product[thing % photos] == product).all()
        assert plain.is_person[person % photos].all()
        assert not plain.is_person[thing % photos].any()
        assert 4 <= len(set(product)) == len(product) <= 12
        flat = plain.beside.flatten(0, 1)
        torch.testing.assert_close(batch.beside, flat[person] @ flat[thing].T)
    assert views == {0, 1}
    again = [ProductBatches(seen, 20, seed=3)[number] for number in range(20)]
    assert all((a.person == b.person).all() for a, b in zip(batches, again, strict=True))
    other = ProductBatches(seen, 1, seed=4)[0]
    assert (
        other.person.shape != batches[0].person.shape or (other.person != batches[0].person).any()
    )


def test_a_group_is_of_products_that_look_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_batches, "GROUPS", 1)
    monkeypatch.setattr(joint_batches, "ALIKE", 5)
    monkeypatch.setattr(joint_batches, "NEAREST", 4)
    product = np.repeat(np.arange(15), 2)
    kinds = torch.eye(3)[product % 3] + 0.01 * torch.randn(1, 30, 3)  # each third is of one kind
    number = np.arange(30, dtype=np.float16).reshape(1, 30, 1)
    seen = Seen(number, functional.normalize(kinds, dim=2), product, np.arange(30) % 2 > 0)
    batches = ProductBatches(seen, 10, seed=0)
    for batch in (batches[number] for number in range(len(batches))):
        kinds_met = set(product[batch.thing[:, 0].long().numpy()] % 3)
        assert len(kinds_met) == 1
        assert len(batch.thing) == 5


def test_a_batch_of_any_products_is_of_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_batches, "ANY", 20)
    plain = seen_of(30)
    numbers = np.tile(np.arange(len(plain.product), dtype=np.float16)[None, :, None], (2, 1, 1))
    batches = ProductBatches(plain._replace(features=numbers), 40, seed=3, alike=False)
    met = []
    for batch in (batches[number] for number in range(len(batches))):
        product = plain.product[batch.thing[:, 0].long().numpy()]
        assert len(set(product)) == len(product) == 20
        met += list(product)
    assert set(met) == set(range(30))
    assert len(ProductBatches(seen_of(6), 1, 0, alike=False)[0].thing) == 6


def test_alone_the_loss_is_of_the_joint_cosine_only() -> None:
    seen = seen_of(12)
    batch = ProductBatches(seen, 1, 0)[0]
    torch.manual_seed(0)
    module = JointModule(JointHead(32, 6), 10, alone=True)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    loss = module.training_step(batch, 0)
    cosines = module.head(batch.person) @ module.head(batch.thing).T * module.scales[1].exp()
    place = torch.arange(len(cosines))
    sides = [functional.cross_entropy(each, place) for each in (cosines, cosines.T)]
    torch.testing.assert_close(loss, sum(sides) / 2)
    torch.testing.assert_close(loss, module.training_step(batch._replace(beside=cosines), 0))


def test_products_without_both_photos_are_no_training() -> None:
    seen = seen_of(4)
    with pytest.raises(UserError, match="1 products have both"):
        ProductBatches(seen._replace(is_person=seen.is_person & (seen.product == 2)), 1, 0)


@pytest.mark.parametrize("alone", [False, True])
def test_it_learns_what_the_encoders_beside_do_not_show(alone: bool, tmp_path: Path) -> None:
    several = with_joint_head(several_in(tmp_path), 12, 2.0)
    backbone = several.encoder.backbone
    assert isinstance(backbone, Concatenation)
    head = backbone.joint
    assert head is not None
    seen, unknown = seen_of(300), seen_of(60, views=1)

    def first(views: Seen, embedding: torch.Tensor) -> float:
        people = torch.from_numpy(np.flatnonzero(views.is_person))
        things = torch.from_numpy(np.flatnonzero(~views.is_person))
        best = (embedding[people] @ embedding[things].T).argmax(dim=1)
        right = views.product[things.numpy()][best.numpy()] == views.product[people.numpy()]
        return float(right.mean())

    def joint(views: Seen) -> torch.Tensor:
        with torch.inference_mode():
            return head(torch.from_numpy(views.features[0]))

    beside, before = first(unknown, unknown.beside[0]), first(unknown, joint(unknown))
    weights = {name: w.clone() for name, w in several.encoder.state_dict().items()}
    train(several.encoder, seen, steps=300, seed=0, alone=alone)
    after = first(unknown, joint(unknown))
    assert after > 0.7
    assert after > max(beside, before) + 0.3
    for name, weight in several.encoder.state_dict().items():
        assert (".joint." in name) or torch.equal(weight, weights[name]), name


def several_in(folder: Path) -> Checkpoint:
    """Two tiny networks side by side."""
    for seed in (0, 1):
        save_checkpoint(folder / f"{seed}.safetensors", seed=seed)
    return extractor(f"{folder}/0.safetensors + 0.5*{folder}/1.safetensors")


@pytest.fixture
def manifest(rendered: Path, tmp_path: Path) -> Path:
    frame = reader_of("rendered", OPTIONS)(rendered)
    write_manifest(frame, tmp_path / "manifest.csv")
    return tmp_path / "manifest.csv"


def test_a_whole_run_adds_a_joint_embedding_and_leaves_the_rest(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = several_in(tmp_path)
    words = [str(manifest), "--encoder", f"{tmp_path}/0.safetensors + 0.5*{tmp_path}/1.safetensors"]
    words += ["--size", "8", "--views", "1", "--steps", "3", "--cache", str(tmp_path / "cache")]
    for name in ("joint", "again"):
        assert joint_training.main([*words, "--out", f"{tmp_path}/{name}.safetensors"]) == 0
    assert "joint.safetensors: written" in capsys.readouterr().out
    made = load_checkpoint(tmp_path / "joint.safetensors")
    assert isinstance(made.encoder.config, JointConfig)
    assert made.embedding_size == 16 + 16 + 8
    assert made.fingerprint == load_checkpoint(tmp_path / "again.safetensors").fingerprint
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 32, 3), np.uint8)
    both, alone = made.embed_pixels(pixels), given.embed_pixels(pixels)
    share = 1.5 / 3.5  # weights 1 and .5 beside a joint one of 2
    torch.testing.assert_close(both[:, :32] / share**0.5, alone, rtol=0, atol=1e-5)


def test_features_of_a_network_that_does_not_count_are_standardised_and_left_out_at_times(
    manifest: Path, tmp_path: Path
) -> None:
    several_in(tmp_path)
    spec = f"{tmp_path}/0.safetensors + 0*{tmp_path}/1.safetensors"
    words = [str(manifest), "--encoder", spec, "--size", "8", "--views", "1", "--steps", "3"]
    words += ["--cache", str(tmp_path / "cache"), "--standardise", "--alone"]
    made = {}
    for dropout in ("0", "0.5"):
        out = f"{tmp_path}/{dropout}.joint.safetensors"
        assert joint_training.main([*words, "--dropout", dropout, "--out", out]) == 0
        made[dropout] = load_checkpoint(out)
    assert isinstance(made["0"].encoder.config, StandardisedJointConfig)
    assert made["0"].embedding_size == 16 + 8
    assert made["0"].fingerprint != made["0.5"].fingerprint
    several = made["0"].encoder.backbone
    assert isinstance(several, Concatenation)
    assert several.joint is not None
    assert isinstance(several.joint.norm, Standardisation)
    assert (several.joint.norm.spread > 0).all()
    assert not several.joint.norm.mean.allclose(torch.zeros(1))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 32, 3), np.uint8)
    again = made["0.5"].embed_pixels(pixels)  # nothing is left out after the training
    torch.testing.assert_close(again, made["0.5"].embed_pixels(pixels), rtol=0, atol=0)


def test_all_levels_are_learned_from_if_that_is_asked_for_and_nothing_else_changes(
    manifest: Path, tmp_path: Path
) -> None:
    given = several_in(tmp_path)
    spec = f"{tmp_path}/0.safetensors + 0.5*{tmp_path}/1.safetensors"
    words = [str(manifest), "--encoder", spec, "--size", "8", "--views", "1", "--steps", "3"]
    words += ["--cache", str(tmp_path / "cache"), "--standardise", "--levels"]
    assert joint_training.main([*words, "--out", f"{tmp_path}/joint.safetensors"]) == 0
    made = load_checkpoint(tmp_path / "joint.safetensors")
    several = made.encoder.backbone
    assert isinstance(several, Concatenation)
    assert several.joint is not None
    assert several.joint.map.in_features == sum(member.features for member in several.members)
    assert all(member.features > member.own_features for member in several.members)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 32, 3), np.uint8)
    both, alone = made.embed_pixels(pixels), given.embed_pixels(pixels)
    torch.testing.assert_close(both[:, :32] / (1.5 / 3.5) ** 0.5, alone, rtol=0, atol=1e-5)
    assert local_embeddings(made, pixels).exact
    words = [str(manifest), "--encoder", f"{tmp_path}/joint.safetensors", *words[3:]]
    assert joint_training.main([*words, "--out", f"{tmp_path}/further.safetensors"]) == 0
    further = load_checkpoint(tmp_path / "further.safetensors")
    assert further.encoder.config == made.encoder.config
    assert with_levels(made) is made  # so it goes on from its weights


def test_people_without_a_box_are_seen_closer_and_all_else_as_it_is(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    frame = pd.read_csv(manifest)
    frame = frame[frame["split"] == "train"].reset_index(drop=True)
    boxed = frame.index[frame["role"] == "person"][0]
    frame.loc[boxed, ["x1", "y1", "x2", "y2"]] = [2.0, 2.0, 30.0, 30.0]
    closely = []

    def middle(_: object, photos: torch.Tensor) -> torch.Tensor:
        closely.append(len(photos))
        return torch.tensor([[0.2, 0.2, 0.8, 0.8]]).expand(len(photos), 4)

    monkeypatch.setattr(joint_training, "_focus", middle)
    several = several_in(tmp_path)
    cached = cache_photos(frame, several.preprocessing, tmp_path / "cache")
    seen = look(several, frame, cached, views=2, light=0.0, seed=0)
    people = int((frame["role"] == "person").sum())
    assert sum(closely) == people - 1  # once for both views
    assert seen.features.shape == (2, len(frame), 32)
    assert seen.beside.shape == (2, len(frame), 32)
    assert (seen.features[0] != seen.features[1]).any(axis=1).all()  # views differ
    assert isinstance(several.encoder.config, ConcatenationConfig)
    assert several.preprocessing == Preprocessing(48, 32, mean=(0.0,) * 3, std=(1.0,) * 3)


def test_what_cannot_be_trained_is_one_line(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "0.safetensors")
    out = str(tmp_path / "joint.safetensors")
    one = ["--encoder", f"{tmp_path}/0.safetensors", "--out", out]
    two = ["--encoder", f"{tmp_path}/0.safetensors + {tmp_path}/0.safetensors", "--out", out]
    damaged = tmp_path / "damaged.csv"
    damaged.write_text(manifest.read_text().replace(".jpg", ".gone"))
    untrained = tmp_path / "untrained.csv"
    untrained.write_text(manifest.read_text().replace(",train", ",test"))
    for words, message in (
        ([str(manifest), *one], "side by side"),
        ([str(manifest), "--encoder", two[1].replace("+ ", "+ -1*"), *two[2:]], "of at least 0"),
        ([str(manifest), "--encoder", f"0*{one[1]}", *two[2:]], "side by side"),
        ([str(manifest), *one, "--levels"], "small_resnet encoders side by side"),
        ([str(tmp_path / "none.csv"), *two], "none.csv"),
        ([str(damaged), *two, "--cache", str(tmp_path / "cache")], "gone"),
        ([str(untrained), *two, "--cache", str(tmp_path / "cache")], "no photo in the train split"),
    ):
        assert joint_training.main(words) == 1
        shown = capsys.readouterr().err.replace("\r", "\n").splitlines()
        said = "\n".join(line for line in shown if line and not line.startswith("caching"))
        assert said.startswith("datasets.joint_training: ")
        assert message in said
        assert "Traceback" not in said
        assert message == "gone" or "\n" not in said  # broken photos are listed, as train.py does
    assert joint_training.main([str(manifest), *two[:-1], str(tmp_path)]) == 1
    assert f"{tmp_path}: is a folder" in capsys.readouterr().err
    for wrong in (["--views", "0"], ["--weight", "0"], ["--light", "2"], ["--dropout", "1"]):
        with pytest.raises(SystemExit):
            joint_training.main([str(manifest), *two, *wrong])
    assert not Path(out).exists()
