"""The joint embedding of encoders side by side: what it is made of, counts, and explains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from siamese.attributes.one_pass import embed_and_tag
from siamese.attributes.tagger import Column, Tagger, TaggerCard, without_neck
from siamese.checkpoint import Checkpoint, CheckpointError
from siamese.checkpoint_file import load_checkpoint
from siamese.concatenation import Concatenation, concatenated, with_joint_head
from siamese.encoder import ConcatenationConfig, Encoder, EncoderConfig, JointConfig, config_from
from siamese.errors import UserError
from siamese.joint_head import JointHead, Standardisation
from siamese.local_embedding import local_embeddings
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing
from siamese.roles import Role

SIZE = 6


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 48, 32, 3), np.uint8)


def colours() -> Checkpoint:
    """A histogram: it has no neck, so the joint embedding is not made of it."""
    encoder = Encoder(EncoderConfig("lab_histogram", 128), 48, 32)
    plain = Preprocessing(48, 32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Checkpoint(encoder, plain, Calibration(), "colours")


def parts_alone(flip: bool = False) -> list[Checkpoint]:
    """Two untrained networks, whose positions are those of the histogram beside them."""
    parts = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = EncoderConfig(
            embedding_size=16, widths=(8, 8, 16), depth=1, flip_average=flip and seed == 1
        )
        encoder = Encoder(config, 48, 32)
        parts.append(Checkpoint(encoder, Preprocessing(48, 32), Calibration(), str(seed)))
    return [*parts, colours()]


def joint_of(weight: float = 2.0, flip: bool = False) -> Checkpoint:
    torch.manual_seed(5)
    several = with_joint_head(concatenated(parts_alone(flip)), SIZE, weight)
    head = head_of(several)
    assert isinstance(head.norm, nn.LayerNorm)
    torch.nn.init.normal_(head.norm.bias)
    torch.nn.init.uniform_(head.norm.weight, 0.5, 2)
    return several


def head_of(several: Checkpoint) -> JointHead:
    assert isinstance(several.encoder.backbone, Concatenation)
    assert several.encoder.backbone.joint is not None
    return several.encoder.backbone.joint


@pytest.mark.parametrize("flip", [False, True])
def test_its_cosine_counts_by_its_weight_beside_those_of_the_parts(flip: bool) -> None:
    pixels = noise(4)
    whole = joint_of(weight=2.0, flip=flip)
    embeddings = whole.embed_pixels(pixels)
    assert embeddings.shape == (4, 16 + 16 + 128 + SIZE) == (4, whole.embedding_size)
    cosines = []
    for part in parts_alone(flip):
        own = part.embed_pixels(pixels)
        cosines.append(own @ own.T)
    pooled = [
        torch.stack(part.encoder.pooled_views(part.normalised(torch.from_numpy(pixels)))).mean(0)
        for part in parts_alone(flip)[:2]
    ]
    features = torch.cat(pooled, dim=1)
    head = head_of(whole)
    assert isinstance(head.norm, nn.LayerNorm)
    centred = features - features.mean(dim=1, keepdim=True)
    normal = centred / (centred.square().mean(dim=1, keepdim=True) + head.norm.eps).sqrt()
    mapped = (normal * head.norm.weight + head.norm.bias) @ head.map.weight.T + head.map.bias
    joint = functional.normalize(mapped, dim=1)
    expected = (sum(cosines) + 2.0 * joint @ joint.T) / 5
    torch.testing.assert_close(embeddings @ embeddings.T, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_its_parts_sum_to_the_embedding(flip: bool) -> None:
    found = local_embeddings(joint_of(flip=flip), noise(3))
    assert found.exact
    torch.testing.assert_close(found.parts.sum(dim=(1, 2)), found.whole, rtol=0, atol=1e-4)


def test_a_second_look_and_an_explanation_of_it_agree() -> None:
    twice = replace(joint_of(), second_look=True)
    found = local_embeddings(twice, noise(3), [Role.PERSON] * 3)
    assert found.exact
    torch.testing.assert_close(found.parts.sum(dim=(1, 2)), found.whole, rtol=0, atol=1e-4)


def standardised(weights: tuple[float, float, float] = (1.0, 0.0, 1.0)) -> Checkpoint:
    """The second network is there for the joint embedding alone."""
    torch.manual_seed(5)
    several = concatenated(parts_alone(), weights)
    joint = with_joint_head(several, SIZE, 2.0, standardised=True)
    norm = head_of(joint).norm
    assert isinstance(norm, Standardisation)
    norm.fit(torch.randn(50, 32) * torch.arange(32) + 3)
    return joint


def test_a_part_of_weight_0_has_no_numbers_but_the_joint_embedding_is_made_of_it() -> None:
    pixels = noise(4)
    whole = standardised()
    first, second, third = (part.embed_pixels(pixels) for part in parts_alone())
    assert whole.embedding_size == 16 + 128 + SIZE
    head = head_of(whole)
    pooled = [
        part.encoder.pooled_views(part.normalised(torch.from_numpy(pixels)))[0]
        for part in parts_alone()[:2]
    ]
    features = torch.cat(pooled, dim=1)
    assert isinstance(head.norm, Standardisation)
    normal = (features - head.norm.mean) / head.norm.spread
    joint = functional.normalize(normal @ head.map.weight.T + head.map.bias, dim=1)
    expected = (first @ first.T + third @ third.T + 2 * joint @ joint.T) / 4
    found = whole.embed_pixels(pixels)
    torch.testing.assert_close(found @ found.T, expected, rtol=0, atol=1e-5)
    without = concatenated(parts_alone(), (1.0, 0.0, 1.0)).embed_pixels(pixels)
    torch.testing.assert_close(without @ without.T, (first @ first.T + third @ third.T) / 2)
    bare = without_neck(whole).embed_pixels(pixels)
    assert bare.shape == (4, 16 + 128)
    assert not torch.allclose(second, first)


def test_standardised_parts_sum_to_the_embedding_and_come_back_from_a_file(tmp_path: Path) -> None:
    whole = standardised()
    found = local_embeddings(whole, noise(3))
    assert found.exact
    torch.testing.assert_close(found.parts.sum(dim=(1, 2)), found.whole, rtol=0, atol=1e-4)
    whole.save(tmp_path / "joint.safetensors")
    again = load_checkpoint(tmp_path / "joint.safetensors")
    torch.testing.assert_close(again.embed_pixels(noise(2)), whole.embed_pixels(noise(2)))
    further = with_joint_head(again, SIZE, 1.0, standardised=True)
    torch.testing.assert_close(head_of(further).map.weight, head_of(whole).map.weight)
    anew = with_joint_head(again, SIZE, 1.0)
    assert isinstance(head_of(anew).norm, nn.LayerNorm)


def test_standardised_features_have_mean_0_and_deviation_1_but_for_those_that_never_change() -> (
    None
):
    features = torch.randn(40, 5) * torch.tensor([1e-2, 1.0, 50.0, 0.0, 3.0]) + 7
    norm = Standardisation(5)
    norm.fit(features)
    normal = norm(features)
    varying = [0, 1, 2, 4]
    torch.testing.assert_close(normal.mean(dim=0), torch.zeros(5), rtol=0, atol=1e-4)
    deviation = normal.std(dim=0, correction=0)
    torch.testing.assert_close(deviation[varying], torch.ones(4), rtol=1e-3, atol=0)
    assert (norm(features + 1)[:, 3] == 0).all()


def test_it_comes_back_from_its_file_and_stands_beside_others(tmp_path: Path) -> None:
    whole = joint_of(weight=0.5)
    whole.save(tmp_path / "joint.safetensors")
    again = load_checkpoint(tmp_path / "joint.safetensors")
    assert isinstance(again.encoder.config, JointConfig)
    assert again.fingerprint == whole.fingerprint
    torch.testing.assert_close(again.embed_pixels(noise(2)), whole.embed_pixels(noise(2)))
    beside = concatenated([again, colours()], [1.0, 0.5])
    cosine = whole.embed_pixels(noise(2))
    other = colours().embed_pixels(noise(2))
    expected = (cosine @ cosine.T + 0.5 * other @ other.T) / 1.5
    both = beside.embed_pixels(noise(2))
    torch.testing.assert_close(both @ both.T, expected, rtol=0, atol=1e-5)
    found = local_embeddings(beside, noise(2))  # encoders within an encoder
    assert found.exact
    beside.save(tmp_path / "beside.safetensors")
    saved = load_checkpoint(tmp_path / "beside.safetensors")
    torch.testing.assert_close(saved.embed_pixels(noise(2)), both)


def test_a_file_without_its_head_is_damaged(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "joint.safetensors"
    joint_of().save(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = {name: each for name, each in load_file(path).items() if ".joint." not in name}
    save_file(weights, path, metadata)
    with pytest.raises(CheckpointError, match="do not fit its description"):
        load_checkpoint(path)


def test_encoders_side_by_side_of_before_keep_their_description() -> None:
    config = concatenated(parts_alone()).encoder.config
    assert type(config) is ConcatenationConfig
    assert not hasattr(config, "joint")
    assert type(config_from({**vars(EncoderConfig())})) is EncoderConfig


def test_what_has_no_joint_embedding_is_refused() -> None:
    alone = parts_alone()
    with pytest.raises(UserError, match="several encoders side by side"):
        with_joint_head(alone[0], SIZE, 1.0)
    with pytest.raises(UserError, match="a neck"):
        with_joint_head(concatenated([colours(), colours()]), SIZE, 1.0)
    with pytest.raises(UserError, match="none of the encoders counts"):
        concatenated(alone, [0.0, 0.0, 0.0])


def test_a_head_of_that_size_is_trained_further_and_another_begins_anew() -> None:
    given = joint_of(weight=2.0)
    given.calibration = given.adapted_calibration = Calibration(scale=9.0)
    same = with_joint_head(given, SIZE, 4.0)
    torch.testing.assert_close(head_of(same).map.weight, head_of(given).map.weight)
    for name, weight in head_of(given).norm.state_dict().items():
        torch.testing.assert_close(head_of(same).norm.state_dict()[name], weight)
    assert isinstance(same.encoder.config, JointConfig)
    assert same.encoder.config.joint_weight == 4
    assert same.calibration == Calibration()  # its cosines will mean something else
    assert same.adapted_calibration is None
    other = with_joint_head(given, 3, 1.0)
    assert other.embedding_size == 16 + 16 + 128 + 3
    pixels = noise(2)
    plain = concatenated(parts_alone()).embed_pixels(pixels)
    for each, share in ((same, 3 / 7), (other, 3 / 4)):
        beside = each.embed_pixels(pixels)[:, : plain.shape[1]]
        torch.testing.assert_close(beside, plain * share**0.5, rtol=0, atol=1e-5)


def test_taggers_read_the_features_without_it() -> None:
    whole, pixels = joint_of(), noise(5)
    plain = concatenated(parts_alone())
    features = without_neck(whole).embed_pixels(pixels)
    torch.testing.assert_close(features, without_neck(plain).embed_pixels(pixels))
    columns = (Column("gender", ("Men", "Women"), {}),)
    card = TaggerCard(columns, features.shape[1], "features", "softmax", whole.fingerprint)
    tagger = Tagger(card)
    embeddings, tags = embed_and_tag(whole, tagger, pixels)
    torch.testing.assert_close(embeddings, whole.embed_pixels(pixels))
    assert tags == tagger.tags(tagger.reader(whole).embed_pixels(pixels))
