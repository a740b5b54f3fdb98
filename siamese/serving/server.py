"""Runs the application, in one process or several."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import uvicorn

from siamese.catalog import Catalog
from siamese.serving.settings import Settings
from siamese.serving.telemetry import MULTIPROCESS, log_as_json

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
    if settings.admin_token is None or Catalog.exists(settings.catalog):
        Catalog.open(settings.catalog)  # fails here in one line, not in every worker
    settings.to_environment()
    log_as_json()
    with tempfile.TemporaryDirectory(prefix="siamese-metrics-") as folder:
        if workers > 1:
            os.environ[MULTIPROCESS] = folder
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
