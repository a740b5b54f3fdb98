"""Training views vary what may vary, each step by itself, and leave the garment's colour."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets.transforms import reseed, training_views

ROOT = Path(__file__).parent.parent


@pytest.fixture
def photo() -> np.ndarray:
    """Noise, smooth enough that a view of it is not grey."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    return cv2.resize(noise, (48, 64), interpolation=cv2.INTER_CUBIC)


def views_of(photo: np.ndarray, count: int, strength: float, erase: float) -> list[np.ndarray]:
    views = training_views(strength, erase)
    found = []
    for seed in range(count):
        reseed(views, seed)
        found.append(views(image=photo)["image"])
    return found


def test_views_have_the_photos_shape_and_differ(photo: np.ndarray) -> None:
    views = views_of(photo, 20, 1.0, 0.25)
    assert all(view.shape == photo.shape and view.dtype == np.uint8 for view in views)
    assert len({view.tobytes() for view in views}) == 20


def test_without_strength_only_the_side_changes(photo: np.ndarray) -> None:
    mirrored = sum((view == photo[:, ::-1]).all() for view in views_of(photo, 60, 0.0, 0.0))
    same = sum((view == photo).all() for view in views_of(photo, 60, 0.0, 0.0))
    assert mirrored + same == 60
    assert 15 < same < 45


def test_more_strength_changes_more(photo: np.ndarray) -> None:
    def change(strength: float) -> float:
        """Mean difference to the photo, seen from the side that is nearer."""
        differences = [
            min(np.abs(side - photo.astype(float)).mean() for side in (view, view[:, ::-1]))
            for view in views_of(photo, 40, strength, 0.0)
        ]
        return float(np.mean(differences))

    assert change(0.2) < change(0.6) < change(1.2)


def test_light_may_stay_while_the_place_changes() -> None:
    """A plain photo stays as it is wherever it moves; with light it does not."""
    plain = np.full((64, 48, 3), (180, 90, 60), np.uint8)
    for light, same in ((0.0, True), (0.5, False), (None, False)):
        views = training_views(1.0, 0.0, light)
        shown = []
        for seed in range(10):
            reseed(views, seed)
            shown.append(bool((views(image=plain)["image"] == plain).all()))
        assert all(shown) is same


def test_without_hue_a_red_photo_stays_red_and_with_it_any_colour_may_come() -> None:
    red = np.full((32, 24, 3), (200, 40, 50), np.uint8)
    for hue, kinds in ((0.0, {"red"}), (1.0, {"red", "green", "blue", "grey"})):
        views = training_views(0.0, 0.0, hue=hue)
        seen = set()
        for seed in range(60):
            reseed(views, seed)
            colour = views(image=red)["image"][0, 0].astype(int)
            strongest = ("red", "green", "blue")[colour.argmax()]
            seen.add("grey" if np.ptp(colour) < 3 else strongest)
        assert seen == kinds


def test_another_camera_blurs_and_grains_as_often_as_asked(photo: np.ndarray) -> None:
    """Each of three steps is drawn by itself: blur .4, grain .25, compression .25."""
    for camera, share in ((0.0, 0.0), (0.5, 1 - 0.8 * 0.875**2), (1.0, 1 - 0.6 * 0.75**2)):
        views = training_views(0.0, 0.0, camera=camera)
        changed = []
        for seed in range(300):
            reseed(views, seed)
            view = views(image=photo)["image"]
            sides = [np.abs(view - side.astype(float)).mean() for side in (photo, photo[:, ::-1])]
            changed.append(min(sides) > 0)
            assert np.abs(view.mean(axis=(0, 1)) - photo.mean(axis=(0, 1))).max() < 8
        assert np.mean(changed) == pytest.approx(share, abs=0.09)


def test_parts_are_erased_as_often_as_asked(photo: np.ndarray) -> None:
    """Without strength every pixel that is neither the photo's nor its mirror's was erased."""
    for erase in (0.0, 0.25, 1.0):
        views = views_of(photo, 200, 0.0, erase)
        erased = [not ((view == photo).all() or (view == photo[:, ::-1]).all()) for view in views]
        assert np.mean(erased) == pytest.approx(erase, abs=0.12)


def test_steps_do_not_go_together(photo: np.ndarray) -> None:
    """Albumentations seeds all steps of a composition alike: flipped photos would be the erased.

    400 views of two photos each; correlations of independent steps stay below 4 / sqrt(400).
    """
    views = training_views(strength=1.0, erase=0.5)
    applied: list[list[bool]] = []
    for place, step in enumerate(views.transforms):
        decide = step.should_apply

        def noted(force_apply: bool, place: int = place, decide: Any = decide) -> bool:
            applied[-1][place] = decide(force_apply)
            return applied[-1][place]

        step.should_apply = noted
    for seed in range(400):
        reseed(views, seed)
        for _ in range(2):
            applied.append([False] * len(views.transforms))
            views(image=photo)
    decisions = np.array(applied, float)
    assert decisions.mean(axis=0) == pytest.approx([0.5, 1.0, 0.7, 0.3, 0.5], abs=0.07)
    sometimes = decisions[:, decisions.std(axis=0) > 0]
    for photos in (sometimes[::2], sometimes[1::2]):
        correlation = np.corrcoef(photos.T) - np.eye(photos.shape[1])
        assert np.abs(correlation).max() < 0.2


def test_the_hue_of_a_plain_garment_hardly_changes() -> None:
    """Six colours, 30 of OpenCV's 180 steps of hue apart: no view reaches half of the way."""
    moved = []
    for hue in range(0, 180, 30):
        plain = np.full((64, 48, 3), (hue, 200, 160), np.uint8)
        photo = cv2.cvtColor(plain, cv2.COLOR_HSV2RGB)
        for view in views_of(photo, 60, 1.0, 0.0):
            found = cv2.cvtColor(view, cv2.COLOR_RGB2HSV)[..., 0].astype(int)
            moved.append(np.median(np.abs((found - hue + 90) % 180 - 90)))
    assert max(moved) < 15
    assert np.mean(moved) < 2


def test_edges_are_repeated_and_not_black() -> None:
    """A white photo stays white wherever it is moved to."""
    white = np.full((64, 48, 3), 255, np.uint8)
    for view in views_of(white, 40, 1.0, 0.0):
        assert view.min() > 120


def test_importing_asks_the_network_for_nothing() -> None:
    """albumentations looks for a newer version of itself unless told not to."""
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('asked the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import datasets.transforms"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr[-500:]) == (0, b"")
