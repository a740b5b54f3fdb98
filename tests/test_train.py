"""train.py as people use it: artefacts, resume after a kill, rivals, and wrong input."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import timm
import torch
import wandb
import yaml
from helpers_data import write_config
from jsonargparse import Namespace
from PIL import Image
from safetensors.torch import save_file

import train
from datasets.manifest import read_manifest
from siamese.checkpoint_file import load_checkpoint
from siamese.runs import read_run
from siamese.runtime import training_precision

ROOT = Path(__file__).parent.parent


def test_a_run_leaves_a_checkpoint_reports_curves_and_its_config(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 0
    run = tmp_path / "run"
    printed = capsys.readouterr().out
    assert "Retrieval: is the right product among the first k?" in printed
    assert "images/s" in printed
    checkpoint = load_checkpoint(run / "model.safetensors")
    assert checkpoint.preprocessing.height == 48
    assert set(read_manifest(run / "manifest.csv")["split"]) == {"train", "validation", "test"}
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["model"]["learning_rate"] == 2e-3  # the resolved config holds defaults as well
    assert saved["trainer"]["precision"] == training_precision("cpu")
    (metrics,) = run.glob("log/*/metrics.csv")
    assert {"loss_epoch", "validation/top_1"} <= set(pd.read_csv(metrics).columns)
    for picture in ("learning_curves.png", "hits_and_misses.png"):
        Image.open(run / picture).verify()
    report = read_run(run / "report.json")
    assert [row["epoch"] for row in report.history] == [1, 2]
    assert report.evaluation.retrieval["all"].catalog_size == 4
    assert report.cost.images_per_second > 0


def test_the_trainings_products_are_the_cohort_of_its_checkpoint(
    settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamese.cohort.FEWEST", 2)
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 0
    checkpoint = load_checkpoint(tmp_path / "run" / "model.safetensors")
    rows = read_manifest(tmp_path / "run" / "manifest.csv").query("split == 'train'")
    photos = rows.loc[rows["role"] == "product", "path"].tolist()
    assert checkpoint.own_cohort is not None
    embeddings = checkpoint.embed(photos)
    assert torch.allclose(checkpoint.own_cohort.embeddings, embeddings, atol=2e-3)
    ids = rows.loc[rows["role"] == "product", "product_id"]
    assert checkpoint.own_cohort.product_ids.tolist() == ids.tolist()


@pytest.mark.parametrize("named", ["32-true", "bf16-mixed"])
def test_a_precision_that_is_named_is_taken_whatever_the_processor_has(
    settings: dict[str, Any], tmp_path: Path, named: str
) -> None:
    settings["trainer"] |= {"precision": named, "max_epochs": 1}
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 0
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["trainer"]["precision"] == named


def test_the_users_own_table_in_the_runs_folder_stays_as_it_is(
    settings: dict[str, object], tmp_path: Path
) -> None:
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 0
    table = tmp_path / "run" / "manifest.csv"
    rows = table.read_text().splitlines()
    own = "\n".join([*rows, rows[-1].replace(".jpg", "_lost.jpg")]) + "\n"
    table.write_text(own)
    settings["data"] = {
        "reader": "manifest",
        "path": str(table),
        "broken_limit": 0.5,
        "cache": str(tmp_path / "cache"),
        "products_per_batch": 4,
        "workers": 0,
    }
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 0
    assert table.read_text() == own


def test_gradients_are_clipped_if_that_is_asked_for(
    settings: dict[str, object], tmp_path: Path
) -> None:
    """Lightning refuses to, with an optimiser that is fused."""
    words = ["--trainer.fast_dev_run", "true", "--trainer.gradient_clip_val", "1"]
    assert train.main([*write_config(settings, tmp_path / "c.yaml"), *words]) == 0


def test_rivals_run_on_the_same_data_and_stand_in_the_same_tables(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings["rivals"] = [str(ROOT / "configs" / "histogram.yaml")]
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 0
    table = capsys.readouterr().out.split("Retrieval")[1].split("Open set")[0]
    lines = [line.split() for line in table.splitlines() if "histogram" in line or "run" in line]
    assert [line[-len(lines[1]) :][0] for line in lines] == ["run", "histogram"], table
    assert read_run(tmp_path / "run/report.json").evaluation.retrieval["all"].catalog_size == 4
    rival = read_run(tmp_path / "run/histogram/report.json")
    assert rival.evaluation.retrieval["all"].catalog_size == 4


def test_a_rival_that_fails_takes_no_table_with_it_and_is_no_part_of_a_group(
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first process of several has its place among them in its environment."""
    (tmp_path / "bad.yaml").write_text("data: {erase: 7}\n")
    settings["rivals"] = [str(tmp_path / "bad.yaml"), str(ROOT / "configs" / "histogram.yaml")]
    environments: list[dict[str, str]] = []
    run = subprocess.run

    def watched(command: list[str], **options: Any) -> Any:
        environments.append(options["env"])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == f"train.py: {tmp_path}/bad.yaml: failed, see above; " + (
        "mend it or leave it out"
    )
    table = said.out.split("Retrieval")[1]
    assert all(name in table for name in ("run", "histogram"))
    assert [("PATH" in each, "MASTER_PORT" in each) for each in environments] == [(True, False)] * 2


def test_a_fast_dev_run_goes_through_and_leaves_no_checkpoint(
    settings: dict[str, object], tmp_path: Path
) -> None:
    arguments = write_config(settings, tmp_path / "c.yaml")
    assert train.main([*arguments, "--trainer.fast_dev_run", "true"]) == 0
    assert not list(tmp_path.glob("run/*.ckpt"))


def test_a_training_with_labels_saves_the_encoder_alone(
    settings: dict[str, object], tmp_path: Path
) -> None:
    arguments = write_config(settings, tmp_path / "c.yaml")
    assert train.main([*arguments, "--data.labels=[role]"]) == 0
    kept = torch.load(tmp_path / "run/best.ckpt", weights_only=True)["state_dict"]
    assert "heads.heads.0.weight" in kept
    saved = load_checkpoint(tmp_path / "run/model.safetensors").encoder.state_dict()
    assert {f"encoder.{name}" for name in saved} == {n for n in kept if n.startswith("encoder.")}


def test_two_lines_of_a_report_never_share_a_name(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_config(settings, tmp_path / "run.yaml")
    assert train.main([*arguments, "--rivals", f"[{tmp_path}/run.yaml]"]) == 1
    assert "another line of the report has its name" in capsys.readouterr().err


def test_a_config_without_a_folder_has_one_for_all_files(
    settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del settings["trainer"]["default_root_dir"]  # type: ignore[attr-defined]
    arguments = write_config(settings, tmp_path / "c.yaml")
    monkeypatch.chdir(tmp_path)
    assert train.main(arguments) == 0
    assert not (tmp_path / "config.yaml").exists()
    assert (tmp_path / "checkpoints/run/config.yaml").is_file()
    assert (tmp_path / "checkpoints/run/model.safetensors").is_file()


def test_early_stopping_is_one_option_away(settings: dict[str, object], tmp_path: Path) -> None:
    arguments = write_config(settings, tmp_path / "c.yaml")
    arguments += ["--trainer.max_epochs", "50", "--trainer.callbacks+=EarlyStopping"]
    arguments += ["--trainer.callbacks.monitor=validation/mean_reciprocal_rank"]
    arguments += ["--trainer.callbacks.mode=max", "--trainer.callbacks.min_delta=2"]
    assert train.main(arguments) == 0
    assert len(json.loads((tmp_path / "run" / "report.json").read_text())["history"]) < 50


def test_weights_and_biases_logs_offline_without_an_account(
    settings: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no stored login either
    settings["wandb"] = True
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 0
    assert "wandb" not in capfd.readouterr().err
    assert list(tmp_path.glob("run/wandb/offline-run-*/*.wandb"))
    assert list(tmp_path.glob("run/wandb/offline-run-*/files/media/images/**/*.png"))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_published_backbone_is_trained_whole_or_with_its_weights_frozen(
    frozen: bool, settings: dict[str, object], tmp_path: Path
) -> None:
    """From a local file as the hub has it; mean and std come with it, into the checkpoint."""
    name = "mobilenetv4_conv_small"
    published = timm.create_model(name)
    save_file(published.state_dict(), tmp_path / "published.safetensors")
    model = settings["model"]
    assert isinstance(model, dict)
    model["encoder"] = {"backbone": f"timm/{name}", "embedding_size": 16}
    model |= {"pretrained": str(tmp_path / "published.safetensors"), "backbone_rate": 0.1}
    model["freeze_backbone"] = frozen
    assert train.main(write_config(settings, tmp_path / "c.yaml")) == 0
    checkpoint = load_checkpoint(tmp_path / "run/model.safetensors")
    assert checkpoint.preprocessing.mean == (0.485, 0.456, 0.406)
    assert checkpoint.preprocessing.std == (0.229, 0.224, 0.225)
    trained, given = checkpoint.encoder.backbone.state_dict(), published.state_dict()
    same = {key: torch.equal(trained[key], given[key]) for key in trained}
    moved = [same[key] for key in same if key.endswith((".weight", "running_mean"))]
    assert all(same.values()) if frozen else not any(moved)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--model.lerning_rate", "1"], "lerning_rate"),
        (["--model.encoder.backbone", "resnet9000"], "unknown backbone 'resnet9000'"),
        (["--model.preprocessing.height", "2"], "under 8"),
        (["--data.reader", "lookbok"], "unknown reader 'lookbok'"),
        (["--data.options", '{"folds": 3}'], "has no option folds"),
        (["--data.path", "/nowhere"], "/nowhere"),
        (["--ckpt_path", "last"], "no training checkpoint"),
        (["--data.options", '{"minimum_person_photos": 99}'], "99"),
        (["--data.options", '{"validation": "many"}'], "reader lookbook cannot use"),
        (
            ["--data.options", '{"minimum_person_photos": 2, "validation": 4, "test": 1}'],
            "1 products of the test split",
        ),
        (["--data.persons_per_product", "0"], "at least 1"),
        (["--data.erase", "2"], "from 0 to 1"),
        (["--data.view_light", "-1"], "from 0 to 1"),
        (["--data.view_hue", "2"], "from 0 to 1"),
        (["--data.view_camera", "2"], "from 0 to 1"),
        (["--model.mix_styles", "2"], "mix_styles is from 0 to 1"),
        (["--model.warmup", "3"], "warmup must be a share"),
        (["--model.label_weight", "-1"], "label_weight must be at least 0"),
        (["--data.labels", "[colour]"], "no column colour for data.labels; the manifest has path"),
        (["--trainer.max_epochs", "-3"], "max_epochs"),
        (["--ckpt_path", __file__], "no training checkpoint, or damaged"),
        (
            ["--model.start_from", "/nowhere"],
            "/nowhere: no such checkpoint; check model.start_from",
        ),
        (["--model.start_from", __file__], "not a checkpoint or damaged"),
        (["--trainer.strategy", "foo"], "invalid strategy name: `strategy='foo'`"),
        (["--trainer.accelerator", "foo"], "invalid accelerator name: `accelerator='foo'`"),
        (["--trainer.accelerator", "tpu"], "torch_xla"),
        (["--trainer.devices", "foo"], "`devices` selected"),
        (["--trainer.num_nodes", "0"], "`num_nodes` must be a positive integer"),
        (["--trainer.strategy", "ddp_spawn"], "use ddp"),
        (["--model.backbone_rate", "-1"], "backbone_rate"),
        (["--model.encoder.backbone", "timm/resnet_50"], "no such model; near it: "),
        (
            ["--model.encoder={backbone: colour_histogram, embedding_size: 512}"]
            + ["--model.preprocessing.mean=[0.4,0.4,0.4]"],
            "was made for mean [0.0, 0.0, 0.0]",
        ),
        (["--model.pretrained", "/nowhere"], "no model.pretrained"),
        (["--model.encoder.backbone=report_cnn", "--model.pretrained=true"], "no model.pretrained"),
        (["--trainer.precision", "bf16-true"], "use bf16-mixed, 16-mixed or 32-true"),
        (
            ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss"],
            "EarlyStopping monitors val_loss; there are validation/mean_reciprocal_rank",
        ),
        (["--trainer.val_check_interval", "50"], "val_check_interval"),
        (["--seed_everything", "true"], "name a number"),
        (
            ["--data.options", '{"validation": .nan, "test": 4, "minimum_person_photos": 2}'],
            "validation=nan",
        ),
        (["--model.encoder.neck", "none"], "small_resnet takes no encoder.neck"),
        (["--model.mix_styles=0.5", "--model.freeze_backbone=true"], "no effect with freeze"),
        (["--seed_everything", "-1"], "must be from 0 to 4294967295"),
        (["--trainer.overfit_batches", "1"], "use trainer.limit_train_batches"),
        (["--data.look_alikes", "5"], "look_alikes must be at most"),
        (["--rivals", "[nowhere.yaml]"], "nowhere.yaml: no such config"),
        (["--rivals", "[configs/run.yaml]"], "configs/run.yaml: no such config"),
    ],
)
def test_wrong_input_is_one_line_without_a_traceback(
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    complaint: str,
) -> None:
    arguments = write_config(settings, tmp_path / "c.yaml")
    try:
        status = train.main([*arguments, *change])
    except SystemExit as end:
        status = int(str(end.code))
    assert status in (1, 2)
    said = capsys.readouterr().err.strip().splitlines()
    assert complaint in said[-1]
    assert said[-1].startswith("train.py: ")
    assert not any("Traceback" in line for line in said)


def test_a_group_without_settings_is_one_line(
    settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings["trainer"] = None
    try:
        status = train.main(write_config(settings, tmp_path / "c.yaml"))
    except SystemExit as end:
        status = int(str(end.code))
    assert status in (1, 2)
    said = capsys.readouterr().err
    assert "trainer" in said
    assert said.count("\n") == 1


def test_what_weights_and_biases_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: list[str]) -> None:
        raise wandb.errors.AuthenticationError("API key must be\n40 characters long")

    monkeypatch.setattr(train, "train", refuse)
    assert train.main([]) == 1
    assert capsys.readouterr().err == (
        "train.py: Weights & Biases: API key must be 40 characters long; WANDB_MODE=offline keeps "
        "the log here, --wandb false leaves it out\n"
    )


@pytest.mark.parametrize(
    "end",
    [["--trainer.max_steps=3"], ["--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2"]],
)
def test_the_last_validation_has_a_picture_however_the_training_ends(
    settings: dict[str, object], tmp_path: Path, end: list[str]
) -> None:
    assert train.main([*write_config(settings, tmp_path / "c.yaml"), *end]) == 0
    Image.open(tmp_path / "run" / "hits_and_misses.png").verify()


def test_rivals_have_the_runs_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    data = dict.fromkeys(("reader", "path", "options", "cache", "broken_limit"))
    own = Namespace(data=data, wandb=False, seed_everything=5)
    assert train.run_rival(tmp_path / "rival.yaml", own, tmp_path) is None
    assert commands[0][commands[0].index("--seed_everything") + 1] == "5"
