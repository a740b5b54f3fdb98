"""Street photos and their labels become groups, splits and training views."""

import csv
from pathlib import Path

import numpy as np
import pytest
from helpers_isolation import write_street
from PIL import Image

from datasets.manifest import ManifestError
from datasets.street import GROUP_OF, LABELS, StreetPhoto, group_table, read_street, split_street
from datasets.street_views import StreetViews, before_studio
from siamese.errors import UserError
from siamese.segmentation import GROUPS

STREET = Path(__file__).parent.parent.parent / "shared" / "data" / "street"


def test_every_group_has_labels_and_no_label_has_two_groups() -> None:
    assert tuple(LABELS) == GROUPS
    assert len(GROUP_OF) == sum(map(len, LABELS.values()))


def test_grey_values_become_groups(tmp_path: Path) -> None:
    photos = read_street(write_street(tmp_path / "street"))
    assert [photo.name for photo in photos] == [f"{n:04d}" for n in range(6)]
    groups = photos[0].groups
    assert groups.shape == (96, 64)
    column = [GROUPS[value] for value in groups[:, 20]]
    assert (
        column
        == ["background"] * 8
        + ["skin"] * 12
        + ["upper"] * 28
        + ["lower"] * 32
        + ["shoes"] * 8
        + ["background"] * 8
    )
    assert photos[0].pixels.shape == (96, 64, 3)


def damaged(folder: Path, fault: str) -> Path:
    """A street folder with one fault."""
    write_street(folder)
    mask = folder / "masks" / "0001.png"
    if fault == "size":
        Image.new("L", (10, 96)).save(mask)
    elif fault == "colours":
        Image.new("RGB", (64, 96)).save(mask)
    elif fault == "value":
        Image.new("L", (64, 96), 200).save(mask)
    elif fault == "cut off":
        mask.write_bytes(mask.read_bytes()[:60])
    elif fault == "label":
        (folder / "labels.csv").write_text("value,label\n0,null\n5,toga\n")
    elif fault == "number":
        (folder / "labels.csv").write_text("value,label\nnone,null\n")
    elif fault == "range":
        (folder / "labels.csv").write_text("value,label\n256,null\n")
    elif fault == "empty label":
        (folder / "labels.csv").write_text("value,label\n0,\n")
    elif fault == "no masks":
        for path in (folder / "masks").iterdir():
            path.unlink()
    elif fault == "no labels":
        (folder / "labels.csv").unlink()
    return folder


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("size", r"0001\.png: is uint8 \(96, 10\), its photo is \(96, 64\)"),
        ("colours", r"0001\.png: is uint8 \(96, 64, 3\)"),
        ("value", r"0001\.png: grey value 200 has no label"),
        ("cut off", r"0001\.png: cannot be read"),
        ("label", "no group is known for toga"),
        ("number", "values from 0 to 255"),
        ("range", "256 is no grey value"),
        ("empty label", "an empty label"),
        ("no masks", r"no masks/\*\.png"),
        ("no labels", r"labels\.csv"),
    ],
)
def test_a_fault_of_the_folder_is_named_with_its_file(
    tmp_path: Path, fault: str, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        read_street(damaged(tmp_path / "street", fault))


def blank(count: int) -> list[StreetPhoto]:
    pixels, groups = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    return [StreetPhoto(str(number), pixels, groups) for number in range(count)]


def test_a_split_depends_on_the_seed_alone_and_shares_every_photo_out() -> None:
    photos = blank(20)
    parts = split_street(photos, validation=3, test=5)
    assert {name: len(part) for name, part in parts.items()} == {
        "test": 5,
        "validation": 3,
        "train": 12,
    }
    names = [photo.name for part in parts.values() for photo in part]
    assert sorted(names, key=int) == [str(number) for number in range(20)]
    again = split_street(photos, validation=3, test=5)
    assert [p.name for p in again["test"]] == [p.name for p in parts["test"]]
    other = split_street(photos, validation=3, test=5, seed=1)
    assert [p.name for p in other["test"]] != [p.name for p in parts["test"]]


def test_too_few_photos_for_a_split_are_one_line() -> None:
    with pytest.raises(UserError, match="8 photos are too few for 3 of validation and 5 of test"):
        split_street(blank(8), validation=3, test=5)


def test_a_view_moves_photo_and_groups_together(tmp_path: Path) -> None:
    """The top is the only red thing: where the view says `upper`, it must be red."""
    photo = read_street(write_street(tmp_path / "street", 1))[0]
    red = 0
    for seed in range(40):
        views = StreetViews(64, 48, studio=0.0)
        pixels, groups = views(photo.pixels, photo.groups, seed)
        assert pixels.shape == (64, 48, 3)
        assert pixels.dtype == groups.dtype == np.uint8
        assert set(np.unique(groups)) <= set(np.unique(photo.groups))
        top = groups == GROUPS.index("upper")
        if (
            top.sum() > 50 and (groups == 0).any() and np.ptp(pixels.astype(int), axis=2).max() > 60
        ):  # not greyed
            channels = pixels.astype(int)
            reddish = channels[..., 0] > channels[..., 1:].max(axis=2) + 30
            red += int(reddish[top].mean() > 0.8 and reddish[groups == 0].mean() < 0.2)
    assert red > 20


def test_views_depend_on_the_seed_alone(tmp_path: Path) -> None:
    photo = read_street(write_street(tmp_path / "street", 1))[0]
    first = StreetViews(64, 48)(photo.pixels, photo.groups, 3)
    used = StreetViews(64, 48)
    used(photo.pixels, photo.groups, 8)
    again = used(photo.pixels, photo.groups, 3)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], used(photo.pixels, photo.groups, 4)[0])


def test_a_photo_without_a_person_can_be_viewed() -> None:
    pixels, groups = StreetViews(64, 48)(
        np.full((96, 64, 3), 99, np.uint8), np.zeros((96, 64), np.uint8), 0
    )
    assert pixels.shape == (64, 48, 3)
    assert not groups.any()


def test_before_a_studio_wall_the_person_stays_and_the_street_goes(tmp_path: Path) -> None:
    photo = read_street(write_street(tmp_path / "street", 1))[0]
    changed = before_studio(photo.pixels, photo.groups, np.random.default_rng(0))
    inner = photo.groups == GROUPS.index("upper")
    inner[:24], inner[44:] = False, False
    inner[:, :20], inner[:, 32:] = False, False
    assert np.abs(changed[inner].astype(int) - photo.pixels[inner]).max() <= 2
    street = photo.groups == 0
    street[:, 10:42] = False
    assert np.abs(changed[street].astype(int) - photo.pixels[street]).min() > 20


@pytest.mark.skipif(not STREET.is_dir(), reason="needs the street photos of ../shared/data")
def test_all_labels_of_the_real_photos_have_a_group() -> None:
    table = group_table(STREET / "labels.csv")
    with (STREET / "labels.csv").open() as file:
        rows = {row["label"]: int(row["value"]) for row in csv.DictReader(file)}
    assert len(rows) == 59
    assert set(rows) == set(GROUP_OF)
    assert GROUPS[table[rows["jeans"]]] == "lower"
    assert GROUPS[table[rows["dress"]]] == "full"
    assert table[rows["null"]] == 0
