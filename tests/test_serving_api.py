"""The API in one process: answers equal those of `infer.py search`, errors are problems."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from helpers_catalog import save_checkpoint
from helpers_serving import (
    IDS,
    assert_problem,
    client_of,
    copy_of,
    ids_of,
    make_shop,
    photo_of,
    picture,
    put,
    search,
)
from pydantic import TypeAdapter

import infer
from siamese.catalog import Catalog
from siamese.checkpoint_file import load_checkpoint
from siamese.default_checkpoint import KEPT
from siamese.finder import Finder
from siamese.recommend.personal import PersonalFinder
from siamese.recommend.taste import taste_from
from siamese.serving import search_routes
from siamese.serving.feedback import FeedbackLog
from siamese.serving.schemas import Token
from siamese.serving.tokens import embedding_of, query_token


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def client(shop: Path) -> Iterator[TestClient]:
    with client_of(shop, title="Corner shop") as client:
        yield client


def test_a_search_finds_what_the_finder_finds(client: TestClient, shop: Path) -> None:
    finder = Finder(load_checkpoint(shop / "model.safetensors"), shop / "catalog")
    content = photo_of(shop, "003")
    (expected,) = finder.rank([content], top=5)
    found = search(client, content, top=5).json()
    assert [match["product_id"] for match in found["matches"]] == [
        match.product_id for match in expected.matches
    ]
    for match, wanted in zip(found["matches"], expected.matches, strict=True):
        assert match["probability"] == pytest.approx(wanted.probability, abs=1e-5)
        assert match["cosine"] == pytest.approx(wanted.cosine, abs=1e-5)
        assert match["attributes"] == wanted.attributes
    assert found["in_catalog"] == expected.in_catalog
    assert found["considered"] == len(IDS)
    assert found["matches"][0]["product_id"] == "003"
    assert found["matches"][0]["likelihood"] in ("very likely this one", "maybe", "unlikely")
    assert found["photo"] == {"width": 60, "height": 80, "box": None, "garments": []}


def test_the_query_of_an_answer_finds_the_same_again(client: TestClient, shop: Path) -> None:
    first = search(client, photo_of(shop, "005"), top=4)
    again = client.get("/v1/search", params={"query": first.json()["query"], "top": 4})
    assert ids_of(again) == ids_of(first)
    assert again.json()["query"] == first.json()["query"]
    assert again.json()["photo"] is None


def test_matches_with_another_label_than_most_are_marked(client: TestClient, shop: Path) -> None:
    answer = search(client, photo_of(shop, "003"), top=5).json()
    assert answer["vote"]["column"] == "articleType"
    labels = [match["attributes"]["articleType"] for match in answer["matches"]]
    marks = [match["not_predicted"] for match in answer["matches"]]
    assert marks == [label != answer["vote"]["label"] for label in labels]
    weights = [match["cosine"] for match in answer["matches"]]
    own = sum(w for w, mark in zip(weights, marks, strict=True) if not mark)
    assert answer["vote"]["share"] == pytest.approx(own / sum(weights), abs=1e-3)
    assert 0 < sum(marks) < 5


def test_a_shop_without_the_column_holds_no_vote(shop: Path) -> None:
    with client_of(shop, vote="size") as client:
        answer = search(client, photo_of(shop, "003")).json()
    assert answer["vote"] is None
    assert not any(match["not_predicted"] for match in answer["matches"])


def test_filters_choose_what_is_ranked(client: TestClient, shop: Path) -> None:
    filters = {"articleType": ["It's"], "price": {"lowest": 2, "highest": 6.5}}
    answer = search(client, photo_of(shop, "000"), filters=filters)
    assert set(ids_of(answer)) == {"002", "004", "006"}
    assert answer.json()["considered"] == 3
    token = answer.json()["query"]
    again = client.get("/v1/search", params={"query": token, "filters": json.dumps(filters)})
    assert ids_of(again) == ids_of(answer)


def test_a_filter_that_nothing_fits_is_an_empty_answer(client: TestClient, shop: Path) -> None:
    answer = search(client, photo_of(shop, "000"), filters={"baseColour": ["Mauve"]}).json()
    assert (answer["matches"], answer["considered"], answer["in_catalog"]) == ([], 0, False)
    assert answer["verdict"] == "no product fits"


def test_the_box_decides_what_is_seen(client: TestClient, shop: Path) -> None:
    content = photo_of(shop, "003")
    whole, part = search(client, content), search(client, content, box="12,15,48,70")
    assert part.json()["photo"]["box"] == [12, 15, 48, 70]
    assert part.json()["query"] != whole.json()["query"]


def test_similar_products_leave_out_the_one_asked_for(client: TestClient) -> None:
    answer = client.get("/v1/similar/003", params={"top": 20})
    assert sorted(ids_of(answer)) == sorted(set(IDS) - {"003"})
    assert answer.json()["considered"] == 7
    filtered = client.get(
        "/v1/similar/003", params={"filters": json.dumps({"articleType": ["It's"]})}
    )
    assert sorted(ids_of(filtered)) == ["000", "002", "004", "006"]
    assert filtered.json()["considered"] == 4
    assert_problem(client.get("/v1/similar/999"), 404, "unknown-product")


def test_likes_move_the_query_and_dislikes_are_not_shown(client: TestClient, shop: Path) -> None:
    first = search(client, photo_of(shop, "000"))
    token, plain = first.json()["query"], first.json()
    taste = {"likes": ["005"], "dislikes": ["001"], "never": {"baseColour": ["Black"]}}
    answer = search(client, photo_of(shop, "000"), taste=taste)
    finder = PersonalFinder(
        Finder(load_checkpoint(shop / "model.safetensors"), shop / "catalog"), taste_from(taste)
    )
    (expected,) = finder.rank([photo_of(shop, "000")])
    assert ids_of(answer) == [match.product_id for match in expected.matches]
    assert not {"001", "003", "007"} & set(ids_of(answer))
    assert answer.json()["considered"] == 5
    assert answer.json()["query"] == token
    cosines = [{m["product_id"]: m["cosine"] for m in a["matches"]} for a in (plain, answer.json())]
    assert cosines[1]["005"] > cosines[0]["005"]
    again = client.get("/v1/search", params={"query": token, "taste": json.dumps(taste)})
    assert ids_of(again) == ids_of(answer)


def test_a_taste_for_what_has_left_the_catalog_is_ignored(client: TestClient, shop: Path) -> None:
    gone = search(client, photo_of(shop, "000"), taste={"likes": ["gone"], "dislikes": ["too"]})
    assert ids_of(gone) == ids_of(search(client, photo_of(shop, "000")))
    everything = {"dislikes": IDS}
    assert ids_of(search(client, photo_of(shop, "000"), taste=everything)) == []
    wrong = search(client, photo_of(shop, "000"), taste={"never": {"baseColour": ["Blu"]}})
    assert_problem(wrong, 422, "unusable-request")
    assert_problem(search(client, picture(), taste={"hates": []}), 422, "invalid-request")
    assert_problem(search(client, picture(), taste="["), 422, "invalid-request")


def test_other_colours_are_of_the_same_kind(client: TestClient) -> None:
    found = client.get("/v1/variants/000").json()["suggestions"]
    assert [each["why"] for each in found] == ["Blue"]
    assert found[0]["product_id"] in ("002", "006")
    assert found[0]["attributes"]["articleType"] == "It's"
    assert_problem(client.get("/v1/variants/999"), 404, "unknown-product")
    assert_problem(client.get("/v1/complements/999"), 404, "unknown-product")
    assert_problem(client.get("/v1/complements/000"), 422, "unusable-request")  # no such column
    about = client.get("/v1/about").json()
    assert (about["has_variants"], about["has_complements"]) == (True, False)


def test_why_a_product_was_found_comes_as_two_pictures(client: TestClient, shop: Path) -> None:
    import base64

    answer = client.post(
        "/v1/explain", files={"photo": photo_of(shop, "003")}, data={"product_id": "003"}
    ).json()
    assert answer["cosine"] == pytest.approx(1.0, abs=1e-3)
    assert base64.b64decode(answer["photo"]).startswith(b"\xff\xd8\xff")
    assert base64.b64decode(answer["product"]).startswith(b"\xff\xd8\xff")
    missing = client.post("/v1/explain", files={"photo": picture()}, data={"product_id": "x"})
    assert_problem(missing, 404, "unknown-product")


def test_why_a_product_was_found_shows_the_photo_that_it_was_found_by(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    explain = search_routes.explain

    def noted(checkpoint: Any, query: Any, products: Any, box: Any) -> Any:
        seen.extend(products)
        return explain(checkpoint, query, products, box)

    monkeypatch.setattr(search_routes, "explain", noted)
    with client_of(copy_of(shop, tmp_path)) as client:
        both = [photo_of(shop, "001"), photo_of(shop, "004")]
        stored = put(client, "both", *both).json()["product"]
        assert stored["photos"] == 2
        for content in both:
            data = {"product_id": "both"}
            answer = client.post("/v1/explain", files={"photo": content}, data=data)
            assert answer.json()["cosine"] > 0.99
    assert len(set(seen)) == 2


def test_feedback_is_on_the_disk_when_it_is_acknowledged(client: TestClient, shop: Path) -> None:
    said = {"product_id": "002", "verdict": "right"}
    answer = client.post("/v1/feedback", json=said)
    assert answer.status_code == 201
    line = json.loads((shop / "serving" / "feedback.jsonl").read_text().splitlines()[-1])
    assert line.items() >= {**said, "request_id": answer.headers["x-request-id"]}.items()
    wrong = client.post("/v1/feedback", json=said | {"verdict": "so"})
    assert_problem(wrong, 422, "invalid-request")
    earlier = query_token(np.ones(8, np.float32), "0" * 16)  # of another encoder
    assert client.post("/v1/feedback", json=said | {"query": earlier}).status_code == 201
    garbage = client.post("/v1/feedback", json=said | {"query": "garbage!!"})
    assert_problem(garbage, 422, "damaged-query")
    unknown = client.post("/v1/feedback", json=said | {"product_id": "x"})
    assert_problem(unknown, 404, "unknown-product")


def test_feedback_that_a_full_disk_cut_off_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:5]))
    with pytest.raises(OSError, match="disk is full"):
        FeedbackLog(tmp_path / "feedback.jsonl").append({"product_id": "1"})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"top": "0"}, "top"),
        ({"top": "101"}, "top"),
        ({"box": "1,2,3"}, "box: write x1,y1,x2,y2"),
        ({"box": "5,5,nan,9"}, "box: write x1,y1,x2,y2"),
        ({"box": "500,500,600,600"}, "lies outside of the photo"),
        ({"box": "5,5,7,20"}, "shows 2 x 15 pixels of the photo; draw it around the garment"),
        ({"garment": "hat"}, "garment"),
        ({"garment": "upper"}, "this server finds none"),
        ({"filters": "articleType = 'x'"}, "write it like"),
        ({"filters": '{"price": {"least": 1}}'}, "write it like"),
        ({"filters": '{"size": ["L"]}'}, "there are articleType, baseColour, price, new"),
    ],
)
def test_a_wrong_field_is_named(
    client: TestClient, shop: Path, fields: dict[str, str], says: str
) -> None:
    answer = search(client, photo_of(shop, "000"), **fields)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert str(shop) not in answer.text


@pytest.mark.parametrize("taste", ['{"never": {"new": [1]}}', '{"prefer": {"price": [true]}}'])
def test_a_taste_for_a_value_of_another_kind_is_told(
    client: TestClient, shop: Path, taste: str
) -> None:
    """To Python, 1 == True; a column holds one of them."""
    answer = search(client, photo_of(shop, "000"), taste=taste)
    assert_problem(answer, 422, "unusable-request")
    assert "has no value" in answer.json()["detail"]


def test_a_filter_of_a_number_that_no_column_holds_finds_nothing(
    client: TestClient, shop: Path
) -> None:
    answer = search(client, photo_of(shop, "000"), filters=f'{{"price": [{10**400}]}}')
    assert (answer.status_code, answer.json()["matches"]) == (200, [])


def test_what_no_route_would_look_at_is_refused(client: TestClient, shop: Path) -> None:
    """Such as the condition of the command line, which would have been ignored."""
    photo = {"photo": photo_of(shop, "003")}
    for answer in (
        client.post("/v1/search", files=photo, data={"where": "price < 3"}),
        client.post("/v1/search?top=2", files=photo),
        client.get("/v1/products?where=price"),
    ):
        assert_problem(answer, 422, "invalid-request")
    told = client.post("/v1/search", files=photo, data={"where": "price < 3"}).json()["detail"]
    assert told.startswith("no field 'where' here; there are box, filters, garment, photo")


def test_of_an_encoder_that_was_not_fitted_to_pairs_no_probability_is_told(
    shop: Path, tmp_path: Path
) -> None:
    place = tmp_path / "catalog"
    words = ["--photos", shop / "photos", "--catalog", place, "--encoder", "colour_histogram"]
    assert infer.main(["index", *map(str, words)]) == 0
    with client_of(tmp_path, checkpoint=str(place / KEPT)) as client:
        found = search(client, photo_of(shop, "003")).json()
    assert found["verdict"] == "ranked by likeness alone"
    assert (found["in_catalog"], found["probability"]) == (None, None)
    told = {(match["probability"], match["likelihood"]) for match in found["matches"]}
    assert (found["matches"][0]["product_id"], told) == ("003", {(None, None)})


def test_queries_that_are_damaged_or_of_another_encoder_are_refused(
    client: TestClient, shop: Path, tmp_path: Path
) -> None:
    token = search(client, photo_of(shop, "000")).json()["query"]
    for wrong in (token[:-6], "x", "!", token + "AAAA", "é", token[:12] + "A" * (len(token) - 12)):
        answer = client.get("/v1/search", params={"query": wrong})
        assert_problem(answer, 422, "damaged-query")
    other = load_checkpoint(save_checkpoint(tmp_path / "other.safetensors", seed=5))
    foreign = query_token(other.embed([picture()])[0].numpy(), other.fingerprint)
    assert_problem(client.get("/v1/search", params={"query": foreign}), 410, "old-query")


def test_a_long_embedding_fits_into_a_link() -> None:
    size, made_by = 12_000, "0" * 16
    direction = np.random.default_rng(0).normal(size=size)
    unit = (direction / np.linalg.norm(direction)).astype(np.float32)
    token = query_token(unit, made_by)
    assert TypeAdapter(Token).validate_python(token) == token
    assert embedding_of(token, made_by, size) @ unit > 0.9999


def test_ids_of_requests_are_taken_over_unless_they_could_harm(client: TestClient) -> None:
    taken = client.get("/health", headers={"X-Request-ID": "a-1.b"}).headers["x-request-id"]
    assert taken == "a-1.b"
    made = client.get("/health", headers={"X-Request-ID": 'a" b'}).headers["x-request-id"]
    assert len(made) == 32


def test_every_answer_has_the_headers_of_safety(client: TestClient) -> None:
    for path in ("/health", "/v1/products", "/nowhere", "/v1/thumbnails/002", "/openapi.json"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "http" not in headers["content-security-policy"]
    assert_problem(client.get("/nowhere"), 404, "not-found")
    assert_problem(client.post("/health"), 405, "method-not-allowed")
    assert client.get("/docs").status_code == 404  # FastAPI's would ask other servers


def test_health_and_metrics_tell_what_is_served(client: TestClient, shop: Path) -> None:
    health = client.get("/health").json()
    assert health["status"] == "ok"
    assert health["products"] == 8
    search(client, photo_of(shop, "000"))
    text = client.get("/metrics").text
    assert "siamese_products 8.0" in text
    assert 'siamese_requests_total{method="POST",route="/v1/search",status="200"}' in text
    assert "siamese_batch_size_count" in text


def test_the_document_of_the_api_has_examples_and_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths = document["paths"]
    for path in ("/v1/search", "/v1/products", "/v1/feedback", "/health", "/metrics"):
        assert path in paths
    refused = paths["/v1/search"]["post"]["responses"]["429"]["content"]
    assert refused["application/problem+json"]["example"]["status"] == 429
    assert document["components"]["schemas"]["MatchOut"]["properties"]["probability"]["examples"]


def test_an_empty_catalog_answers_that_it_has_nothing(shop: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(shop / "model.safetensors")
    copy_of(shop, tmp_path)
    Catalog.create(tmp_path / "empty", checkpoint.fingerprint, checkpoint.embedding_size)
    with client_of(tmp_path, catalog=str(tmp_path / "empty")) as client:
        answer = search(client, picture()).json()
        assert (answer["matches"], answer["considered"]) == ([], 0)
        assert client.get("/v1/products").json() == {"products": [], "total": 0, "next": None}
        assert client.get("/v1/facets").json() == {"facets": [], "total": 0}
