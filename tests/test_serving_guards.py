"""What is refused before any work: too many, too much, too slow, and strangers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from helpers_serving import ADMIN, TOKEN, client_of, make_shop, photo_of, picture, search

from siamese.serving import guards
from siamese.serving.guards import RateLimit, network_of
from siamese.serving.problems import without_places
from siamese.serving.settings import ServingError, Settings


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Searches wait in their forward pass until the event is set."""
    from siamese.serving import services

    go_on, answer = threading.Event(), services.answer

    def slowly(queries: Any) -> Any:
        assert go_on.wait(20)
        return answer(queries)

    monkeypatch.setattr(services, "answer", slowly)
    yield go_on
    go_on.set()


def kind_of(answer: Any) -> str:
    return str(answer.json()["type"].rpartition(":")[2])


def test_a_client_may_send_a_burst_and_then_its_rate() -> None:
    now = [0.0]
    limit = RateLimit(2.0, lambda: now[0])
    assert [limit.wait("a") for _ in range(4)] == [0.0] * 4  # two seconds' worth
    assert limit.wait("a") == 0.5
    assert limit.wait("b") == 0.0
    now[0] = 0.5
    assert limit.wait("a") == 0.0
    assert limit.wait("a") == 0.5


def test_no_rate_lets_everything_pass_and_a_slow_one_at_least_the_first() -> None:
    assert [RateLimit(0.0).wait("a") for _ in range(1000)] == [0.0] * 1000
    now = [0.0]
    limit = RateLimit(0.1, lambda: now[0])
    assert limit.wait("a") == 0.0
    assert limit.wait("a") == pytest.approx(10.0)


def test_the_addresses_of_one_ipv6_network_are_one_client() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("10.0.0.1") != network_of("10.0.0.2")
    assert network_of("testclient") == "testclient"


def test_silent_clients_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "CLIENTS", 2)
    limit = RateLimit(0.5, lambda: 0.0)
    for client in "abc":
        assert limit.wait(client) == 0.0
    assert limit.wait("a") == 0.0  # its bucket went, so it is a new client
    assert limit.wait("c") > 0.0


def test_a_client_over_its_rate_is_told_when_to_come_again(shop: Path) -> None:
    with client_of(shop, rate=1.0) as client:
        answers = [client.get("/v1/about") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert answers[-1].headers["retry-after"] == "1"
        assert kind_of(answers[-1]) == "rate-limit"
        assert client.get("/health").status_code == 200  # probes are never limited
        assert client.get("/v1/thumbnails/000").status_code == 200


def test_who_guesses_tokens_is_slowed_down(shop: Path) -> None:
    with client_of(shop, rate=1.0) as client:
        wrong = {"Authorization": "Bearer guess"}
        answers = [client.get("/v1/statistics", headers=wrong).status_code for _ in range(4)]
        assert answers == [401, 401, 429, 429]


def test_a_full_queue_answers_429_and_recovers(shop: Path, held: threading.Event) -> None:
    content = photo_of(shop, "000")
    with client_of(shop, queue=3) as client, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(search, client, content) for _ in range(3)]
        deadline = time.monotonic() + 10
        while "siamese_requests_in_progress 3.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        refused = search(client, content)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert kind_of(refused) == "queue-full"
        assert client.get("/v1/thumbnails/000").status_code == 200  # an own queue
        held.set()
        assert [answer.result().status_code for answer in waiting] == [200] * 3
        assert search(client, content).status_code == 200
        assert 'siamese_refused_total{reason="queue-full"} 1.0' in client.get("/metrics").text


def test_one_client_cannot_take_every_place(shop: Path, held: threading.Event) -> None:
    content = photo_of(shop, "000")
    with client_of(shop, queue=4, rate=100.0) as client, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(search, client, content) for _ in range(2)]
        deadline = time.monotonic() + 10
        while "siamese_requests_in_progress 2.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        refused = search(client, content)
        assert (refused.status_code, kind_of(refused)) == (429, "rate-limit")
        assert refused.headers["retry-after"] == "1"
        other = TestClient(client.app, client=("10.0.0.9", 1))
        waiting.append(pool.submit(search, other, content))
        held.set()
        assert [answer.result().status_code for answer in waiting] == [200] * 3
        assert search(client, content).status_code == 200


def test_a_request_that_takes_too_long_is_given_up_and_its_place_is_free(
    shop: Path, held: threading.Event
) -> None:
    with client_of(shop, queue=1, timeout=0.2) as client:
        answer = search(client, photo_of(shop, "000"))
        assert (answer.status_code, kind_of(answer)) == (503, "timeout")
        assert answer.headers["retry-after"] == "1"
        held.set()
        assert search(client, photo_of(shop, "000")).status_code == 200


def test_a_body_that_is_too_large_is_refused_by_its_length(shop: Path) -> None:
    with client_of(shop, max_upload=1000) as client:
        answer = search(client, b"x" * 2000)
        assert (answer.status_code, kind_of(answer)) == (413, "content-too-large")
        assert search(client, picture(8, 8, "GIF")).status_code == 200


def test_a_body_without_a_length_is_cut_off(shop: Path) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 500

    with client_of(shop, max_upload=1000) as client:
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = client.post("/v1/search", content=endless(), headers=kind)
        assert (answer.status_code, kind_of(answer)) == (413, "content-too-large")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/products/x"),
        ("DELETE", "/v1/products/000"),
        ("POST", "/v1/tables"),
        ("GET", "/v1/statistics"),
    ],
)
def test_only_who_knows_the_token_changes_the_catalog(shop: Path, method: str, path: str) -> None:
    with client_of(shop) as client:
        for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}):
            answer = client.request(method, path, headers=wrong)
            assert (answer.status_code, kind_of(answer)) == (401, "unauthorized")
    with client_of(shop, admin_token=None) as client:
        answer = client.request(method, path, headers=ADMIN)
        assert (answer.status_code, kind_of(answer)) == (403, "admin-off")
        assert client.get("/admin").status_code == 404


def test_a_short_token_is_refused_and_none_is_shown() -> None:
    with pytest.raises(ServingError, match="at least 16"):
        Settings("m", "c", admin_token="short")
    with pytest.raises(ServingError, match="beyond ASCII"):
        Settings("m", "c", admin_token="ünïcode-token-123456")
    assert TOKEN not in repr(Settings("m", "c", admin_token=TOKEN))


def test_an_unexpected_error_is_a_problem_without_its_inside(
    shop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from siamese.serving import services

    def broken(_: Any) -> Any:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(services, "answer", broken)
    with client_of(shop) as client:
        answer = search(client, photo_of(shop, "000"))
    assert (answer.status_code, kind_of(answer)) == (500, "internal")
    assert "secret" not in answer.text
    assert "secret inside" in caplog.text


def test_nobody_gets_the_answer_of_another(shop: Path) -> None:
    """32 threads ask for eight photos in batches; each gets its own photo's product first."""
    names = [f"0{n % 8:02d}" for n in range(64)]
    with client_of(shop, queue=64) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: search(client, photo_of(shop, name), top=1), names))
        sizes = client.get("/metrics").text
    found = [answer.json()["matches"][0]["product_id"] for answer in answers]
    alone = {name: first_alone(shop, name) for name in set(names)}
    assert found == [alone[name] for name in names]
    assert 'siamese_batch_size_bucket{le="1.0"} 64.0' not in sizes  # some were batched


def first_alone(shop: Path, name: str) -> str:
    """The best product of a photo that is asked for without others."""
    from siamese.checkpoint_file import load_checkpoint
    from siamese.finder import Finder

    finder = Finder(load_checkpoint(shop / "model.safetensors"), shop / "catalog")
    (ranking,) = finder.rank([photo_of(shop, name)], top=1)
    return ranking.matches[0].product_id


def test_other_protocols_pass_the_guards() -> None:
    seen = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    guarded = guards.Guards(inside, Settings("m", "c"), None)  # type: ignore[arg-type]
    asyncio.run(guarded({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


@pytest.mark.parametrize("place", ["c", "/srv/shop/catalog", "s3://shop/catalog"])
def test_messages_hide_places_and_nothing_else(place: str) -> None:
    settings = Settings("/srv/m.safetensors", place)
    inside = place.strip("/")
    text = f"{place}: no such catalog ({inside}/photos.lance/x); see /srv/m.safetensors"
    hidden = "catalog: no such catalog (catalog/photos.lance/x); see checkpoint"
    assert without_places(text, settings) == hidden
