"""Answers of Prometheus: numbers, and everything that is none."""

from __future__ import annotations

import json

import pytest

from covey.errors import UnavailableError
from manager.autoscale.prometheus import parse_answer, query_value

URL = "http://p:9090"


def answer(kind: str, result: object, **more: object) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def test_a_scalar_and_a_vector_of_one_element_are_a_number() -> None:
    assert parse_answer(URL, 200, answer("scalar", [1, "2.5"], warnings=["x"])) == 2.5
    assert parse_answer(URL, 200, answer("vector", [{"metric": {}, "value": [1, "7"]}])) == 7


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, answer("vector", []), "gives 0 values instead of one"),
        (200, answer("vector", [{"value": [1, "1"]}] * 2), "gives 2 values instead of one; sum or select them"),
        (200, answer("matrix", []), "a matrix of another form"),
        (200, answer("scalar", "x"), "a scalar of another form"),
        (200, answer("scalar", [1, "NaN"]), "is nan, which is no load"),
        (200, answer("scalar", [1, "-1"]), "is -1, which is no load"),
        (400, b'{"status":"error","error":"parse error: unexpected end"}', "refused the query: parse error"),
        (502, b"<html>", "status 502 and no JSON of its API"),
        (200, b"[]", "no JSON of its API"),
        (200, b'{"status":"success"}', "refused the query: 200"),
    ],
)
def test_what_is_no_number_is_told(status: int, body: bytes, words: str) -> None:
    with pytest.raises(UnavailableError, match=words):
        parse_answer(URL, status, body)


async def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(UnavailableError, match="cannot be asked"):
        await query_value("http://127.0.0.1:1", "up")
