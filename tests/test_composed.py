"""Cutting garments out, finding their parts, and the photos composed of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from datasets import composed, composed_sources
from datasets.clothing import read_clothing
from datasets.composed import Recipe, compose
from datasets.composed_photos import CANVAS, HEIGHT, WIDTH, person_photo, product_photo
from datasets.composed_sources import Source, read_composed
from datasets.composed_wear import Fit, draw_fit, draw_sleeve_of, draw_worn
from datasets.cutouts import Cutout, cut_out, smoothed
from datasets.lays import Lay, Sleeve, lay_of
from datasets.manifest import ManifestError, find_faults
from datasets.readers import reader_of
from datasets.rendered_brushes import Image
from datasets.rendered_figures import posed_figure

RED = (200, 30, 40)


def flat_shirt(background: int | Image = 255, size: tuple[int, int] = (240, 200)) -> Image:
    """A red shirt with short sleeves on a background; its torso spans x 60..139, y 40..219."""
    photo = np.empty((*size, 3), np.uint8)
    photo[:] = background
    photo[40:220, 60:140] = RED
    for outline in (
        ((60, 45), (20, 85), (35, 105), (60, 85)),
        ((139, 45), (179, 85), (164, 105), (139, 85)),
    ):
        cv2.fillPoly(photo, [np.array(outline, np.int32)], RED)
    return photo


def wooden_floor() -> Image:
    random = np.random.default_rng(0)
    planks = random.integers(110, 170, (240, 10, 1)).repeat(20, axis=1)
    return (planks * np.array((1.0, 0.8, 0.6)) + random.normal(0, 4, (240, 200, 3))).astype(
        np.uint8
    )


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
        photo, (x1, y1, x2, y2) = person_photo(cutout, kind, [], wooden_floor(), style, random)  # type: ignore[arg-type]
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


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of the clothing data set's layout: ten shirts of five senders, one empty photo."""
    folder = tmp_path / "clothing"
    (folder / "images").mkdir(parents=True)
    lines = ["image,sender_id,label,kids"]
    for number in range(10):
        photo = flat_shirt()
        photo[100:130, 80:120] = (20 * number, 255 - 20 * number, 128)
        if number == 9:
            photo[:] = 255
        cv2.imwrite(str(folder / "images" / f"shirt{number}.jpg"), photo[..., ::-1])
        lines.append(f"shirt{number},{number // 2},T-Shirt,False")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_clothing_is_read_with_every_sender_in_one_split(shop: Path) -> None:
    frame = read_clothing(shop, validation=2, test=2)
    assert frame["split"].value_counts().to_dict() == {"train": 6, "validation": 2, "test": 2}
    assert frame.groupby("sender_id")["split"].nunique().max() == 1
    assert find_faults(frame, compare_contents=False).empty
    assert set(frame["role"]) == {"product"}


def test_a_large_sender_is_trained_on_only(shop: Path) -> None:
    table = pd.read_csv(shop / "images.csv")
    names = [f"shirt{number}" for number in range(10, 40)]  # thirty of one sender
    for name in names:
        (shop / "images" / f"{name}.jpg").write_bytes(b"")
    more = pd.DataFrame({"image": names, "sender_id": 99, "label": "T-Shirt", "kids": False})
    pd.concat([table, more]).to_csv(shop / "images.csv", index=False)
    frame = read_clothing(shop, validation=2, test=2)
    assert set(frame.loc[frame["sender_id"] == "99", "split"]) == {"train"}


def test_a_folder_of_another_layout_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"expected images\.csv"):
        read_clothing(tmp_path)


def sources_of(shop: Path, **changes: object) -> list[Source]:
    options = {"validation": 2, "test": 2}
    return [Source("clothing", str(shop), options, **changes)]  # type: ignore[arg-type]


def test_composed_photos_join_the_products_own(shop: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    frame = read_composed(made, sources=sources_of(shop), views=2, workers=1)
    assert find_faults(frame, check_files=True, compare_contents=False).empty
    assert frame["label"].eq("T-Shirt").all()
    counts = frame.groupby(["split", "role"]).size()
    cut = {
        s: int((frame[frame["split"] == s]["role"] == "person").sum()) // 2
        for s in ("train", "test")
    }
    # The empty photo cannot be cut out; the others have a person photo each time.
    people = frame[frame["role"] == "person"]["product_id"]
    assert "shirt9" not in set(people)
    assert people.nunique() == 9
    assert counts["train", "product"] == 6 + cut["train"]
    assert counts["test", "product"] == 2


def test_boxes_are_given_where_they_are_asked_for_in_folders_of_before_too(
    shop: Path, tmp_path: Path
) -> None:
    made, sources = tmp_path / "made", sources_of(shop)
    plain = read_composed(made, sources=sources, views=2, workers=1)
    assert "x1" not in plain
    before = {path: path.read_bytes() for path in (made / "clothing" / "photos").iterdir()}
    boxes = read_composed(made, sources=sources, views=2, workers=1, boxes=True)
    assert boxes["path"].tolist() == plain["path"].tolist()
    people = boxes["role"] == "person"
    assert boxes.loc[people, ["x1", "y1", "x2", "y2"]].notna().all(axis=None)
    assert boxes.loc[~people, ["x1", "y1", "x2", "y2"]].isna().all(axis=None)
    assert find_faults(boxes, check_files=True, compare_contents=False).empty
    # As drawn before boxes were noted: they are found anew, the photos stay what they were.
    noted = made / "clothing" / "boxes"
    for path in noted.iterdir():
        path.unlink()
    assert read_composed(made, sources=sources, views=2, workers=1, boxes=True).equals(boxes)
    assert {path: path.read_bytes() for path in before} == before
    next(noted.iterdir()).write_text("[[1, 2")
    with pytest.raises(ManifestError, match="damaged; delete it"):
        read_composed(made, sources=sources, views=2, workers=1, boxes=True)


def test_only_the_named_splits_are_kept_and_composed(shop: Path, tmp_path: Path) -> None:
    sources = sources_of(shop, splits=("train", "test"), compose=("train",))
    frame = read_composed(tmp_path / "made", sources=sources, views=1, workers=1)
    assert set(frame["split"]) == {"train", "test"}
    assert set(frame.loc[frame["role"] == "person", "split"]) == {"train"}


def test_several_sources_keep_their_products_apart(shop: Path, tmp_path: Path) -> None:
    drawn = {"products": 8, "person_photos": [2, 3], "validation": 2, "test": 2, "workers": 1}
    both = [
        *sources_of(shop, compose=()),
        Source("rendered", str(tmp_path / "drawn"), drawn, compose=()),
    ]
    frame = read_composed(tmp_path / "made", sources=both, workers=1)
    assert set(frame["product_id"].str.split(":").str[0]) == {"clothing", "rendered"}
    assert find_faults(frame, compare_contents=False).empty


def test_two_sources_of_one_reader_are_numbered(shop: Path, tmp_path: Path) -> None:
    twice = [*sources_of(shop, compose=()), *sources_of(shop, compose=())]
    frame = read_composed(tmp_path / "made", sources=twice, workers=1)
    shops = frame["product_id"].str.split(":").str[0]
    assert set(shops) == {"clothing1", "clothing2"}
    assert (shops == "clothing1").sum() == (shops == "clothing2").sum()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--path", "/nowhere"], "/nowhere"),
        (["--path", "{shop}", "--options", '{"tests": 5}'], "reader clothing has no option tests"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    shop: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [word.replace("{shop}", str(shop)) for word in words]
    assert composed_sources.main(["--folder", str(tmp_path / "made"), *given]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("datasets.composed_sources: ")
    assert message in line


def test_drawing_is_completed_and_nothing_is_drawn_twice(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    read_composed(whole, sources=sources_of(shop), views=1, workers=1)
    original, written = composed.write_atomically, 0

    def write_until_killed(path: Path, data: bytes) -> None:
        nonlocal written
        written += path.parent.name == "photos"
        if written == 4:
            raise KeyboardInterrupt
        original(path, data)

    monkeypatch.setattr(composed, "write_atomically", write_until_killed)
    with pytest.raises(KeyboardInterrupt):
        read_composed(broken, sources=sources_of(shop), views=1, workers=1)
    kept = {path: path.stat().st_mtime_ns for path in broken.rglob("*-*.jpg")}
    assert len(kept) == 3
    monkeypatch.setattr(composed, "write_atomically", original)
    read_composed(broken, sources=sources_of(shop), views=1, workers=1)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    contents = [
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*g") if p.is_file()}
        for folder in (whole, broken)
    ]
    assert contents[0] == contents[1]


def test_two_may_draw_into_one_folder_at_once(shop: Path, tmp_path: Path) -> None:
    """As two trainings do that start together."""
    alone, shared = (tmp_path / name for name in ("alone", "shared"))
    expected = read_composed(alone, sources=sources_of(shop), views=1, workers=1)

    def draw(_: int) -> pd.DataFrame:
        return read_composed(shared, sources=sources_of(shop), views=1, workers=1)

    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(draw, range(4)))
    assert all(frame["product_id"].equals(expected["product_id"]) for frame in drawn)
    files = [
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (alone, shared)
    ]
    assert files[0] == files[1]


def test_a_folder_of_another_recipe_or_a_damaged_one_is_refused(shop: Path, tmp_path: Path) -> None:
    products = read_clothing(shop, validation=2, test=2).assign(kind="top")
    compose(tmp_path / "made", products, Recipe(views=1), workers=1)
    with pytest.raises(ManifestError, match=r"drawn with .*'views': 1"):
        compose(tmp_path / "made", products, Recipe(views=2), workers=1)
    composed._read_cutout.cache_clear()
    next((tmp_path / "made" / "cutouts").glob("*.png")).write_bytes(b"no picture")
    for photo in (tmp_path / "made" / "photos").iterdir():
        photo.unlink()
    with pytest.raises(ManifestError, match="damaged; delete it"):
        compose(tmp_path / "made", products, Recipe(views=1), workers=1)


def test_a_folder_of_other_splits_or_kinds_is_refused_but_products_may_join(
    shop: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    products = pd.DataFrame(
        [
            (name, str(path), "top", "train")
            for name, path in enumerate(sorted((shop / "images").iterdir())[:3])
        ],
        columns=["product_id", "path", "kind", "split"],
    ).astype({"product_id": str})
    compose(made, products[:2], Recipe(views=1), workers=1)
    first = {path: path.read_bytes() for path in (made / "photos").iterdir()}
    compose(made, products, Recipe(views=1), workers=1)
    assert all(path.read_bytes() == content for path, content in first.items())
    for column, value in (("split", "test"), ("kind", "bottom")):
        other = products.copy()
        other.loc[1, column] = value
        with pytest.raises(ManifestError, match="1 of its products were of another split or kind"):
            compose(made, other, Recipe(views=1), workers=1)


def test_photos_without_a_garment_are_refused_with_the_reason(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((60, 60, 3), 255, np.uint8))
    products = pd.DataFrame(
        {
            "product_id": ["a"],
            "path": [str(tmp_path / "empty.png")],
            "kind": ["top"],
            "split": ["train"],
        }
    )
    with pytest.raises(ManifestError, match="no garment could be cut out of 1 product photos"):
        compose(tmp_path / "made", products, Recipe(), workers=1)


def test_the_config_may_name_sources_as_plain_values(shop: Path, tmp_path: Path) -> None:
    source = {"reader": "clothing", "path": str(shop), "options": {"validation": 2, "test": 2}}
    read = reader_of("composed", {"sources": [source], "views": 1, "workers": 1})
    assert (read(tmp_path / "made")["role"] == "person").any()
    with pytest.raises(ManifestError, match="sources"):
        reader_of("composed", {"sources": [source | {"place": "x"}]})
    with pytest.raises(ManifestError, match="unknown reader 'shelf'"):
        reader_of("composed", {"sources": [source | {"reader": "shelf"}]})(tmp_path / "other")
