"""Cutting garments out, finding their parts, and the photos of people who wear them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers_garments import RED, flat_shirt, wooden_floor

from datasets.composed_photos import CANVAS, HEIGHT, WIDTH, person_photo, product_photo
from datasets.composed_wear import Fit, draw_fit, draw_sleeve_of, draw_worn
from datasets.cutouts import Cutout, cut_out, smoothed
from datasets.lays import Lay, Sleeve, lay_of
from datasets.rendered_brushes import Image
from datasets.rendered_figures import posed_figure


@pytest.mark.parametrize("background", [255, wooden_floor()], ids=["white", "floor"])
def test_a_garment_is_cut_out_of_its_background(background: int | Image) -> None:
    photo = flat_shirt(background)
    found = cut_out(photo)
    assert found is not None
    cutout, behind = found
    truth = (flat_shirt(255) != 255).any(axis=2)
    share = (cutout.alpha > 127).sum() / truth.sum()
    assert 0.9 < share < 1.05
    inside = cutout.pixels[cutout.alpha > 200].astype(int)
    assert (np.abs(inside - RED).max(axis=1) < 30).mean() > 0.98
    # What was behind it has no red left: the garment is painted over.
    assert behind.shape == (120, 100, 3)
    red = (behind[..., 0].astype(int) - behind[..., 2]) > 120
    assert red.mean() < 0.01


def test_an_empty_photo_and_a_full_one_have_no_garment_to_cut_out() -> None:
    assert cut_out(np.full((200, 160, 3), 255, np.uint8)) is None
    full = np.full((200, 160, 3), 90, np.uint8)
    full[2:-2, 2:-2] = 100
    assert cut_out(full) is None


def test_torso_and_sleeves_are_found_where_they_were_drawn() -> None:
    alpha = (flat_shirt() != 255).any(axis=2).astype(np.uint8) * 255
    lay = lay_of(alpha, "top")
    assert lay.middle == pytest.approx(99.5, abs=1)
    assert lay.half_width == pytest.approx(40, abs=1)
    assert sorted(lay.sleeves) == [-1, 1]
    right = lay.sleeves[1]
    assert right.end == pytest.approx((172, 92), abs=9)
    assert lay.sleeves[-1].end == pytest.approx((199 - 172, 92), abs=9)
    assert right.length == pytest.approx(55, abs=12)


def test_a_garment_without_sleeves_has_none_and_a_bottom_never_does() -> None:
    vest = np.zeros((200, 120), np.uint8)
    vest[:, 20:100] = 255
    assert lay_of(vest, "top").sleeves == {}
    alpha = (flat_shirt() != 255).any(axis=2).astype(np.uint8) * 255
    assert lay_of(alpha, "bottom").sleeves == {}
    assert lay_of(np.zeros((40, 30), np.uint8), "top").half_width == 15


def test_a_fit_ends_where_such_garments_end() -> None:
    random = np.random.default_rng(0)
    alpha = np.full((300, 60), 255, np.uint8)
    for kind, low, high in (("top", 62, 104), ("dress", 105, 180), ("bottom", 100, 186)):
        lay = lay_of(alpha, kind)
        fits = [draw_fit(random, kind, lay) for _ in range(50)]
        assert all(low <= fit.bottom <= high for fit in fits)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("long-sleeved", 0.88, 1.0), ("short-sleeved", 0.25, 0.45), ("sleeveless", 0, 0)],
)
def test_sleeves_cover_as_much_of_the_arm_as_the_kind_says(
    kind: str, low: float, high: float
) -> None:
    """Whatever the outline shows: long sleeves may be folded away, and tops flare."""
    random = np.random.default_rng(0)
    for alpha in (np.full((200, 90), 255, np.uint8), red_cutout().alpha):
        fits = [draw_fit(random, kind, lay_of(alpha, kind)) for _ in range(20)]
        assert all(low <= fit.sleeve <= high for fit in fits)


def test_where_no_kind_says_so_the_outline_tells_sleeves() -> None:
    random = np.random.default_rng(0)
    assert draw_fit(random, "top", Lay(50, 40, 200)).sleeve == 0
    for pixels, share in ((200.0, 1.0), (70.0, 0.5)):  # half a torso, 40 pixels, is 20 units
        sleeve = Sleeve(np.zeros(2), np.array((pixels, 0.0)), 10, 8)
        fit = draw_fit(random, "top", Lay(50, 40, 200, {1: sleeve}))
        assert share <= fit.sleeve <= min(1, 1.15 * share)


def test_a_hem_that_flares_is_no_end_of_a_sleeve() -> None:
    """A shirt whose sleeves end at row 105 and whose hem is as wide as they."""
    flared = flat_shirt()
    cv2.fillPoly(flared, [np.array(((60, 170), (25, 219), (174, 219), (139, 170)))], RED)
    lengths = []
    for photo in (flat_shirt(), flared):
        found = cut_out(photo)
        assert found is not None
        sleeves = lay_of(found[0].alpha, "top").sleeves
        assert set(sleeves) == {-1, 1}
        lengths.append(np.mean([sleeve.length for sleeve in sleeves.values()]))
    assert lengths[1] == pytest.approx(lengths[0], rel=0.1)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_sleeve_that_was_folded_away_is_made_of_the_torso(side: int) -> None:
    figure = posed_figure(np.random.default_rng(0), CANVAS, False, ("arms down",))
    cutout = Cutout(np.full((200, 90, 3), RED, np.uint8), np.full((200, 90), 255, np.uint8))
    drawn = []
    for sleeve in (0.0, 0.3, 1.0):
        canvas = np.full((*CANVAS, 3), 255, np.uint8)
        fit = Fit(0, 80, 1.1, 0.5, sleeve)
        draw_sleeve_of(canvas, figure, cutout, lay_of(cutout.alpha, "top"), fit, side)
        drawn.append(int((canvas[..., 1] < 60).sum()))
    assert drawn[0] == 0
    assert drawn[2] > 2 * drawn[1] > 0


def test_smoothing_evens_out_shades_and_leaves_prints() -> None:
    shade = np.linspace(110, 190, 120, dtype=np.float32)
    pixels = np.repeat(np.tile(shade[:, None], (1, 80))[..., None], 3, axis=2).astype(np.uint8)
    pixels[50:60] = 10  # a stripe
    cutout = Cutout(pixels, np.full((120, 80), 255, np.uint8))
    random = np.random.default_rng(0)
    spreads = []
    for _ in range(20):
        even = smoothed(cutout, random)
        assert np.array_equal(even.alpha, cutout.alpha)
        ratio = even.pixels[20:40].mean() / even.pixels[52:58].mean()
        assert ratio > 5  # 13 before: at most a third up and a quarter down
        spreads.append(float(even.pixels[90:].mean() - even.pixels[:30].mean()))
    assert np.mean(spreads) < 0.85 * (pixels[90:].mean() - pixels[:30].mean())
    assert max(spreads) - min(spreads) > 5  # each photo another amount


def test_half_of_the_photos_have_a_studios_exact_colours() -> None:
    """A grey garment stays as grey as it was, in every second photo."""
    grey = np.full((120, 90, 3), 128, np.uint8)
    cutout = Cutout(grey, np.full((120, 90), 255, np.uint8))
    casts = []
    for seed in range(40):
        photo = person_photo(
            cutout, "object", [], wooden_floor(), "training", np.random.default_rng(seed)
        ).photo
        centre = photo[108:148, 76:116].reshape(-1, 3).mean(axis=0)
        casts.append(float(np.ptp(centre)))
    assert 0.3 < np.mean(np.array(casts) < 6) < 0.75


def test_a_worn_garment_covers_the_body_and_keeps_its_upper_and_lower_half() -> None:
    """Blue above, yellow below: neither mirrored nor turned over, and where the torso is."""
    pixels = np.empty((200, 100, 3), np.uint8)
    pixels[:100], pixels[100:] = (0, 0, 255), (255, 255, 0)
    cutout = Cutout(pixels, np.full((200, 100), 255, np.uint8))
    random = np.random.default_rng(3)
    figure = posed_figure(random, CANVAS, lower=False, poses=("arms behind",))
    canvas = np.full((*CANVAS, 3), 128, np.uint8)
    fit = Fit(top=-2, bottom=80, ease=1.1, hug=0.5)
    draw_worn(canvas, figure, cutout, lay_of(cutout.alpha, "top"), fit, random)
    chest, waist = figure.place(np.array(((0.0, 15.0), (0.0, 65.0)))).astype(int)
    for (x, y), channel in ((chest, 2), (waist, 0)):
        if 0 <= y < CANVAS[0]:
            patch = canvas[y - 3 : y + 3, x - 3 : x + 3].reshape(-1, 3).mean(axis=0)
            assert patch[channel] > patch[2 - channel] + 80
    assert (canvas[:, :4] == 128).all()


def red_cutout() -> Cutout:
    found = cut_out(flat_shirt())
    assert found is not None
    return found[0]


@pytest.mark.parametrize("kind", ["top", "dress", "bottom", "object"])
@pytest.mark.parametrize("style", ["training", "unlike"])
def test_photos_show_the_garment_and_depend_on_the_seed_alone(kind: str, style: str) -> None:
    cutout = red_cutout()
    others = [(cutout, "bottom"), (cutout, "top")] if kind == "object" else []
    shares = []
    for seed in range(4):
        photo, again = (
            person_photo(cutout, kind, others, wooden_floor(), style, np.random.default_rng(seed))  # type: ignore[arg-type]
            for _ in range(2)
        )
        assert photo.photo.shape == (HEIGHT, WIDTH, 3)
        assert photo.photo.dtype == np.uint8
        assert np.array_equal(photo.photo, again.photo)
        assert photo.box == again.box
        r, g, b = photo.photo.astype(int).transpose(2, 0, 1)
        shares.append(((r > 1.6 * g) & (r > 1.6 * b) & (r > 50)).mean())
    assert np.median(shares) > 0.03


@pytest.mark.parametrize("kind", ["long-sleeved", "dress", "bottom", "object"])
@pytest.mark.parametrize("style", ["training", "unlike"])
def test_the_box_is_where_the_garment_shows(kind: str, style: str) -> None:
    """A garment of a colour that nothing else has, in frames, rolls and tilts of any camera."""
    red = red_cutout()
    cutout = Cutout(np.full_like(red.pixels, (0, 190, 200)), red.alpha)
    inside, overlaps = [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        made = person_photo(cutout, kind, [], wooden_floor(), style, random)  # type: ignore[arg-type]
        photo, (x1, y1, x2, y2) = made.photo, made.box
        r, g, b = photo.astype(int).transpose(2, 0, 1)
        ys, xs = np.nonzero((g > 1.6 * r) & (b > 1.6 * r) & (g > 40))
        inside.append(((xs >= x1 - 2) & (xs <= x2 + 2) & (ys >= y1 - 2) & (ys <= y2 + 2)).mean())
        shown = (np.ptp(xs) + 1) * (np.ptp(ys) + 1)
        overlaps.append(shown / ((x2 - x1) * (y2 - y1)))
        assert 0 <= x1 < x2 <= WIDTH
        assert 0 <= y1 < y2 <= HEIGHT
    assert np.mean(inside) > 0.97
    assert 0.6 < np.median(overlaps) < 1.1


def test_a_product_photo_is_the_garment_on_white() -> None:
    photo = product_photo(red_cutout(), np.random.default_rng(0))
    assert photo.shape == (HEIGHT, WIDTH, 3)
    assert photo[:6].mean() > 235
    centre = photo[HEIGHT // 2 - 8 : HEIGHT // 2 + 8, WIDTH // 2 - 8 : WIDTH // 2 + 8]
    assert np.abs(centre.reshape(-1, 3).mean(axis=0) - RED).max() < 25


@pytest.mark.parametrize(("kind", "lower"), [("long-sleeved", "bottom"), ("bottom", "top")])
def test_what_is_worn_beside_the_garment_is_told_and_shows(kind: str, lower: str) -> None:
    """Of others, the first that fits; its colour shows where it is told, and only there."""
    red = red_cutout()
    cyan, magenta = (
        Cutout(np.full_like(red.pixels, colour), red.alpha)
        for colour in ((0, 200, 200), (200, 0, 200))
    )
    others = [(magenta, "dress"), (cyan, lower), (magenta, lower)]
    told, shown, later = [], [], []
    for seed in range(24):
        random = np.random.default_rng(seed)
        made = person_photo(red, kind, others, wooden_floor(), "unlike", random)  # type: ignore[arg-type]
        told.append(made.beside)
        r, g, b = made.photo.astype(int).transpose(2, 0, 1)
        shown.append(((g > 1.4 * r) & (b > 1.4 * r) & (g > 40)).mean())
        later.append(((r > 1.4 * g) & (b > 1.4 * g) & (r > 40)).mean())
    assert set(told) == {None, 1}
    shares = np.array(shown)
    beside = np.array([place is not None for place in told])
    assert 0.2 < beside.mean() < 0.8
    assert np.median(shares[beside]) > 0.02
    # Clothes that are drawn where none is told may have such a colour, now and then.
    assert np.median(shares[~beside]) < 0.005
    assert np.median(later) < 0.005
