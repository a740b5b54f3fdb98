"""Masks become garments with exact boxes; several networks answer as one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers_isolation import SMALL, KnownIsolation, groups_with, isolation_of
from PIL import Image

from siamese.errors import UserError
from siamese.isolation import (
    Garment,
    Isolation,
    box_of,
    choose,
    cut_out,
    with_margin,
    without_specks,
)
from siamese.preprocessing import Preprocessing
from siamese.segmentation import GROUPS, SegmentationConfig, SegmentationNetwork

GREY = Image.new("RGB", (60, 80), (90, 90, 90))  # width x height


def test_each_group_of_a_known_mask_is_a_garment_with_its_exact_box_and_share() -> None:
    groups = groups_with(
        (80, 60), upper=(10, 20, 40, 50), lower=(12, 50, 38, 70), hair=(0, 0, 60, 9)
    )
    upper, lower = KnownIsolation(groups).find(GREY)
    assert (upper.group, upper.box) == ("upper", (10, 20, 40, 50))
    assert (lower.group, lower.box) == ("lower", (12, 50, 38, 70))
    assert upper.share == pytest.approx(30 * 30 / 4800)
    assert lower.share == pytest.approx(26 * 20 / 4800)
    assert upper.confidence == 1
    np.testing.assert_array_equal(upper.mask, groups == GROUPS.index("upper"))


def test_boxes_are_in_the_pixels_of_a_photo_that_is_finer_than_the_grid() -> None:
    groups = groups_with((512, 256), upper=(64, 128, 192, 256))
    (found,) = KnownIsolation(groups).find(Image.new("RGB", (1024, 2048)))
    assert found.box == (256, 512, 768, 1024)
    assert found.mask.shape == (2048, 1024)
    assert box_of(found.mask) == (256, 512, 768, 1024)


def test_a_photo_without_garments_has_none() -> None:
    assert KnownIsolation(groups_with((80, 60), skin=(10, 10, 50, 70))).find(GREY) == []
    assert KnownIsolation(groups_with((80, 60), bag=(10, 10, 12, 12))).find(GREY) == []  # 4 of 4800


def test_specks_beside_a_garment_are_dropped_and_the_second_shoe_is_kept() -> None:
    mask = np.zeros((20, 30), bool)
    mask[10:14, 2:7] = True  # 20 pixels
    mask[10:14, 20:24] = True  # 16
    mask[0, 29] = True
    cleaned = without_specks(mask)
    assert cleaned.sum() == 36
    assert box_of(cleaned) == (2, 10, 24, 14)
    assert not without_specks(np.zeros((4, 4), bool)).any()


def test_labels_are_of_the_size_of_the_photo() -> None:
    labels = isolation_of("shoes").survey(Image.new("RGB", (45, 100)))[1]
    assert labels.shape == (100, 45)
    assert (labels == GROUPS.index("shoes")).all()


def test_confidence_is_the_mean_probability_of_the_group() -> None:
    (found,) = isolation_of("upper").find(GREY)
    assert found.confidence == pytest.approx(math.exp(5) / (math.exp(5) + 8), abs=1e-5)
    assert found.box == (0, 0, 60, 80)
    assert found.share == 1


def test_the_network_sees_the_form_of_the_photo_in_about_the_area_it_was_trained_on() -> None:
    isolation = isolation_of()  # trained on 32 x 24, in multiples of 8
    sizes = {
        (w, h): isolation.probabilities(Image.new("RGB", (w, h))).shape[1:]
        for w, h in ((60, 80), (80, 60), (400, 100), (2000, 10))
    }
    assert sizes[60, 80] == (16, 12)  # half of 32 x 24
    assert sizes[80, 60] == (12, 16)
    assert sizes[400, 100] == (8, 28)
    assert sizes[2000, 10] == (4, 196)


def test_the_same_photo_gives_the_same_answer_and_its_mirror_the_mirrored_one() -> None:
    torch.manual_seed(1)
    isolation = isolation_of()
    isolation.network = SegmentationNetwork(SMALL).eval()
    pixels = np.random.default_rng(0).integers(0, 255, (32, 24, 3), np.uint8)
    first = isolation.probabilities(Image.fromarray(pixels))
    again = isolation.probabilities(Image.fromarray(pixels))
    mirrored = isolation.probabilities(Image.fromarray(pixels[:, ::-1]))
    assert torch.equal(first, again)
    torch.testing.assert_close(mirrored.flip(-1), first)
    assert first.std() > 0.001  # the network says something
    torch.testing.assert_close(first.sum(dim=0), torch.ones_like(first[0]))


class ReadsColours(Isolation):
    """Takes a pixel's red value / 20 for its group; notes the sizes of the photos it looks at."""

    def probabilities(self, photo: Image.Image, scale: float = 1.0) -> torch.Tensor:
        self.looks = [*getattr(self, "looks", []), photo.size]
        groups = torch.from_numpy(np.asarray(photo)[:, :, 0] // 20).long()
        return torch.nn.functional.one_hot(groups, len(GROUPS)).permute(2, 0, 1).float()


@pytest.mark.parametrize("factor", [1, 4])  # the grid is as fine as the photo, or coarser
def test_a_second_look_at_the_person_alone_decides(factor: int) -> None:
    groups = groups_with((400, 300), skin=(100, 80, 140, 100), upper=(90, 100, 150, 180))
    photo = Image.fromarray(np.stack([groups * 20] * 3, axis=2))
    photo = photo.resize((300 * factor, 400 * factor), Image.Resampling.NEAREST)
    isolation = ReadsColours(SegmentationNetwork(SMALL))
    (found,) = isolation.find(photo)
    whole, part = isolation.looks
    assert whole == photo.size
    # The person's box is 60 x 100 and gets 6 % of 100 on each side.
    assert part == pytest.approx((72 * factor, 112 * factor), abs=factor)
    assert found.box == pytest.approx([factor * side for side in (90, 100, 150, 180)], abs=factor)
    if factor == 1:
        np.testing.assert_array_equal(isolation.survey(photo)[1], groups)


def test_without_a_person_there_is_no_second_look() -> None:
    isolation = ReadsColours(SegmentationNetwork(SMALL))
    assert isolation.find(Image.new("RGB", (60, 80))) == []
    assert isolation.looks == [(60, 80)]


def test_several_networks_answer_with_the_mean_of_their_probabilities() -> None:
    """Two sure of .9488 for tops outvote one of as much for bags: .6462 and .3185."""
    upper, bag = isolation_of("upper"), isolation_of("bag")
    sure, unsure = math.exp(5) / (math.exp(5) + 8), 1 / (math.exp(5) + 8)
    both = replace(bag, beside=[upper, isolation_of("upper")])
    (found,) = both.find(GREY)
    assert found.group == "upper"
    assert found.confidence == pytest.approx((2 * sure + unsure) / 3, abs=1e-5)
    (found,) = replace(bag, beside=[bag, upper]).find(GREY)
    assert found.group == "bag"


def test_each_network_sees_the_photo_once_for_each_scale() -> None:
    class Notes(Isolation):
        def probabilities(self, photo: Image.Image, scale: float = 1.0) -> torch.Tensor:
            asked.append((self.trained_on, scale))
            return super().probabilities(photo, scale)

    asked: list[tuple[str, float]] = []
    first, second = (
        Notes(isolation_of().network, Preprocessing(32, 24, "stretch"), name)
        for name in ("first", "second")
    )
    replace(first, beside=[second], scales=(1.0, 1.5)).find(GREY)
    once = [("first", 1.0), ("first", 1.5), ("second", 1.0), ("second", 1.5)]
    assert asked == once * 2, "the whole photo, then the person alone"
    small, large = (first.probabilities(GREY, scale).shape[1:] for scale in (1.0, 2.0))
    assert (2 * small[0], 2 * small[1]) == tuple(large)


def garment(group: str, share: float) -> Garment:
    return Garment(group, (0, 0, 1, 1), share, 0.9, np.ones((1, 1), bool))


def test_a_choice_takes_that_group_or_the_largest_that_is_no_accessory() -> None:
    found = [garment("other", 0.5), garment("lower", 0.2), garment("upper", 0.3)]
    for choice, expected in (("lower", "lower"), ("largest", "upper")):
        chosen = choose(found, choice)
        assert chosen is not None
        assert chosen.group == expected
    assert choose(found, "bag") is None
    assert choose(found[:1], "largest") is None


def test_a_margin_is_a_share_of_the_longer_side_and_ends_with_the_photo() -> None:
    assert with_margin((20, 30, 40, 70), (100, 100), 0.1) == (16, 26, 44, 74)
    assert with_margin((2, 30, 40, 99), (50, 100), 0.1) == (0, 23.1, 46.9, 100)
    assert with_margin((20, 30, 40, 70), (100, 100), 0) == (20, 30, 40, 70)


def test_a_cut_out_garment_is_on_white_and_keeps_its_own_pixels() -> None:
    photo = Image.new("RGB", (60, 80), (200, 0, 0))
    (found,) = KnownIsolation(groups_with((80, 60), upper=(20, 20, 40, 60))).find(photo)
    alone = np.asarray(cut_out(photo, found))
    assert alone.shape == (44, 24, 3)  # 6 % of 40 around, rounded
    assert (alone[0] == 255).all()
    assert (alone[:, 0] == 255).all()
    assert (alone[4:-4, 4:-4] == (200, 0, 0)).all()


def test_a_network_needs_as_many_depths_as_widths() -> None:
    for widths, depths in (((8,), (1, 1)), ((8, 0), (1, 1)), ((8, 8), (1, 0))):
        with pytest.raises(UserError, match="one number above 0"):
            SegmentationConfig(widths, depths)


def test_logits_have_half_of_the_input_s_sides() -> None:
    network = SegmentationNetwork(SegmentationConfig((8, 16, 24), (1, 2, 1)))
    assert network.config.multiple == 16
    assert network(torch.zeros(2, 3, 48, 32)).shape == (2, len(GROUPS), 24, 16)
