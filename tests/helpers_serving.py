"""A small shop to serve: eight drawn products in two kinds and four colours."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn
from fastapi.testclient import TestClient
from helpers_catalog import draw_photo, save_checkpoint
from PIL import Image

import infer
from siamese.serving.app import create_app
from siamese.serving.settings import Settings

SOON = 10.0  # seconds; a second is promised, a busy machine may be slower
TOKEN = "correct-horse-battery"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
IDS = [f"0{number:02d}" for number in range(8)]  # ids whose zeros must survive
KINDS, COLOURS = ("It's", "Tshirts"), ("Red", "Green", "Blue", "Black")


def make_shop(folder: Path) -> Path:
    """Photos, their table, a checkpoint and a catalog of all of it."""
    lines = ["id,articleType,baseColour,price,new"]
    for number, name in enumerate(IDS):
        draw_photo(folder / "photos" / f"{name}.png", hue=30 * number, stripes=number % 4)
        truth = str(number < 2).lower()
        lines.append(f"{name},{KINDS[number % 2]},{COLOURS[number % 4]},{number}.5,{truth}")
    (folder / "shop.csv").write_text("\n".join(lines))
    save_checkpoint(folder / "model.safetensors")
    words = ["--photos", folder / "photos", "--attributes", folder / "shop.csv"]
    places = ["--catalog", folder / "catalog", "--checkpoint", folder / "model.safetensors"]
    assert infer.main(["index", *map(str, [*words, *places])]) == 0
    return folder


def copy_of(shop: Path, folder: Path) -> Path:
    """The shop's catalog and checkpoint, to be changed; the photos stay where they are."""
    shutil.copytree(shop / "catalog", folder / "catalog")
    shutil.copy(shop / "model.safetensors", folder)
    return folder


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Of a shop in that folder, with an admin and without a limit on the rate."""
    defaults: dict[str, Any] = {
        "checkpoint": str(folder / "model.safetensors"),
        "catalog": str(folder / "catalog"),
        "folder": str(folder / "serving"),
        "admin_token": TOKEN,
        "rate": 0.0,
    }
    return Settings(**defaults | changes)


@contextmanager
def client_of(folder: Path, **changes: Any) -> Iterator[TestClient]:
    """A client of a server in this process."""
    app = create_app(settings_for(folder, **changes))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def served(folder: Path, **changes: Any) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    app = create_app(settings_for(folder, **changes))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def place_of(shop: Path, name: str) -> Path:
    """Where the photo lies that a product was indexed with."""
    return shop / "photos" / f"{name}.png"


def photo_of(shop: Path, name: str) -> bytes:
    """That photo."""
    return place_of(shop, name).read_bytes()


def picture(width: int = 40, height: int = 60, kind: str = "JPEG", **how: Any) -> bytes:
    """Any photo, encoded."""
    stream = BytesIO()
    photo = Image.new("RGB", (width, height), "teal")
    photo.paste("coral", (0, 0, width // 2, height // 2))  # a photo of one colour is refused
    photo.save(stream, kind, **how)
    return stream.getvalue()


def search(client: TestClient, content: bytes, **fields: Any) -> Any:
    """The answer to a photo; fields that are no text are sent as JSON."""
    form = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
    return client.post("/v1/search", files={"photo": content}, data=form)


def put(client: TestClient, name: str, *photos: bytes, **attributes: Any) -> Any:
    """Add or change a product as the shop."""
    return client.put(
        f"/v1/products/{name}",
        files=[("photos", photo) for photo in photos] or None,
        data={"attributes": json.dumps(attributes)},
        headers=ADMIN,
    )


def ids_of(answer: Any) -> list[str]:
    """Of a search's or a list's products, in order."""
    found = answer.json()
    return [each["product_id"] for each in found.get("matches", found.get("products"))]


def assert_problem(answer: Any, status: int, kind: str) -> None:
    """It is an answer of that status, in the form of RFC 9457, under the id of its request."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["type"] == f"urn:siamese:problem:{kind}"
    assert told["status"] == status
    assert told["request_id"] == answer.headers["x-request-id"]


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true within `SOON`."""
    deadline = time.monotonic() + SOON
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()
