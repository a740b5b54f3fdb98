"""Trainings that go on: killed, moved, in another's folder, or from another's weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
import torch
from helpers_catalog import ROOT
from helpers_data import write_config
from safetensors.numpy import load_file

import train
from siamese.runs import read_run


def test_a_killed_run_resumes_to_the_very_end_of_an_uninterrupted_one(
    settings: dict[str, object], tmp_path: Path
) -> None:
    trainer = settings["trainer"]
    assert isinstance(trainer, dict)
    trainer |= {"max_epochs": 30, "enable_progress_bar": False}
    whole = write_config(settings, tmp_path / "whole.yaml")
    assert train.main(whole) == 0
    trainer["default_root_dir"] = str(tmp_path / "killed")
    killed = write_config(settings, tmp_path / "killed.yaml")
    command = [sys.executable, str(ROOT / "train.py"), *killed]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    last = tmp_path / "killed" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert train.main([*killed, "--ckpt_path", "last"]) == 0
    expected = load_file(tmp_path / "run" / "model.safetensors")
    resumed = load_file(tmp_path / "killed" / "model.safetensors")
    assert all((expected[name] == resumed[name]).all() for name in expected)
    histories = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_run(path).history]
        for path in (tmp_path / "run" / "report.json", tmp_path / "killed" / "report.json")
    ]
    assert histories[0] == histories[1]


def test_a_run_that_was_moved_goes_on_after_its_last_epoch_with_all_it_knew(
    settings: dict[str, object], tmp_path: Path
) -> None:
    """Validated every second epoch, stopped after one that was not, which is no better either."""
    settings["model"] = {**settings["model"], "warmup": None}  # type: ignore[dict-item]
    trainer = settings["trainer"]
    assert isinstance(trainer, dict)
    trainer |= {"check_val_every_n_epoch": 2, "enable_progress_bar": False, "max_epochs": 7}
    whole = write_config(settings, tmp_path / "whole.yaml")
    assert train.main(whole) == 0
    trainer |= {"default_root_dir": str(tmp_path / "first"), "max_epochs": 5}
    assert train.main(write_config(settings, tmp_path / "first.yaml")) == 0
    last = torch.load(tmp_path / "first" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 4, "counted from 0"
    (tmp_path / "first").rename(tmp_path / "moved")
    trainer |= {"default_root_dir": str(tmp_path / "moved"), "max_epochs": 7}
    moved = write_config(settings, tmp_path / "moved.yaml")
    assert train.main([*moved, "--ckpt_path", "last"]) == 0
    expected = load_file(tmp_path / "run" / "model.safetensors")
    found = load_file(tmp_path / "moved" / "model.safetensors")
    assert all((found[name] == expected[name]).all() for name in expected)
    histories = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_run(report).history]
        for report in (tmp_path / "run" / "report.json", tmp_path / "moved" / "report.json")
    ]
    assert histories[0] == histories[1]
    assert ["validation/top_1" in row for row in histories[0]] == [False, True] * 3 + [False]


def test_a_run_that_goes_on_in_a_folder_of_another_keeps_its_own_best(
    settings: dict[str, object], tmp_path: Path
) -> None:
    """No later epoch is better, for the learning rate is 0."""
    trainer = settings["trainer"]
    assert isinstance(trainer, dict)
    trainer |= {"enable_progress_bar": False, "default_root_dir": str(tmp_path / "other")}
    assert (
        train.main([*write_config(settings, tmp_path / "other.yaml"), "--seed_everything", "5"])
        == 0
    )
    settings["model"] = {**settings["model"], "warmup": None, "learning_rate": 0.0}  # type: ignore[dict-item]
    trainer["default_root_dir"] = str(tmp_path / "own")
    assert train.main(write_config(settings, tmp_path / "own.yaml")) == 0
    trainer |= {"default_root_dir": str(tmp_path / "other"), "max_epochs": 3}
    words = ["--ckpt_path", str(tmp_path / "own" / "last.ckpt")]
    assert train.main([*write_config(settings, tmp_path / "c.yaml"), *words]) == 0
    own, found = (
        torch.load(tmp_path / name / "best.ckpt", weights_only=True)["state_dict"]
        for name in ("own", "other")
    )
    assert all(torch.equal(own[name], found[name]) for name in own)


def test_a_user_may_keep_every_epoch_besides(settings: dict[str, object], tmp_path: Path) -> None:
    words = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-1"]
    words += [f"--trainer.callbacks.dirpath={tmp_path}/all"]
    assert train.main([*write_config(settings, tmp_path / "c.yaml"), *words]) == 0
    assert len(list((tmp_path / "all").iterdir())) == 2


def test_a_training_starts_from_another_runs_weights_and_resumes_from_its_own(
    settings: dict[str, object], tmp_path: Path
) -> None:
    """Without a step the weights are the start's; a resumed run does not go back to them."""
    arguments = write_config(settings, tmp_path / "c.yaml")
    assert train.main(arguments) == 0
    start = tmp_path / "start.safetensors"
    (tmp_path / "run/model.safetensors").rename(start)

    def weights_of(folder: str, *changes: str) -> dict[str, Any]:
        place = ["--trainer.default_root_dir", str(tmp_path / folder)]
        other = ["--model.start_from", str(start), "--seed_everything", "9"]
        assert train.main([*arguments, *place, *other, *changes]) == 0
        return load_file(tmp_path / folder / "model.safetensors")

    def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return all((one[name] == other[name]).all() for name in one)

    given = load_file(start)
    assert same(weights_of("untrained", "--trainer.max_epochs", "0"), given)
    # Without validation the last epoch's weights are kept, whichever was best.
    unjudged = ("--trainer.limit_val_batches", "0", "--model.warmup", "null")
    straight = weights_of("straight", *unjudged)
    assert not same(straight, given)
    weights_of("parts", *unjudged, "--trainer.max_epochs", "1")
    assert same(weights_of("parts", *unjudged, "--ckpt_path", "last"), straight)


def test_the_weights_are_never_those_of_an_earlier_run_in_the_folder(
    settings: dict[str, object], tmp_path: Path
) -> None:
    arguments = write_config(settings, tmp_path / "c.yaml")
    assert train.main(arguments) == 0
    first = load_file(tmp_path / "run/model.safetensors")
    other = ["--trainer.limit_val_batches", "0", "--seed_everything", "4"]
    assert train.main([*arguments, *other]) == 0
    second = load_file(tmp_path / "run/model.safetensors")
    name = "neck.0.weight"
    assert not (first[name] == second[name]).all()


def test_another_encoders_checkpoint_is_refused(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_config(settings, tmp_path / "c.yaml")
    assert train.main(arguments) == 0
    for other in ("--model.encoder.embedding_size=8", "--data.labels=[role]"):
        assert train.main([*arguments, "--ckpt_path=last", other]) == 1
        said = capsys.readouterr().err
        assert "last.ckpt: is of another encoder or of other data.labels" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_fails_and_says_how_to_go_on(
    settings: dict[str, object], tmp_path: Path, how: signal.Signals
) -> None:
    settings["trainer"]["max_epochs"] = 10_000  # type: ignore[index]
    command = [sys.executable, str(ROOT / "train.py"), *write_config(settings, tmp_path / "c.yaml")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # Started in the background, as by a service, this process may ignore it, and so its child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "run/last.ckpt").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"--ckpt_path last goes on" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--model.learning_rate=1e-7"], "model.learning_rate 0.002, not 1e-07"),
        (["--model.freeze_backbone=true"], "freeze_backbone False, not True"),
        (["--model.optimiser=sgd", "--model.loss=infonce"], "loss sigmoid, not infonce, optimiser"),
        (["--model.encoder.widths=[8,24]"], "is of another encoder"),
    ],
)
def test_a_run_does_not_go_on_by_another_recipe(
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    told: str,
) -> None:
    """And what it went by is still in its folder."""
    arguments = [*write_config(settings, tmp_path / "c.yaml"), "--trainer.max_epochs=1"]
    assert train.main(arguments) == 0
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    capsys.readouterr()
    assert train.main([*arguments, "--ckpt_path=last", *change]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert told in said
    assert "go on with the config.yaml beside it" in said
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_a_run_does_not_go_on_where_products_changed_sides(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*write_config(settings, tmp_path / "c.yaml"), "--trainer.max_epochs=1"]
    assert train.main(arguments) == 0
    manifest = tmp_path / "run" / "manifest.csv"
    frame = pd.read_csv(manifest, dtype=str)
    swapped = frame["product_id"][frame["split"] == "train"].iloc[0]
    frame.loc[frame["product_id"] == swapped, "split"] = "test"
    frame.to_csv(tmp_path / "other.csv", index=False)
    table = ["--data.reader=manifest", f"--data.path={tmp_path}/other.csv", "--data.options={}"]
    assert train.main([*arguments, *table, "--ckpt_path=last"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"1 products that were trained on are held out now ({swapped})" in said


def test_a_finished_run_that_goes_on_keeps_what_its_training_cost(
    settings: dict[str, object], tmp_path: Path
) -> None:
    arguments = [*write_config(settings, tmp_path / "c.yaml"), "--trainer.max_epochs=1"]
    assert train.main(arguments) == 0
    first = read_run(tmp_path / "run" / "report.json").cost
    assert train.main([*arguments, "--ckpt_path=last"]) == 0
    again = read_run(tmp_path / "run" / "report.json").cost
    assert again.images_per_second == pytest.approx(first.images_per_second)


@pytest.mark.parametrize("content", ["half", "nothing", "weights alone", "a tensor"])
def test_what_is_no_training_checkpoint_is_told(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    place = tmp_path / "given.ckpt"
    torch.save(torch.zeros(3) if content == "a tensor" else {"state_dict": {}}, place)
    if content == "nothing":
        place.write_bytes(b"")
    if content == "half":
        place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])
    arguments = write_config(settings, tmp_path / "c.yaml")
    assert train.main([*arguments, "--ckpt_path", str(place)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"train.py: {place}: no training checkpoint, or damaged")


def test_what_another_run_left_is_not_recommended() -> None:
    def remedy(last: str, given: str | None) -> str:
        watchers = SimpleNamespace(last=SimpleNamespace(best_model_path=last))
        return train.remedy_of(
            cast(Any, SimpleNamespace(watchers=watchers, config={"ckpt_path": given}))
        )

    assert remedy("run/last.ckpt", None) == "--ckpt_path last goes on after the last epoch"
    assert remedy("", "last") == "--ckpt_path last goes on where it began"
    assert remedy("", None) == "its first epoch did not end, so there is nothing to go on from"
