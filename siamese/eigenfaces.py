"""Eigenfaces: principal components of pixels, as an encoder like any other.

Turk & Pentland 1991, Eigenfaces for Recognition: a photo is its coefficients of the components,
the nearest is the one at the smallest distance, and one within a tolerance counts as recognised.
A catalog ranks by cosines, so the coefficients are lifted onto a sphere much larger than they are,
where the angle between two points is their distance (see `Eigenfaces`).

Shapes: B photos, H height, W width, K components, F = 3 · H · W pixel values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from siamese.checkpoint import Checkpoint
from siamese.embedding import decoded_batches
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.pair_score import Calibration
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box, Preprocessing

Values = npt.NDArray[np.float32]

COMPONENTS = 64
PIXELS = Preprocessing(48, 48, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RADIUS = 10.0  # of the sphere, in lengths of the longest coefficients: errors stay within 1 %
BATCH = 256  # photos per step of the incremental PCA
SAMPLE = 2000  # photos whose neighbours decide the tolerance
UNKNOWN_ACCEPTED = 0.05  # share of photos that lie within the tolerance of another product's
SAME = 1e-4  # distance of two copies of a photo, as a share of the longest coefficients
SHARPNESS = 1000.0  # of the step at the tolerance


class Eigenfaces(nn.Module):
    """Photos → coefficients c, lifted to (c, √(R² − |c|²)) / R, (B, 3, H, W) → (B, K + 1).

    These are unit vectors, and R² · (2 − 2 · cosine) is the squared distance of the coefficients,
    too large by at most a share of (|c| / R)².

    Args:
        components: K.
        height: H.
        width: W.

    Attributes:
        mean: The mean photo, float32 (F,).
        components: Orthonormal, the one with the largest variance first, float32 (K, F).
        radius: R.
    """

    mean: Tensor
    components: Tensor
    radius: Tensor

    def __init__(self, components: int, height: int, width: int) -> None:
        super().__init__()
        self.shape = (3, height, width)
        self.register_buffer("mean", torch.zeros(3 * height * width))
        self.register_buffer("components", torch.zeros(components, 3 * height * width))
        self.register_buffer("radius", torch.tensor(1.0))

    def coefficients(self, photos: Tensor) -> Tensor:
        """Photos with values in [0, 1], float (B, 3, H, W), → float (B, K)."""
        return (photos.float().flatten(1) - self.mean) @ self.components.T

    def forward(self, photos: Tensor) -> Tensor:
        found = self.coefficients(photos) / self.radius
        rest = (1 - found.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
        return torch.cat([found, rest], dim=1)

    def distance(self, cosine: Tensor) -> Tensor:
        """Distance of the coefficients of two photos from the cosine of their embeddings."""
        return self.radius * (2 - 2 * cosine).clamp(min=0).sqrt()

    def cosine(self, distance: float) -> float:
        """The cosine at which two photos are that far apart."""
        return 1 - (distance / float(self.radius)) ** 2 / 2

    def pictures(self) -> np.ndarray:
        """The mean photo, then each component around grey: uint8 (1 + K, H, W, 3)."""
        largest = self.components.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
        rows = torch.cat([self.mean[None], 0.5 + self.components / largest / 2])
        pixels = (rows.clamp(0, 1) * 255).round().to(torch.uint8)
        return pixels.view(-1, *self.shape).permute(0, 2, 3, 1).numpy()


def fit_eigenfaces(
    photos: Sequence[PhotoSource],
    boxes: Sequence[Box | None] | None = None,
    components: int = COMPONENTS,
    tolerance: float | None = None,
) -> Checkpoint:
    """Find the components batch by batch; photos that cannot be used are left out.

    Args:
        photos: Any number; memory does not grow with it.
        boxes: For each photo the part to look at, or None for all of it.
        components: At most so many, and fewer than there are photos.
        tolerance: Distance of coefficients up to which a photo counts as recognised, that is, as
            in the catalog. By default so that one in twenty of these photos would be taken for
            another one, were it unknown.

    Raises:
        UserError: Fewer than three photos can be used.
    """
    from sklearn.decomposition import IncrementalPCA

    batches = _full(_batches(photos, boxes))
    first = next(batches, np.empty((0, 0), np.float32))
    if len(first) < 3:
        raise UserError(f"eigenfaces need three photos or more, and {len(first)} can be used")
    analysis = IncrementalPCA(min(components, len(first) - 1))
    for pixels in chain([first], batches):
        analysis.partial_fit(pixels)
    count = len(analysis.components_)
    encoder = Encoder(EncoderConfig("eigenfaces", count + 1), PIXELS.height, PIXELS.width)
    network = encoder.backbone
    assert isinstance(network, Eigenfaces)
    network.mean.copy_(torch.from_numpy(analysis.mean_))
    network.components.copy_(torch.from_numpy(analysis.components_))
    given = (torch.from_numpy(pixels) for pixels in _batches(photos, boxes))
    coefficients = torch.cat([network.coefficients(pixels) for pixels in given])
    network.radius.fill_(RADIUS * max(float(coefficients.norm(dim=1).max()), 1e-6))
    if tolerance is None:
        tolerance = _usual_tolerance(coefficients)
    calibration = calibration_of(network, tolerance)
    label = f"principal components of {len(coefficients)} photos, tolerance {tolerance:.3g}"
    return Checkpoint(encoder, PIXELS, calibration, label)


def calibration_of(network: Eigenfaces, tolerance: float) -> Calibration:
    """Probabilities that are nearly 1 within the tolerance, and nearly 0 beyond it."""
    edge = network.cosine(tolerance)
    scale = SHARPNESS / max(1 - edge, 1e-9)
    return Calibration(scale=scale, bias=-scale * edge)


def _batches(photos: Sequence[PhotoSource], boxes: Sequence[Box | None] | None) -> Iterator[Values]:
    """Pixels in [0, 1] of batches of photos, float32 (at most BATCH, F)."""
    parts = boxes or [None] * len(photos)

    def read(place: int) -> np.ndarray:
        return PIXELS.read(photos[place], parts[place])

    for _, decoded in decoded_batches(read, len(photos), BATCH):
        pixels = [photo for photo in decoded if not isinstance(photo, PhotoError)]
        if pixels:
            flat = np.stack(pixels).transpose(0, 3, 1, 2).reshape(len(pixels), -1)
            yield flat.astype(np.float32) / np.float32(255)


def _full(batches: Iterable[Values]) -> Iterator[Values]:
    """The same pixels in batches of BATCH, but for the last: photos were left out of the given."""
    waiting: list[Values] = []
    for pixels in batches:
        joined = np.concatenate([*waiting, pixels])
        if len(joined) >= BATCH:
            yield joined[:BATCH]
        waiting = [joined[BATCH:] if len(joined) >= BATCH else joined]
    if waiting and len(waiting[0]):
        yield waiting[0]


def _usual_tolerance(coefficients: Tensor) -> float:
    """The quantile of the distances from a sample of photos to the nearest that is not the same."""
    exact = coefficients.double()
    same = SAME * float(exact.norm(dim=1).max())
    parts = []
    for some in exact[:: -(-len(exact) // SAMPLE)].split(BATCH):
        distances = torch.cdist(some, exact, compute_mode="donot_use_mm_for_euclid_dist")
        distances[distances < same] = torch.inf  # itself, and copies
        parts.append(distances.amin(dim=1))
    nearest = torch.cat(parts)
    known = nearest[nearest.isfinite()]
    return float(known.quantile(UNKNOWN_ACCEPTED)) if len(known) else 1.0
