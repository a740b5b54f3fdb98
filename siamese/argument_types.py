"""What the words after an option may be: each function reads one, or says what is wrong with it."""

from __future__ import annotations

import argparse

SPLITS = ("train", "validation", "test")
SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def above_zero(text: str) -> float:
    """An argument above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def place(text: str) -> str:
    """An argument that says where something is."""
    if not text.strip():  # a shell's variable that is not set
        raise argparse.ArgumentTypeError("is empty; name a folder")
    return text


def positive(text: str) -> int:
    """An argument that is a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def port(text: str) -> int:
    """An argument that is a TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def amount(text: str) -> float:
    """An argument that is a number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return value


def share(text: str) -> float:
    """An argument from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def box(text: str) -> tuple[float, float, float, float]:
    """An argument of four sides."""
    try:
        x1, y1, x2, y2 = (float(side) for side in text.split(","))
    except ValueError:
        x1 = y1 = x2 = y2 = 0.0
    if not (0 <= x1 < x2 < float("inf") and 0 <= y1 < y2 < float("inf")):
        raise argparse.ArgumentTypeError(f"{text!r} is no box; write x1,y1,x2,y2 with x1 < x2")
    return x1, y1, x2, y2


def picture(text: str) -> str:
    """An argument that is a picture to be written."""
    if not text.lower().endswith(SHEET_SUFFIXES):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(SHEET_SUFFIXES)}")
    return text
