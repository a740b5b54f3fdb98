"""Two processes train and validate as one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_catalog import ROOT

LOSSES = ("sigmoid", "bare_sigmoid")
Results = dict[tuple[str, int, int], dict[str, Any]]


def start(
    processes: int, rank: int, port: int, drawn: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """One of the processes, told its place as `torchrun` does."""
    # A seed that an earlier test left there would be set again by DDP only, after the network is
    # made but before the label heads are.
    environment = {name: value for name, value in os.environ.items() if "SEED" not in name}
    environment["PYTHONPATH"] = str(ROOT)
    if processes > 1:
        environment |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "test",
            "GLOO_SOCKET_IFNAME": "lo",
        }
    command = [sys.executable, ROOT / "tests" / "ddp_training.py", drawn, folder, *LOSSES]
    return subprocess.Popen(
        [str(word) for word in command],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def trainings(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What one process and each of two processes made of the same training."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = [(1, 0), (2, 0), (2, 1)]
    started = [start(processes, rank, port, rendered, folder) for processes, rank in places]
    try:
        for process in started:
            output, _ = process.communicate(timeout=200)
            assert process.returncode == 0, output.decode()[-3000:]
    finally:
        for process in started:
            process.kill()
    return {
        (loss, *place): torch.load(folder / f"{loss}-{place[0]}-{place[1]}.pt")
        for loss in LOSSES
        for place in places
    }


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_train_as_one_with_the_whole_batch(loss: str, trainings: Results) -> None:
    """Plain gradient descent, so that a gradient of another scale ends elsewhere.

    Sums are taken in another order, hence 1e-5.
    """
    one, first, second = (trainings[loss, *place] for place in ((1, 0), (2, 0), (2, 1)))
    assert one["steps"] == first["steps"] >= 4
    for name, weights in one["weights"].items():
        assert torch.allclose(weights, first["weights"][name], atol=1e-5), name
        assert torch.equal(first["weights"][name], second["weights"][name]), name
    assert first["figures"]["loss_epoch"] == pytest.approx(one["figures"]["loss_epoch"], rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_validate_as_one(loss: str, trainings: Results) -> None:
    """Each embeds its share of the photos; each has the figures and the rows of all, once."""
    one, *two = (trainings[loss, *place] for place in ((1, 0), (2, 0), (2, 1)))
    for result in two:
        for name, value in one["figures"].items():
            if name.startswith("validation/"):
                assert result["figures"][name] == pytest.approx(value, abs=1e-6)
        for rows, expected in zip(result["validated"], one["validated"], strict=True):
            assert rows.shape == expected.shape
            assert torch.allclose(rows, expected, atol=1e-4)
