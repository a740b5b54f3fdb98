"""Settings of the process: which precision trains fastest, on made-up machines and on this one."""

from __future__ import annotations

from types import MappingProxyType

import pytest
import torch

from siamese.runtime import training_precision


def a_processor_with(monkeypatch: pytest.MonkeyPatch, *instructions: str) -> None:
    has = MappingProxyType(
        {"architecture": "x86_64", "avx2": True, **dict.fromkeys(instructions, True)}
    )
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16", "bf16"])
def test_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, instructions: str
) -> None:
    a_processor_with(monkeypatch, instructions)
    assert training_precision() == training_precision("cpu") == "bf16-mixed"


@pytest.mark.parametrize("instructions", [(), ("avx512_f", "avx512_vnni", "amx_int8")])
def test_float32_where_bfloat16_would_be_done_in_software(
    monkeypatch: pytest.MonkeyPatch, instructions: tuple[str, ...]
) -> None:
    a_processor_with(monkeypatch, *instructions)
    assert training_precision() == training_precision("cpu") == "32-true"


def test_an_accelerator_has_bfloat16_whatever_the_processor_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_processor_with(monkeypatch)
    assert training_precision("gpu") == "bf16-mixed"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert training_precision("auto") == "bf16-mixed"
    assert training_precision("cpu") == "32-true"


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_card_that_would_do_bfloat16_in_software_trains_in_float32(
    monkeypatch: pytest.MonkeyPatch, has: bool, precision: str
) -> None:
    a_processor_with(monkeypatch, "avx512_bf16")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or has
    )
    assert training_precision() == training_precision("gpu") == precision
    assert training_precision("cpu") == "bf16-mixed"


def test_torch_knows_the_names_that_are_asked_for() -> None:
    has = torch.cpu.get_capabilities()
    assert {"amx_bf16", "avx512_bf16"} <= has.keys() or "bf16" in has
