"""Which part of a person's photo a search looks at: the garment that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

from PIL import Image

from siamese.isolation import Garment, IsolationError, choose, cut_out, with_margin
from siamese.isolation_file import load_isolation
from siamese.photos import PhotoError, PhotoSource, open_photo
from siamese.preprocessing import Box

SOON_DONE = 64  # photos: before a bar could be read


class FindsGarments(Protocol):
    """`siamese.isolation.Isolation`, or `siamese.person_detector.PersonDetector`."""

    def find(self, photo: Image.Image) -> list[Garment]:
        """The garments of an RGB photo."""
        ...


@dataclass(frozen=True)
class GarmentChoice:
    """Which garment of a photo to look at.

    Args:
        isolation: What finds garments.
        garment: One of `siamese.isolation.CHOICES`.
        remove_background: Whether all but the garment becomes white.
    """

    isolation: FindsGarments
    garment: str
    remove_background: bool = False

    def parts_of(
        self, photos: Sequence[PhotoSource]
    ) -> list[tuple[PhotoSource, Box | None] | PhotoError]:
        """`part_of` each photo, or what is wrong with it; with a progress bar on a terminal."""
        from tqdm import tqdm

        hidden = True if len(photos) <= SOON_DONE else None  # None: unless on a terminal
        parts: list[tuple[PhotoSource, Box | None] | PhotoError] = []
        for photo in tqdm(photos, unit=" photos", desc="isolating", disable=hidden):
            try:
                parts.append(self.part_of(photo))
            except PhotoError as error:
                parts.append(error)
        return parts

    def part_of(self, photo: PhotoSource) -> tuple[PhotoSource, Box | None]:
        """What to embed: the photo with a box, or its garment cut out, as a PNG.

        Raises:
            PhotoError: The photo cannot be used, or shows no such garment.
        """
        opened, garment = self._found_in(photo)
        if not self.remove_background:
            return photo, with_margin(garment.box, opened.size)
        encoded = BytesIO()
        cut_out(opened, garment).save(encoded, "PNG", compress_level=1)
        return encoded.getvalue(), None

    def box_in(self, photo: PhotoSource) -> Box:
        """The garment's box with its margin; errors as in `part_of`."""
        opened, garment = self._found_in(photo)
        return with_margin(garment.box, opened.size)

    def _found_in(self, photo: PhotoSource) -> tuple[Image.Image, Garment]:
        opened = open_photo(photo)
        found = self.isolation.find(opened)
        garment = choose(found, self.garment)
        if garment is None:
            seen = ", ".join(each.group for each in found) or "nothing"
            raise PhotoError(
                f"{photo if isinstance(photo, str) else 'photo'}: no garment of group "
                f"{self.garment} found ({seen} was); choose another --garment or give its --box"
            )
        return opened, garment


def load_finder_of_garments(name: str, weights: str | None = None) -> FindsGarments:
    """An isolation file, or a detector of torchvision by its name.

    Args:
        name: A path, or `torchvision/NAME`.
        weights: A local file of the detector's weights.

    Raises:
        IsolationError: It cannot be loaded.
    """
    if name.startswith("torchvision/"):
        from siamese.person_detector import load_person_detector

        return load_person_detector(name, weights)
    if weights is not None:
        raise IsolationError(
            "--isolation-weights goes with --isolation torchvision/NAME; name a file of "
            "datasets.isolation_training by --isolation alone"
        )
    return load_isolation(name)
