"""One network for both photos of a pair: shapes, unit norm, and the report's exact recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import nn

from siamese.backbones import GeneralisedMeanPooling, ReportCNN
from siamese.encoder import Encoder, EncoderConfig, config_from
from siamese.errors import UserError

SMALL = EncoderConfig(widths=(8, 16), depth=1, embedding_size=12)


def test_the_reports_network_is_layer_for_layer_as_described() -> None:
    """SYSTEMS 1; sides of 100: conv 98, pool 49, conv 47, pool 11; 10 x 11 x 11 = 1,210 numbers."""
    network = ReportCNN()
    shapes = []
    features = torch.randn(2, 3, 100, 100)
    for layer in network:
        features = layer(features)
        shapes.append((type(layer).__name__, tuple(features.shape[1:])))
    assert shapes == [
        ("Conv2d", (3, 98, 98)),
        ("LeakyReLU", (3, 98, 98)),
        ("MaxPool2d", (3, 49, 49)),
        ("Conv2d", (10, 47, 47)),
        ("LeakyReLU", (10, 47, 47)),
        ("MaxPool2d", (10, 11, 11)),
        ("BatchNorm2d", (10, 11, 11)),
        ("Dropout", (10, 11, 11)),
        ("Flatten", (1210,)),
        ("Linear", (2000,)),
        ("Tanh", (2000,)),
        ("Linear", (1000,)),
    ]
    assert [m.p for m in network if isinstance(m, nn.Dropout)] == [0.5]
    counts = [sum(p.numel() for p in layer.parameters()) for layer in network]
    # 3·3·9 + 3, 3·10·9 + 10, two per channel, 1210·2000 + 2000, 2000·1000 + 1000
    assert [count for count in counts if count] == [84, 280, 20, 2_422_000, 2_001_000]


def test_the_reports_convolutions_start_with_hes_deviation() -> None:
    """He et al. 2015: sqrt(2 / fan in). 60 networks give 16,200 and 4,860 numbers to judge by."""
    torch.manual_seed(0)
    networks = [ReportCNN(14, 14, 2) for _ in range(60)]
    for layer, fan_in in ((0, 27), (3, 27)):
        weights = torch.cat([dict(n.named_parameters())[f"{layer}.weight"] for n in networks])
        assert weights.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_the_reports_encoder_gives_1000_numbers_for_100_by_100() -> None:
    encoder = Encoder(EncoderConfig("report_cnn", 1000), 100, 100).eval()
    assert encoder(torch.randn(2, 3, 100, 100)).shape == (2, 1000)
    assert isinstance(encoder.neck, nn.Identity)


@pytest.mark.parametrize(("height", "width"), [(14, 14), (33, 57), (101, 75)])
def test_the_reports_network_takes_odd_sizes(height: int, width: int) -> None:
    assert ReportCNN(height, width, 7)(torch.randn(2, 3, height, width)).shape == (2, 7)


def test_the_reports_network_says_when_the_input_is_too_small() -> None:
    with pytest.raises(UserError, match="14x14 pixels or more, not 13x40"):
        Encoder(EncoderConfig("report_cnn"), 13, 40)


@pytest.mark.parametrize("pooling", ["gem", "average"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 31), (37, 50), (64, 48)])
def test_the_small_resnet_takes_odd_sizes(pooling: str, height: int, width: int) -> None:
    config = EncoderConfig(
        widths=(4, 6, 8),
        depth=2,
        embedding_size=5,
        pooling="gem" if pooling == "gem" else "average",
    )
    encoder = Encoder(config, height, width).eval()
    assert encoder(torch.randn(3, 3, height, width)).shape == (3, 5)


def test_embeddings_have_length_one_and_are_float32_even_under_autocast() -> None:
    encoder = Encoder(SMALL, 32, 24).eval()
    photos = torch.randn(5, 3, 32, 24)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = encoder(photos)
    assert embedding.dtype == torch.float32
    assert torch.allclose(embedding.norm(dim=1), torch.ones(5), atol=1e-6)


@pytest.mark.parametrize("config", [SMALL, EncoderConfig("report_cnn", 10)])
def test_evaluation_is_deterministic_and_training_is_not_for_dropout(config: EncoderConfig) -> None:
    encoder = Encoder(config, 32, 24).eval()
    photos = torch.randn(4, 3, 32, 24)
    assert torch.equal(encoder(photos), encoder(photos))
    encoder.train()
    assert torch.equal(encoder(photos), encoder(photos)) == (config is SMALL)


def test_both_sides_of_a_pair_move_the_same_weights() -> None:
    """The gradient of a pair is the sum of the gradients through either side alone."""
    torch.manual_seed(0)
    encoder = Encoder(SMALL, 32, 24).eval()
    one, other = torch.randn(2, 3, 32, 24), torch.randn(2, 3, 32, 24)

    def gradient(detach_one: bool, detach_other: bool) -> torch.Tensor:
        encoder.zero_grad()
        left, right = encoder(one), encoder(other)
        left = left.detach() if detach_one else left
        right = right.detach() if detach_other else right
        (left * right).sum().backward()
        return torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])

    both, left, right = gradient(False, False), gradient(False, True), gradient(True, False)
    assert left.abs().max() > 1e-4
    assert right.abs().max() > 1e-4
    assert torch.allclose(both, left + right, rtol=1e-3, atol=1e-5)


def flipping(config: EncoderConfig) -> tuple[Encoder, Encoder]:
    """The same weights without and with flip averaging, in evaluation mode."""
    torch.manual_seed(0)
    plain = Encoder(config, 32, 24).eval()
    averaging = Encoder(replace(config, flip_average=True), 32, 24).eval()
    averaging.load_state_dict(plain.state_dict())
    return plain, averaging


@pytest.mark.parametrize("config", [SMALL, EncoderConfig("report_cnn", 10)])
def test_flip_averaging_is_the_normalised_mean_of_a_photo_and_its_mirror_image(
    config: EncoderConfig,
) -> None:
    plain, averaging = flipping(config)
    photos = torch.randn(3, 3, 32, 24)
    mean = (plain(photos) + plain(torch.from_numpy(photos.numpy()[..., ::-1].copy()))) / 2
    expected = mean / mean.norm(dim=1, keepdim=True)
    assert (mean - plain(photos)).abs().max() > 1e-3
    torch.testing.assert_close(averaging(photos), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(averaging(photos.flip(3)), expected, atol=1e-6, rtol=0)


def test_training_steps_do_no_flip_averaging() -> None:
    plain, averaging = flipping(SMALL)
    photos = torch.randn(4, 3, 32, 24)
    assert torch.equal(averaging.train()(photos), plain.train()(photos))


def test_generalised_mean_lies_between_mean_and_maximum() -> None:
    features = torch.rand(2, 3, 4, 5)
    for power in (1.0, 3.0, 60.0):
        pooled = GeneralisedMeanPooling(power)(features)
        naive = (features.double().clamp(min=1e-4) ** power).mean(dim=(2, 3)) ** (1 / power)
        assert torch.allclose(pooled.double(), naive, rtol=1e-4)
    assert torch.allclose(GeneralisedMeanPooling(1.0)(features), features.mean(dim=(2, 3)))
    assert torch.allclose(pooled, features.amax(dim=(2, 3)), rtol=0.06)


def test_generalised_mean_of_dark_features_has_a_finite_gradient() -> None:
    features = torch.zeros(1, 2, 3, 3, requires_grad=True)
    pool = GeneralisedMeanPooling()
    pool(features).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert pool.power.grad is not None
    assert pool.power.grad.isfinite()


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_a_feature_map_may_be_pooled_by_its_mean_or_maximum(
    pooling: Literal["average", "max"],
) -> None:
    encoder = Encoder(replace(SMALL, pooling=pooling), 32, 32).eval()
    trunk, _ = encoder.backbone.children()
    photo = torch.randn(2, 3, 32, 32)
    features = trunk(photo)
    expected = features.mean(dim=(2, 3)) if pooling == "average" else features.amax(dim=(2, 3))
    assert torch.allclose(encoder.backbone(photo), expected, atol=1e-6)


@pytest.mark.parametrize("backbone", ["resnet50", "timm/", "keras/vgg16", ""])
def test_an_unknown_backbone_is_one_line_that_names_the_known_ones(backbone: str) -> None:
    with pytest.raises(UserError, match=r"unknown backbone .*small_resnet.*timm/NAME") as caught:
        Encoder(EncoderConfig(backbone), 32, 32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        *({"embedding_size": 0}, {"widths": ()}, {"widths": (8, 0)}, {"depth": 0}),
        *({"pooling": "median"}, {"neck": "long"}),
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(UserError):
        EncoderConfig(**arguments)  # type: ignore[arg-type]


def test_settings_survive_json() -> None:
    import json
    from dataclasses import asdict

    assert config_from(json.loads(json.dumps(asdict(SMALL)))) == SMALL
