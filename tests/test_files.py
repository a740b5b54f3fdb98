"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import infer
from siamese.errors import UserError
from siamese.files import check_writable, read_tensors, replacing, write_tensors
from siamese.runtime import available_cores, keep_freed_memory


def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file.json"
    for content in ("old", "new"):
        with replacing(path) as temporary:
            assert temporary.parent == path.parent  # a rename works within one disk only
            assert temporary.suffix == ".json"
            temporary.write_text(content)
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, ValueError])
def test_after_an_error_the_old_content_is_there_and_nothing_else(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_at_the_first_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), replacing(tmp_path / "file"):
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_others_may_read_it_as_the_process_allows(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_readers_see_the_old_content_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_kill_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = """
        import sys, time
        from siamese.files import replacing
        with replacing(sys.argv[1]) as temporary:
            temporary.write_text("half of the n")
            print("writing", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.read_text() == "old"


def test_cores_are_those_that_this_process_may_use() -> None:
    count = available_cores()
    assert 1 <= count <= (os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        code = (
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
            "from siamese.runtime import available_cores; print(available_cores())"
        )
        root = Path(__file__).parent.parent
        output = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        )
        assert output.stdout == "1\n"


@pytest.mark.parametrize("platform", [sys.platform, "darwin", "win32"])
def test_keeping_memory_never_fails(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    keep_freed_memory()


def test_keeping_memory_makes_the_next_tensor_cheaper_or_equal() -> None:
    """Faults of fresh pages: with blocks kept, the second tensor of a size needs hardly any."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Linux only")
    code = """
        import resource, sys
        from siamese.runtime import keep_freed_memory
        if sys.argv[1] == "keep":
            keep_freed_memory()
        def block():
            for _ in range(20):
                data = bytearray(32 * 2**20)
        block()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    root = Path(__file__).parent.parent
    faults = {}
    for choice in ("keep", "default"):
        output = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), choice],
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
        faults[choice] = int(output.stdout)
    assert faults["keep"] < max(faults["default"], 100)


def test_what_could_not_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place, told in (
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "m", "file: is a file; name a folder"),
    ):
        with pytest.raises(UserError, match=told):
            check_writable(place)
    check_writable(tmp_path / "new" / "m.safetensors")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["calibrate", "none.csv", "--encoder", "none"],
        ["adapt", "--people", "none", "--products", "none"],
    ],
)
def test_commands_tell_it_first(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer.main([*words, "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"infer.py: {tmp_path}: is a folder; name a file in it\n"


def test_tensors_of_the_same_values_are_kept_once_and_all_come_back(tmp_path: Path) -> None:
    large = torch.arange(4096.0).reshape(64, 64)
    tensors = {
        "network": large,
        "another": large.clone(),
        "turned": large.T.contiguous(),
        "shaped": large.reshape(-1).clone(),
        "coarse": large.half(),
        "small": torch.zeros(3),
        "as small": torch.zeros(3),
    }
    path = tmp_path / "tensors.safetensors"
    write_tensors(path, tensors, "kind-1", {"a": 1})
    metadata, read = read_tensors(path)
    assert metadata == {"format": "kind-1", "card": '{"a": 1}'}
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == sorted(tensors.keys() - {"another"})


@pytest.mark.parametrize("same", ["{", '["network"]', '{"another": "nothing"}', '{"another": 3}'])
def test_a_file_that_names_tensors_it_lacks_is_damaged(same: str, tmp_path: Path) -> None:
    path = tmp_path / "tensors.safetensors"
    save_file({"network": torch.zeros(3)}, path, {"same": same})
    with pytest.raises(OSError, match="tensors that it keeps once"):
        read_tensors(path)
