"""What operators see: a JSON line per request, Prometheus metrics, and an id in both.

Neither logs nor metrics hold anything of a photo, a query or a product id in a query string.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # where several workers share their counts
STACK = 4000  # characters of a traceback in the log
log = logging.getLogger("siamese.serving.access")
disable_created_metrics()


class Metrics:
    """What is counted in this process."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        self._own = own
        self.requests = Counter(
            "siamese_requests", "Requests answered", ["method", "route", "status"], registry=own
        )
        self.seconds = Histogram(
            "siamese_request_seconds",
            "From first byte to last",
            ["route"],
            buckets=SECONDS,
            registry=own,
        )
        self.refused = Counter(
            "siamese_refused", "Requests that were not begun", ["reason"], registry=own
        )
        self.working = Gauge(
            "siamese_requests_in_progress",
            "Worked on or waiting",
            registry=own,
            multiprocess_mode="livesum",
        )
        self.batches = Histogram(
            "siamese_batch_size",
            "Queries that shared a forward pass",
            buckets=BATCHES,
            registry=own,
        )
        self.products = Gauge(
            "siamese_products",
            "In the version that is served",
            registry=own,
            multiprocess_mode="livemax",
        )
        self.version = Gauge(
            "siamese_catalog_version",
            "That the slowest worker serves",
            registry=own,
            multiprocess_mode="livemin",
        )

    def exposition(self) -> bytes:
        """Of all workers, in Prometheus's text format."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._own)
        shared = CollectorRegistry()
        multiprocess.MultiProcessCollector(shared)
        return generate_latest(shared)


def forget_dead_workers() -> None:
    """Take the gauges of killed workers out of the shared ones; others were started for them."""
    folder = os.environ.get(MULTIPROCESS)
    for path in Path(folder).glob("gauge_live*.db") if folder else ():
        worker = int(path.stem.rpartition("_")[2])
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(worker)


class Telemetry:
    """The outermost layer: request id, headers of every answer, log line, metrics.

    Args:
        app: What is inside.
        metrics: To count in.
        headers: Added to every answer that does not set them itself.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = name = _request_id(scope)
        started = time.perf_counter()
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.setdefault("headers", [])
                known = {key.lower() for key, _ in given}
                own = [(b"x-request-id", name.encode()), *self._headers]
                given.extend((key, value) for key, value in own if key not in known)
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception as error:
            log.exception("failed", extra={"data": {"request_id": name}}, exc_info=error)
        finally:
            self._record(scope, status or 499, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log one request; 499 is a client that went away."""
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(scope["method"], route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        line = {
            "request_id": scope["request_id"],
            "client": client_of(scope),
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
        }
        log.info("request", extra={"data": line})


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)[-STACK:]
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_json() -> None:
    """Send the server's and this package's log to stdout as lines of JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for name in ("siamese", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name != "uvicorn.error" else []
        logger.setLevel(logging.INFO)
        logger.propagate = name == "uvicorn.error"


def client_of(scope: Scope) -> str:
    """The client's address; behind a proxy that is trusted, uvicorn has put the real one there."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _request_id(scope: Scope) -> str:
    """The caller's id if it is harmless, a new one otherwise."""
    given = Request(scope).headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
