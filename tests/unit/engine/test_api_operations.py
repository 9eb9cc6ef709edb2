"""Every operation of the specification is served, or answers 501 with a sentence and is listed with its reason in the documentation."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api_daemon import Daemon, running
from tests.support.api_operations import OPERATIONS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
ROW = re.compile(r"^\| `(?P<method>[A-Z]+) (?P<path>/\S*)` \| (?P<reason>.+?) \|$", re.MULTILINE)
QUERIES = {
    "/events": {"until": "1"},
    "/images/search": {"term": "127.0.0.1:1/missing"},
    "/images/create": {"fromImage": "127.0.0.1:1/missing"},
}
"""Parameters without which an answer would not end, or would come from a registry elsewhere."""
REGISTRY_PATHS = {"/distribution/{name}/json": "/distribution/127.0.0.1:1/missing/json"}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


def unserved() -> dict[tuple[str, str], str]:
    """The requests that the page lists as not served, with their reasons."""
    section = PAGE.read_text().partition("## Requests that are not served")[2]
    return {(found["method"], found["path"]): found["reason"] for found in ROW.finditer(section)}


async def test_every_operation_is_served_or_refused_with_a_sentence_and_a_reason(daemon: Daemon) -> None:
    refused = set()
    async with daemon.session() as session:
        for method, path in OPERATIONS:
            url = "/v1.50" + REGISTRY_PATHS.get(path, path).replace("{id}", "missing").replace("{name}", "missing")
            async with session.request(method, url, params=QUERIES.get(path)) as response:
                body = await response.read()
                assert response.status != 404 or b"page not found" not in body, f"{method} {path} has no route"
                assert response.status != 500 or b"connection refused" in body, (method, path, body)
            if response.status == 501:
                assert method == "HEAD" or len((await response.json())["message"].split()) > 4, (method, path)
                refused.add((method, path))
    assert refused == set(unserved()) & set(OPERATIONS), "docs/compatibility.md lists what is not served"


def test_every_request_that_the_page_lists_has_a_reason() -> None:
    assert unserved()
    assert all(len(reason.split()) > 4 for reason in unserved().values())
