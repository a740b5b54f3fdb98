"""What the tests of published backbones share."""

from __future__ import annotations

import pytest

from siamese.encoder import EncoderConfig
from siamese.errors import UserError

DINO = "vit_small_patch16_dinov3"
RESNET = EncoderConfig("timm/resnet18", embedding_size=16)


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    """What was said, which is one line that can be read."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text
