"""Runs the application, in one process or several."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import uvicorn

from siamese.catalog import Catalog
from siamese.serving.settings import Settings
from siamese.serving.telemetry import MULTIPROCESS, log_as_json

log = logging.getLogger(__name__)
FACTORY = "siamese.serving.app:from_environment"


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or SIGINT; requests that were begun are answered before it ends.

    Args:
        settings: How.
        host: Address to listen at.
        port: Likewise.
        workers: Processes; each has a copy of the model, all share the catalog.

    Raises:
        UserError: Something that shall be served cannot be used.
    """
    log_as_json()
    if settings.admin_token is None or Catalog.exists(settings.catalog):
        # Fails here in one line, not in every worker.
        _tell_unknown_columns(settings, Catalog.open(settings.catalog).attribute_types)
    settings.to_environment()
    with ExitStack() as stack:
        if workers > 1:  # one alone ends by its signal, and would leave the folder
            folder = tempfile.TemporaryDirectory(prefix="siamese-metrics-")
            os.environ[MULTIPROCESS] = stack.enter_context(folder)
        uvicorn.run(
            FACTORY,
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.timeout)),
            timeout_keep_alive=30,
            app_dir=str(Path(__file__).parents[2]),
        )


def _tell_unknown_columns(settings: Settings, known: Collection[str]) -> None:
    """A line in the log; no error, since products that come later may bring the column."""
    wanted = [*settings.captions, *({settings.vote} - {Settings.vote})]
    if unknown := [name for name in wanted if name not in known]:
        told = {"columns": unknown, "known": list(known)}
        log.warning("the catalog has no such columns yet", extra={"data": told})
