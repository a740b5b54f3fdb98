"""Garments that people wear in product photos are cut out and become pairs."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from helpers_isolation import KnownIsolation, groups_with, isolation_of

from datasets import worn
from datasets.manifest import ManifestError, find_faults, read_manifest
from datasets.worn import read_worn
from siamese.isolation_file import save_isolation
from siamese.photos import open_photo

DRESSED = groups_with(
    (96, 64), skin=(22, 4, 42, 20), upper=(16, 20, 48, 60), lower=(18, 60, 46, 92)
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Four products: a person in a red top, the top alone, a watch, and a damaged photo."""
    folder = tmp_path / "fashion"
    (folder / "images").mkdir(parents=True)
    worn_photo = np.full((96, 64, 3), 255, np.uint8)
    worn_photo[4:20, 22:42] = (220, 180, 150)
    worn_photo[20:60, 16:48] = (200, 30, 40)
    worn_photo[60:92, 18:46] = (30, 30, 160)
    lines = ["id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage"]
    kinds = {"1": "Topwear", "2": "Topwear", "3": "Watches", "4": "Topwear"}
    for product, kind in kinds.items():
        lines.append(f"{product},Women,Apparel,{kind},,Red,Summer,2011,Casual")
        worn_photo[-3:] = 250 - 10 * int(product)  # no two photos are the same
        cv2.imwrite(str(folder / "images" / f"{product}.jpg"), worn_photo[..., ::-1])
    (folder / "images" / "4.jpg").write_bytes(b"no photo")
    (folder / "styles.csv").write_text("\n".join(lines) + "\n")
    return folder


def products_of(shop: Path) -> pd.DataFrame:
    rows = pd.read_csv(shop / "styles.csv", dtype=str).rename(columns={"id": "product_id"})
    paths = [str(shop / "images" / f"{name}.jpg") for name in rows["product_id"]]
    return rows.assign(path=paths, role="product", split="train")


def see(monkeypatch: pytest.MonkeyPatch, groups: np.ndarray) -> None:
    monkeypatch.setattr(worn, "_isolation", lambda _: KnownIsolation(groups))


def test_a_worn_garment_becomes_a_product_photo_and_its_photo_that_of_a_person(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, DRESSED)
    products = products_of(shop)
    frame = read_worn(products, tmp_path / "worn", "known", workers=1)
    assert find_faults(frame, compare_contents=False).empty
    assert sorted(frame["product_id"]) == ["1", "1", "2", "2"]
    person = frame[(frame["product_id"] == "1") & (frame["role"] == "person")].iloc[0]
    assert person["path"] == products["path"][0]
    x1, y1, x2, y2 = person[["x1", "y1", "x2", "y2"]]
    assert (x1, y1, x2, y2) == (16, 20, 48, 60)
    assert set(frame["baseColour"]) == {"Red"}
    alone = frame[(frame["product_id"] == "1") & (frame["role"] == "product")].iloc[0]
    photo = np.asarray(open_photo(alone["path"])).astype(int)
    assert photo[:6].mean() > 235
    middle = photo[118:138, 86:106].reshape(-1, 3).mean(axis=0)
    assert np.abs(middle - (200, 30, 40)).max() < 30
    assert (photo[..., 2] > photo[..., 0] + 60).mean() < 0.01  # no trousers


@pytest.mark.parametrize(
    "groups",
    [
        groups_with((96, 64), upper=(16, 4, 48, 92)),  # nobody wears it
        groups_with((96, 64), skin=(22, 4, 42, 20), upper=(16, 20, 48, 24)),  # hardly seen
        groups_with((96, 64), skin=(22, 4, 42, 20), lower=(16, 20, 48, 92)),  # something else
    ],
)
def test_what_nobody_visibly_wears_is_left_out(
    groups: np.ndarray, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, groups)
    assert read_worn(products_of(shop), tmp_path / "worn", "known", workers=1).empty


def test_the_command_writes_a_manifest_or_says_what_is_wrong(
    shop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_isolation(isolation_of("upper"), tmp_path / "upper.safetensors")
    (shop / "images" / "4.jpg").unlink()
    words = ["--path", str(shop), "--folder", str(tmp_path / "out"), "--workers", "1"]
    words += ["--options", '{"validation": 1, "test": 1}', "--isolation"]
    assert worn.main([*words, str(tmp_path / "none")]) == 1
    assert "no such isolation" in capsys.readouterr().err
    assert worn.main([*words, str(tmp_path / "upper.safetensors")]) == 1
    assert "no photo shows a person" in capsys.readouterr().err
    see(monkeypatch, DRESSED)
    assert worn.main([*words, str(tmp_path / "upper.safetensors")]) == 0
    assert "2 products that a person wears" in capsys.readouterr().out
    assert len(read_manifest(tmp_path / "out" / "manifest.csv")) == 4


def test_of_a_photo_with_a_box_what_the_box_shows_is_looked_at(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, DRESSED)
    product = products_of(shop).iloc[:1]
    photo = cv2.imread(product["path"].iloc[0])
    assert photo is not None
    wide = np.full((96, 164, 3), 255, np.uint8)
    wide[:, 100:] = photo
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    boxed = product.assign(path=str(tmp_path / "wide.png"), x1=100, y1=0, x2=164, y2=96)
    frame = read_worn(boxed, tmp_path / "worn", "known", workers=1)
    person = frame[frame["role"] == "person"].iloc[0]
    assert person[["x1", "y1", "x2", "y2"]].tolist() == [116, 20, 148, 60]
    gone = product.assign(path=None)
    with pytest.raises(ManifestError, match="path is missing"):
        read_worn(gone, tmp_path / "worn", "known", workers=1)
