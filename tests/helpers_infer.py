"""infer.py called in this process, as the tests of its commands do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., "Outcome"]
STEMS = [f"0{i:02d}" for i in range(8)]  # ids whose zeros must survive; the shop's products


class Outcome:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def common(folder: Path) -> list[str]:
    return ["--catalog", f"{folder}/catalog", "--checkpoint", f"{folder}/model.safetensors"]
