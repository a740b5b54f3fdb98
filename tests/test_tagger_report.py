"""Figures and pictures of how often a tagger is right, counted by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siamese.attributes.confusion import confusion_counts, draw_confusion
from siamese.attributes.figures import LONGEST, file_names
from siamese.attributes.tagger_report import tagger_report
from siamese.labels import UNKNOWN


def test_a_report_counts_by_hand() -> None:
    """Two columns, four products; the last label of the second is unknown to the catalog."""
    first = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    second = np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5]])
    labels = np.array([[0, 1], [1, 1], [1, 5], [0, UNKNOWN]])  # 5: a value it never saw
    report = tagger_report(["a", "b"], [first, second], labels)
    assert [c.products for c in report.columns] == [4, 3]
    assert [c.accuracy for c in report.columns] == [3 / 4, 2 / 3]
    assert report.columns[0].macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert report.columns[1].macro_f1 == pytest.approx((4 / 5 + 0) / 2)
    assert report.columns[0].most_frequent == 1 / 2
    assert report.columns[0].stated == pytest.approx((0.9 + 0.6 + 0.8 + 0.7) / 4)
    assert (report.products, report.all_right) == (3, 1 / 3)
    assert "all 2 labels right at once: 0.333" in str(report)


def test_of_a_column_without_a_known_label_nothing_is_said() -> None:
    """An accuracy of 0 would say that every answer was wrong."""
    shares = np.array([[0.9, 0.1], [0.6, 0.4]])
    labels = np.array([[0, UNKNOWN], [0, UNKNOWN]])
    report = tagger_report(["a", "b"], [shares, shares], labels)
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert plain["columns"][1] == {"name": "b", "products": 0, "values": 2} | dict.fromkeys(
        ("accuracy", "macro_f1", "most_frequent", "stated")
    )
    assert [plain[key] for key in ("all_right", "all_right_low", "all_right_high")] == [None] * 3
    *_, first, second, last = str(report).splitlines()
    assert first.split() == ["a", "2", "2", "1.000", "[0.34,", "1.00]", "1.000", "1.000", "0.750"]
    assert second.split() == ["b", "0", "2", "–", "–", "–", "–"]
    assert last == "all 2 labels right at once: – of 0 products"


def test_confusions_keep_the_most_frequent_values_and_sum_the_others_up() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2, 9, UNKNOWN])
    predicted = np.array([0, 1, 0, 1, 1, 0, 0, 2])
    names, counts = confusion_counts(truth, predicted, ["a", "b", "c"], most=2)
    assert names == ["a", "b", "others"]
    assert counts.tolist() == [[2, 1, 0], [0, 2, 0], [2, 0, 0]]
    names, counts = confusion_counts(truth[:5], predicted[:5], ["a", "b"])
    assert (names, counts.tolist()) == (["a", "b"], [[2, 1], [0, 2]])


def test_a_confusion_is_drawn(tmp_path: Path) -> None:
    draw_confusion(tmp_path / "new" / "a.png", "title", ["x", "y"], np.array([[3, 0], [0, 0]]))
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert min(picture.size) > 200


def test_files_of_columns_lie_in_the_folder_and_never_overwrite_each_other() -> None:
    columns = ["c/d", "c d", "c_d", "C-D", "gender", "städte", "c_d_2", "..", "x" * 300]
    names = file_names(columns)
    assert list(map(names.get, ["c_d", "c_d_2", "gender", "städte"])) == [
        *("c_d", "c_d_2", "gender", "städte"),
    ]
    assert [names[column] for column in ("c/d", "c d", "C-D", "..")] == [
        *("c_d_3", "c_d_4", "C_D_5", "__"),
    ]
    assert len({name.lower() for name in names.values()}) == len(columns)
    assert max(map(len, names.values())) == LONGEST
