"""Writing files whole: a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from siamese.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

SAME = "same"  # in a file's metadata: tensors that are not kept, and which they are equal to
LARGE = 1024  # bytes, from which on a tensor is looked for among the others

Made = TypeVar("Made")


@dataclass(frozen=True)
class Kind:
    """Files that one command of the project makes.

    Args:
        name: What they hold, in a word.
        form: As `write_tensors` notes it, with its version.
        maker: The module that makes them.
        remedy: What to do where there is no such file.
        error: What is raised for one that cannot be used.
    """

    name: str
    form: str
    maker: str
    remedy: str
    error: type[UserError]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without error.

    The content is on the disk before the name changes. After an error (a full disk, a kill of
    the block's code) `path` is as it was and the temporary file is gone.

    Raises:
        OSError: The folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Before long work: raise what would keep its outcome from being written to `path`.

    Raises:
        UserError: It is a folder, or its folder cannot be made or written.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if path.parent.is_file():
        raise UserError(f"{path.parent}: is a file; name a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def separator_of(heading: str) -> str:
    """What separates cells of a table, by its first line: comma, semicolon or tab."""
    return max(",;\t", key=heading.count)


def write_tensors(
    path: str | Path, tensors: dict[str, Tensor], kind: str, card: dict[str, Any]
) -> None:
    """A safetensors file with a card of JSON values, written whole or not at all.

    Tensors of the same values, such as networks that are asked for two purposes, are kept once.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    metadata = {"format": kind, "card": json.dumps(card)}
    if same := _repeated(tensors):
        metadata[SAME] = json.dumps(same)
    once = {name: tensor for name, tensor in tensors.items() if name not in same}
    with replacing(path) as temporary:
        try:
            save_file(once, temporary, metadata)
        except SafetensorError as error:  # the library's name for a full disk, too
            raise OSError(f"{path}: cannot be written ({error})") from error


def read_tensors(path: str | Path, device: str = "cpu") -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file; no code in it is run.

    Raises:
        OSError: It cannot be read, or is damaged or another file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=device) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        same = json.loads(metadata.pop(SAME, "{}"))
        return metadata, tensors | {name: tensors[first] for name, first in same.items()}
    except SafetensorError as error:
        raise OSError(str(error)) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OSError(f"tensors that it keeps once: {type(error).__name__}: {error}") from error


def _repeated(tensors: dict[str, Tensor]) -> dict[str, str]:
    """Names of large tensors whose values an earlier one has, too → the name of that one."""
    import torch

    first: dict[tuple[object, ...], str] = {}
    same = {}
    for name, tensor in tensors.items():
        if tensor.nbytes < LARGE:
            continue
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest = hashlib.sha256(values.numpy().tobytes()).digest()
        known = first.setdefault((tensor.dtype, tensor.shape, digest), name)
        if known != name:
            same[name] = known
    return same


def form_of(path: str | Path) -> str | None:
    """The kind that `write_tensors` noted; `None` of any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format")
    except (OSError, SafetensorError):
        return None


def read_kind(
    path: str | Path, kind: Kind, assemble: Callable[[dict[str, Any], dict[str, Tensor]], Made]
) -> Made:
    """What a file's card and tensors describe.

    Args:
        path: Of the file.
        kind: Which it should be of.
        assemble: Makes it; may raise any built-in error where they do not fit.

    Raises:
        UserError: Of the kind: missing, damaged, or not of this version.
    """
    path = Path(path)
    if not path.is_file():
        raise kind.error(f"{path}: no such {kind.name}; {kind.remedy.format(path=path)}")
    try:
        metadata, tensors = read_tensors(path)
    except OSError as error:
        raise kind.error(
            f"{path}: no {kind.name} or damaged ({error}); copy or train it again"
        ) from error
    if metadata.get("format") != kind.form:
        raise kind.error(
            f"{path}: is of format {metadata.get('format')!r}, this version reads {kind.form!r}; "
            f"give a file of {kind.maker}"
        )
    try:
        return assemble(json.loads(metadata["card"]), tensors)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise kind.error(
            f"{path}: its weights do not fit its description ({reason}); copy or train it again"
        ) from error


def _umask() -> int:
    """The process's file mode mask; the only way to read it is to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
