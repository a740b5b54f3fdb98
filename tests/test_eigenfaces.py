"""Eigenfaces: scikit-learn's components, distances as cosines, and a recognition tolerance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import draw_photo
from sklearn.decomposition import PCA

from siamese import eigenfaces
from siamese.attributes.comparison_report import component_sheet
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.eigenfaces import PIXELS, RADIUS, Eigenfaces, calibration_of, fit_eigenfaces
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Forty garment-like pictures; any two differ."""
    folder = tmp_path_factory.mktemp("photos")
    return [
        str(draw_photo(folder / f"{number}.png", hue=6 * number, stripes=number % 5))
        for number in range(40)
    ]


@pytest.fixture(scope="module")
def fitted(photos: list[str]) -> Checkpoint:
    return fit_eigenfaces(photos, components=12)


def network_of(checkpoint: Checkpoint) -> Eigenfaces:
    assert isinstance(checkpoint.encoder.backbone, Eigenfaces)
    return checkpoint.encoder.backbone


def values(photos: list[str]) -> np.ndarray:
    """Pixels in [0, 1] as the components see them: float64 (photos, F)."""
    pixels = np.stack([PIXELS.read(photo) for photo in photos]).transpose(0, 3, 1, 2)
    return pixels.reshape(len(photos), -1) / 255


def test_in_one_batch_the_components_are_those_of_a_pca(
    photos: list[str], fitted: Checkpoint
) -> None:
    exact = PCA(12, svd_solver="full").fit(values(photos))
    network = network_of(fitted)
    np.testing.assert_allclose(network.mean.numpy(), exact.mean_, atol=1e-5)
    alike = np.abs(network.components.numpy() @ exact.components_.T)
    np.testing.assert_allclose(np.diag(alike)[:6], 1, atol=1e-3)


def test_batches_give_nearly_the_components_of_all_photos_at_once(
    photos: list[str], fitted: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last batch has fewer photos than there are components."""
    monkeypatch.setattr(eigenfaces, "BATCH", 17)
    network = network_of(fit_eigenfaces(photos, components=12))
    np.testing.assert_allclose(network.mean.numpy(), network_of(fitted).mean.numpy(), atol=1e-5)
    alike = (network.components @ network_of(fitted).components.T).abs()
    assert alike.diag()[:3].min() > 0.98


def test_cosines_are_distances_of_the_coefficients(photos: list[str], fitted: Checkpoint) -> None:
    embeddings = fitted.embed(photos).double()
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(len(photos)).double(), atol=1e-6)
    network = network_of(fitted)
    coefficients = network.coefficients(torch.from_numpy(values(photos)).view(-1, 3, 48, 48))
    exact = torch.cdist(coefficients.double(), coefficients.double())
    found = network.distance(embeddings @ embeddings.T)
    apart = exact > exact.max() / 20
    ratio = (found / exact)[apart]
    assert ratio.min() > 1 - 1e-3
    assert ratio.max() < 1 + 1 / RADIUS**2
    assert network.distance(torch.tensor(network.cosine(0.7))) == pytest.approx(0.7, rel=1e-2)


def test_a_photo_within_the_tolerance_is_recognised_and_one_beyond_is_not() -> None:
    network = Eigenfaces(2, 8, 8)
    network.radius.fill_(10.0)
    calibration = calibration_of(network, tolerance=0.5)
    others = torch.full((3000,), network.cosine(3.0)).double()  # a large catalog decides nothing
    for distance, recognised in ((0.0, True), (0.49, True), (0.51, False), (2.0, False)):
        scores = torch.cat([torch.tensor([network.cosine(distance)]).double(), others])
        absent = float(calibration.among(scores[None])[0, -1])
        assert (1 - absent >= calibration.catalog_threshold) == recognised, distance


def test_the_usual_tolerance_lets_one_in_twenty_pass_for_another() -> None:
    """Twenty points on a line whose gaps are 1, 2, 3 …; copies of a point are no neighbours."""
    places = torch.tensor([0.0, *np.cumsum(np.arange(1, 41)).tolist()])
    coefficients = torch.stack([places, torch.zeros(41)], dim=1).repeat(2, 1)
    nearest = np.array([1, 1, *range(2, 41)])
    expected = np.quantile(nearest.repeat(2), 0.05)
    assert eigenfaces._usual_tolerance(coefficients) == pytest.approx(expected)


def test_saved_and_read_again_it_is_the_same_encoder(
    photos: list[str], fitted: Checkpoint, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "e.safetensors")
    again = load_checkpoint(tmp_path / "e.safetensors")
    assert again.fingerprint == fitted.fingerprint
    assert torch.equal(again.embed(photos[:3]), fitted.embed(photos[:3]))


def test_broken_photos_are_left_out_and_too_few_are_refused(
    photos: list[str], fitted: Checkpoint, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    with_broken = fit_eigenfaces([*photos, str(broken)], components=12)
    assert with_broken.fingerprint == fitted.fingerprint
    with pytest.raises(UserError, match=r"three photos or more, and 2 can be used"):
        fit_eigenfaces([*photos[:2], str(broken)])


def test_a_few_photos_give_fewer_components(photos: list[str]) -> None:
    assert fit_eigenfaces(photos[:5]).embedding_size == 4 + 1


def test_pictures_are_the_mean_and_the_components_around_grey(fitted: Checkpoint) -> None:
    network = network_of(fitted)
    pictures = network.pictures()
    assert pictures.shape == (13, 48, 48, 3)
    mean = network.mean.view(3, 48, 48).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(pictures[0] / 255, mean.clip(0, 1), atol=1 / 255)
    for picture, component in zip(pictures[1:], network.components, strict=True):
        shown = torch.from_numpy(picture).permute(2, 0, 1).flatten()
        assert int(shown[component.abs().argmax()]) in (0, 255)
        assert abs(int(shown[component.abs().argmin()]) - 128) <= 2


def test_the_sheet_has_a_cell_for_each_and_other_encoders_have_none(fitted: Checkpoint) -> None:
    sheet = component_sheet(fitted.encoder)
    assert sheet is not None
    assert sheet.width > sheet.height > 200  # 13 cells in two lines
    small = Encoder(EncoderConfig(embedding_size=4, widths=(4,), depth=1), 32, 32)
    assert component_sheet(small) is None


def test_of_many_photos_the_usual_tolerance_is_of_neighbours_among_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a sample's photos the nearest in the sample would be much farther."""
    monkeypatch.setattr(eigenfaces, "SAMPLE", 40)
    coefficients = torch.randn(900, 3, generator=torch.Generator().manual_seed(0))
    distances = torch.cdist(coefficients, coefficients).fill_diagonal_(torch.inf)
    taken = distances.amin(dim=1) <= eigenfaces._usual_tolerance(coefficients)
    assert 0.01 < taken.float().mean() < 0.15


def test_broken_photos_at_the_beginning_decide_nothing(
    photos: list[str], fitted: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first batch has as many photos as any."""
    monkeypatch.setattr(eigenfaces, "BATCH", 40)
    broken = str(tmp_path / "broken.jpg")
    Path(broken).write_bytes(b"no photo")
    found = fit_eigenfaces([broken] * 38 + photos[:3] + [broken] * 40 + photos[3:], components=12)
    assert found.trained_on.startswith("principal components of 40 photos")
    torch.testing.assert_close(network_of(found).components, network_of(fitted).components)
