"""A query as text that a link can carry, so that the server keeps nothing of it.

Shapes: D embedding size.
"""

from __future__ import annotations

import base64
import binascii

import numpy as np

from siamese.serving.problems import ProblemError

LARGEST = 32_768  # characters, of some 12,000 numbers


def query_token(embedding: np.ndarray, fingerprint: str) -> str:
    """An embedding, float32 (D,), and its encoder; half precision moves a cosine by some 1e-5."""
    content = bytes.fromhex(fingerprint) + embedding.astype("<f2").tobytes()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def embedding_of(token: str, fingerprint: str, size: int) -> np.ndarray:
    """The unit embedding, float32 (D,), that a token carries.

    Raises:
        ProblemError: It is damaged, or of another encoder than this one.
    """
    made_by = bytes.fromhex(fingerprint)
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise _damaged() from error
    if len(token) > LARGEST or len(content) < len(made_by):
        raise _damaged()
    if content[: len(made_by)] != made_by:
        raise ProblemError(
            410, "old-query", "this link is of an earlier state of the shop; search again"
        )
    values = np.frombuffer(content[len(made_by) :], np.uint8)
    if len(values) != 2 * size:
        raise _damaged()
    embedding = values.view("<f2").astype(np.float32)
    length = float(np.linalg.norm(embedding))
    if not 0.5 < length < 2:  # NaN too
        raise _damaged()
    return embedding / np.float32(length)


def _damaged() -> ProblemError:
    return ProblemError(422, "damaged-query", "query: damaged or cut off; search again")
