"""The README's commands, verbatim and in order, in a copy of the repository.

Only the training is made short, by options after the command that the README gives.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for line in block.strip().splitlines()
]
SHORT = shlex.split(
    "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --wandb false --data.options "
    "'{products: 40, person_photos: 3, validation: 10, test: 20}'"
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository, as a fresh clone would have them."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("siamese", "datasets", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "checkpoints" / "shipped", folder / "checkpoints" / "shipped")
    for name in ("train.py", "infer.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_the_readme_names_only_files_that_exist() -> None:
    named = set(re.findall(r"(?:configs|benchmarks|datasets|siamese|tests)/[\w./]+\w", README))
    missing = [name for name in named if not (ROOT / name).exists()]
    assert named
    assert not missing


def test_every_benchmark_starts_as_its_command_says() -> None:
    """From the repository's root, without anything on the path but the script's own folder."""
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    started = [
        subprocess.Popen(
            [sys.executable, str(script.relative_to(ROOT)), "--help"],
            cwd=ROOT,
            env=clean,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for script in scripts
    ]
    said = {
        script.name: run.communicate(timeout=300)[0]
        for script, run in zip(scripts, started, strict=True)
    }
    failed = {name: said[name] for (name, run) in zip(said, started, strict=True) if run.returncode}
    assert scripts
    assert not failed


@pytest.mark.parametrize(
    "command",
    [
        "equal_recall.py none none",
        "explanation.py none",
        "tricks.py none none.csv",
        "taste.py --catalog none",
        "page.py --catalog none --photos none",
        "search.py --checkpoint none",
    ],
)
def test_a_benchmark_of_what_is_not_there_is_one_line(command: str, tmp_path: Path) -> None:
    script, *words = command.split()
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"{script}: ")
    assert "none" in done.stderr


def test_every_command_of_the_readme_does_what_it_says(copy: Path) -> None:
    for line in COMMANDS:
        words = shlex.split(line.removeprefix("pip install uv && "))
        assert words[:2] == ["uv", "run"], line
        if words[2] == "pytest":
            continue  # this is it
        extra: list[str] = []
        if words[2] == "train.py":
            if len(words) > 3:
                continue  # trains on the reader's own data, or for long; see test_train.py
            extra = SHORT
        done = subprocess.run(
            [sys.executable, *words[2:], *extra],
            cwd=copy,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
    assert (copy / "found.png").stat().st_size > 1000
