"""A data set of composed photos: its folder, its sources, and what goes wrong with them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from helpers_garments import flat_shirt

from datasets import composed, composed_sources
from datasets.clothing import read_clothing
from datasets.composed import Recipe, compose
from datasets.composed_sources import Source, read_composed
from datasets.manifest import ManifestError, find_faults
from datasets.readers import reader_of


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
    noted = made / "clothing" / "notes"
    for path in noted.iterdir():
        path.unlink()
    assert read_composed(made, sources=sources, views=2, workers=1, boxes=True).equals(boxes)
    assert {path: path.read_bytes() for path in before} == before
    next(noted.iterdir()).write_text("[[[1, 2")
    with pytest.raises(ManifestError, match="damaged; delete it"):
        read_composed(made, sources=sources, views=2, workers=1, boxes=True)


def test_what_people_wear_besides_is_told(shop: Path, tmp_path: Path) -> None:
    """Every second product is a pair of trousers, so that people in shirts may wear one."""
    table = pd.read_csv(shop / "images.csv")
    table["label"] = ["Pants" if number % 2 else "T-Shirt" for number in range(len(table))]
    table.to_csv(shop / "images.csv", index=False)
    sources = sources_of(shop)
    frame = read_composed(tmp_path / "made", sources=sources, views=6, workers=1)
    kinds = frame.drop_duplicates("product_id").set_index("product_id")
    people = frame[frame["role"] == "person"]
    assert frame.loc[frame["role"] == "product", "also_worn"].isna().all()
    told = people[people["also_worn"].notna()]
    assert 0.15 < len(told) / len(people) < 0.85
    beside = kinds.loc[told["also_worn"]]
    assert (beside["split"].to_numpy() == told["split"].to_numpy()).all()
    assert (beside["label"].to_numpy() != told["label"].to_numpy()).all()
    twice = [*sources, *sources_of(shop, compose=())]
    both = read_composed(tmp_path / "made2", sources=twice, views=6, workers=1)
    named = both["also_worn"].dropna()
    assert len(named) == len(told)
    assert named.str.startswith("clothing1:").all()
    assert set(named) <= set(both["product_id"])


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
        (["--path", "{shop}", "--options", "5"], "the options of a reader are an object, not 5"),
        (["--path", "{shop}", "--views", "0"], "views must be at least 1"),
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


def test_a_table_of_ones_own_may_have_any_column_and_its_faults_are_told(
    shop: Path, tmp_path: Path
) -> None:
    rows = ["path,product_id,role,split,number"]
    rows += [f"images/shirt{n}.jpg,p{n},product,train,{n}" for n in range(3)]
    table = shop / "own.csv"
    table.write_text("\n".join(rows))
    source = Source("manifest", str(table), {}, "short-sleeved")
    frame = read_composed(tmp_path / "made", sources=[source], views=1, workers=0)
    worn = frame[frame["role"] == "person"]
    assert dict(zip(worn["product_id"], worn["number"], strict=True)) == {"p0": 0, "p1": 1, "p2": 2}
    held = "images/shirt3.jpg,p3,product,test,3"
    table.write_text("\n".join([*rows, held, "images/shirt4.jpg,,product,train,4"]))
    trained = Source("manifest", str(table), {}, "short-sleeved", splits=("train",))
    with pytest.raises(ManifestError, match="row 4"):
        read_composed(tmp_path / "made", sources=[trained], views=1, workers=1)
    with pytest.raises(ManifestError, match="has no sources"):
        read_composed(tmp_path / "made", sources=[])


def test_the_config_may_name_sources_as_plain_values(shop: Path, tmp_path: Path) -> None:
    source = {"reader": "clothing", "path": str(shop), "options": {"validation": 2, "test": 2}}
    read = reader_of("composed", {"sources": [source], "views": 1, "workers": 1})
    assert (read(tmp_path / "made")["role"] == "person").any()
    with pytest.raises(ManifestError, match="sources"):
        reader_of("composed", {"sources": [source | {"place": "x"}]})
    with pytest.raises(ManifestError, match="unknown reader 'shelf'"):
        reader_of("composed", {"sources": [source | {"reader": "shelf"}]})(tmp_path / "other")


def test_of_a_photo_with_boxes_each_product_has_what_its_box_shows(tmp_path: Path) -> None:
    """A red shirt and a blue one beside it, in one photo."""
    pair = np.hstack([flat_shirt(), flat_shirt()[..., ::-1]])
    cv2.imwrite(str(tmp_path / "both.jpg"), pair[..., ::-1])
    lines = ["path,product_id,role,split,x1,y1,x2,y2"]
    lines += ["both.jpg,red,product,train,0,0,200,240", "both.jpg,blue,product,train,200,0,400,240"]
    lines += ["both.jpg,none,product,train,500,0,600,240"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    source = Source("manifest", str(tmp_path / "table.csv"), kind="top")
    frame = read_composed(tmp_path / "made", sources=[source], views=1, workers=1)
    people = frame[frame["role"] == "person"].set_index("product_id")["path"]
    assert set(people.index) == {"red", "blue"}
    for name, channel in (("red", 2), ("blue", 0)):
        on_white = cv2.imread(people[name].replace("-1.jpg", "-0.jpg"))
        assert on_white is not None
        garment = on_white[(on_white.min(axis=2) < 120)]
        assert (garment.argmax(axis=1) == channel).mean() > 0.9


def test_splits_that_are_none_and_empty_sources_are_told(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"trian"):
        reader_of(
            "composed",
            {"sources": [{"reader": "clothing", "path": str(shop), "splits": ["trian"]}]},
        )
    alone = sources_of(shop, splits=("test",))
    alone[0].options["test"] = 0
    with pytest.raises(ManifestError, match="no photo in the splits test"):
        read_composed(tmp_path / "made", sources=alone, views=1, workers=1)
