"""What a request must pass before a byte of it is read: token, rate, a free place, and time."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from siamese.serving.problems import ProblemError, problem
from siamese.serving.settings import Settings
from siamese.serving.telemetry import Metrics, client_of

BURST = 2.0  # seconds' worth of requests that a client may send at once
CLIENTS = 10_000  # that are remembered; the longest silent one is forgotten
OF_THE_QUEUE = 0.5  # that one client may hold; slow uploads shall not shut out everybody else
THUMBNAILS = "/v1/thumbnails/"
THUMBNAIL_PLACES = 8  # times the queue: mostly answered from memory
GUARDED = "/v1/"
CHANGES = ("PUT", "PATCH", "DELETE")
FOR_THE_SHOP = ("/v1/tables", "/v1/statistics")
AGAIN = {"Retry-After": "1"}


class RateLimit:
    """A token bucket per client.

    Args:
        rate: Requests per second on average; 0 lets everything pass.
        clock: Seconds; `time.monotonic`.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until that network may send its next request; 0 takes a token for this one."""
        if self._rate == 0:
            return 0.0
        now, most = self._clock(), max(1.0, BURST * self._rate)
        tokens, since = self._buckets.pop(client, (most, now))
        tokens = min(most, tokens + (now - since) * self._rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - allowed, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate


class Guards:
    """The layer between telemetry and routes.

    Args:
        app: What is inside.
        settings: The limits.
        metrics: To count in.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._rate = RateLimit(settings.rate)
        self._queries: Counter[str] = Counter()  # that are worked on, by network
        self._thumbnails = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        try:
            if scope["path"].startswith(THUMBNAILS):
                await self._as_thumbnail(scope, receive, send)
            else:
                self._check_rate(scope)  # first: whoever guesses tokens is slowed down, too
                self._check_token(scope)
                self._check_length(scope)
                await self._as_query(scope, receive, send)
        except ProblemError as error:
            self._metrics.refused.labels(error.kind).inc()
            await problem(error, scope["request_id"])(scope, receive, send)

    async def _as_thumbnail(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pictures are many per page and mostly in memory: no rate, an own and longer queue."""
        if self._thumbnails >= THUMBNAIL_PLACES * self._settings.queue:
            raise ProblemError(429, "queue-full", "too many pictures at once", AGAIN)
        self._thumbnails += 1
        try:
            await self._in_time(scope, receive, send)
        finally:
            self._thumbnails -= 1

    async def _as_query(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything else of the API."""
        queue, client = self._settings.queue, network_of(client_of(scope))
        if self._queries.total() >= queue:
            raise ProblemError(429, "queue-full", "the server is busy; come again", AGAIN)
        if self._settings.rate and self._queries[client] >= max(1, queue * OF_THE_QUEUE):
            raise ProblemError(429, "rate-limit", "too many requests of this client", AGAIN)
        self._queries[client] += 1
        self._metrics.working.inc()
        try:
            await self._in_time(scope, receive, send)
        finally:
            self._queries -= Counter([client])  # forgets those that have none
            self._metrics.working.dec()

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run what is inside; 503 if it has not begun to answer when the time is over."""
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self._settings.timeout):
                await self._app(scope, receive, send_noted)
        except TimeoutError as error:
            if not begun:
                raise ProblemError(503, "timeout", "took too long; come again", AGAIN) from error

    def _check_rate(self, scope: Scope) -> None:
        """Refuse a client that asks too often."""
        seconds = self._rate.wait(network_of(client_of(scope)))
        if seconds:
            again = {"Retry-After": str(math.ceil(seconds))}
            raise ProblemError(429, "rate-limit", "too many requests of this client", again)

    def _check_token(self, scope: Scope) -> None:
        """Let nobody change the catalog but who knows the token; before a byte is read."""
        if scope["method"] not in CHANGES and not scope["path"].startswith(FOR_THE_SHOP):
            return
        token = self._settings.admin_token
        if token is None:
            raise ProblemError(403, "admin-off", "start the server with an admin token")
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + token.encode()):
            told = {"WWW-Authenticate": "Bearer"}
            raise ProblemError(401, "unauthorized", "send Authorization: Bearer TOKEN", told)

    def _check_length(self, scope: Scope) -> None:
        """Refuse by the header; FastAPI counts the bytes of bodies that come without."""
        length = dict(scope["headers"]).get(b"content-length", b"0")
        limit = self._settings.max_upload
        if length.isdigit() and int(length) > limit:
            told = f"over {limit / 2**20:g} MiB; scale the photo down first"
            raise ProblemError(413, "content-too-large", told, {"Connection": "close"})


def network_of(client: str) -> str:
    """What counts as one client: an address, of IPv6 the /64 that a client owns at least."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False))
