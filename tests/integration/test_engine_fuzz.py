"""Wrong requests to the Engine API: no internal error, no hang, and the daemon serves afterwards.

Every value of every request of the request table is replaced by values of every type; names, queries and bytes are wrong too. The requests
are always the same ones, and hypothesis adds its own from a fixed seed.
"""

import http.client
import json
import re
import socket
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.lab.api import SocketConnection
from node.lab.image import root_file_system
from tests.support import api_fuzz
from tests.support.api_daemon import Daemon
from tests.support.api_fuzz import FuzzRequest
from tests.support.api_operations import OPERATIONS
from tests.support.background_daemon import background_daemon
from tests.support.request_table.bad_input import BODIES
from tests.support.request_table.row import Row

pytestmark = pytest.mark.root

ANSWER_SECONDS = 10.0
DOCKERS_OWN = re.compile("out of sequence|connection refused|no such host|client version")
"""Messages to which Docker itself gives the status 500."""
LEAKS = re.compile(r"internal error|Traceback|object has no attribute|NoneType|KeyError|TypeError|ValueError")
SAVED = {"image": f"sha256:{'a' * 64}", "address": "192.0.2.1", "version": "1", "node_version": "1"}
BODY_PATHS = sorted({(row.method, row.path) for row in api_fuzz.seeds(SAVED) if row.body is not None})
ENDLESS = {"/events", "/containers/{id}/attach/ws"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with background_daemon(tmp_path_factory.mktemp("fuzz")) as found:
        query = urllib.parse.urlencode({"fromSrc": "-", "repo": "covey-test", "tag": "1"})
        tar = root_file_system()
        status, text = answer(found.socket, "POST", f"/images/create?{query}", tar)
        assert (status, "error" in text) == (http.client.OK, False), text
        yield found


@pytest.fixture(scope="module")
def seeds(daemon: Daemon) -> list[Row]:
    """The requests to change. What they refer to exists, so that they are refused only for what was changed."""
    saved = {**SAVED, "node": daemon.node.node_id}
    for kind, name, body, key in (
        ("networks", "net", {"Name": "fuzz", "Driver": "overlay"}, "Id"),
        ("secrets", "secret", {"Name": "fuzz", "Data": "YQ=="}, "ID"),
        ("configs", "config", {"Name": "fuzz", "Data": "YQ=="}, "ID"),
    ):
        status, text = answer(daemon.socket, "POST", f"/{kind}/create", json.dumps(body).encode())
        assert status == http.client.CREATED, text
        saved[name] = json.loads(text)[key]
    return api_fuzz.seeds(saved)


@pytest.fixture(autouse=True)
def _serves_afterwards(daemon: Daemon) -> Iterator[None]:
    yield
    for path in ("/_ping", "/info", "/services", "/containers/json?all=1", "/images/json", "/volumes", "/networks"):
        assert answer(daemon.socket, "GET", path)[0] == http.client.OK, path


def answer(path: Path, method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and text of an answer. Raises TimeoutError if none comes."""
    connection = SocketConnection(path, ANSWER_SECONDS)
    try:
        connection.putrequest(method, url.replace(" ", "%20"), skip_accept_encoding=True)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        upgraded = response.status == http.client.SWITCHING_PROTOCOLS
        return response.status, "" if upgraded else response.read().decode(errors="replace")
    finally:
        connection.close()


def refused_or_served(daemon: Daemon, request: FuzzRequest) -> str:
    """What is wrong with the daemon's answer; empty if nothing is."""
    body = None if request.body is None else json.dumps(request.body).encode()
    try:
        status, text = answer(daemon.socket, request.method, "/v1.50" + request.url, body)
    except (TimeoutError, http.client.HTTPException, OSError) as error:
        return f"{request.method} {request.url[:80]}: {request.what}: {type(error).__name__} {error}"
    if (status == http.client.INTERNAL_SERVER_ERROR and not DOCKERS_OWN.search(text)) or LEAKS.search(text):
        return f"{request.method} {request.url[:80]}: {request.what}: {status} {text[:200]}"
    if status == http.client.CREATED:
        kind, created = request.url.split("/")[1], json.loads(text) if text else {}
        answer(daemon.socket, "DELETE", f"/{kind}/{created.get('Id') or created.get('ID')}?force=1&v=1")
    return ""


def check_all(daemon: Daemon, requests: Iterable[FuzzRequest]) -> None:
    wrong, count = [], 0
    for request in requests:
        count += 1
        found = refused_or_served(daemon, request)
        if found:
            wrong.append(found)
    assert not wrong, f"{len(wrong)} of {count} requests:\n" + "\n".join(wrong[:40])
    assert count


def test_a_wrong_value_anywhere_in_a_body_is_no_internal_error(daemon: Daemon, seeds: list[Row]) -> None:
    check_all(daemon, api_fuzz.wrong_bodies(seeds))


def test_a_wrong_value_anywhere_in_a_query_is_no_internal_error(daemon: Daemon, seeds: list[Row]) -> None:
    check_all(daemon, (one for one in api_fuzz.wrong_queries(seeds) if not one.url.startswith("/events")))


def test_odd_names_are_not_found_or_refused(daemon: Daemon) -> None:
    check_all(daemon, api_fuzz.wrong_names(tuple(one for one in OPERATIONS if one[1] not in ENDLESS)))


def test_bytes_that_are_no_json_are_refused(daemon: Daemon) -> None:
    for method, path in BODY_PATHS:
        url = "/v1.50" + api_fuzz.url(path, {"version": "1"})
        for note, body in BODIES:
            status, text = answer(daemon.socket, method, url, body)
            assert status != http.client.INTERNAL_SERVER_ERROR or DOCKERS_OWN.search(text), (path, note, text)
            assert not LEAKS.search(text), (path, note, text)


JSON = st.recursive(
    st.sampled_from(api_fuzz.ODD_VALUES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Name", "Labels", "Spec", "HostConfig", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def several_mistakes(draw: st.DrawFn, seeds: list[Row]) -> FuzzRequest:
    """A request of the table with two or three wrong values, or an arbitrary body."""
    row = draw(st.sampled_from([row for row in seeds if row.body is not None]))
    body: Any = row.body
    for _ in range(draw(st.integers(0, 3))):
        found = list(api_fuzz.places(body))
        if found:
            body = api_fuzz.replaced(body, draw(st.sampled_from(found)), draw(JSON))
    return FuzzRequest(row.method, api_fuzz.url(row.path, row.query), draw(st.just(body) | JSON), "several")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_several_mistakes_at_once_are_no_internal_error(daemon: Daemon, seeds: list[Row], data: st.DataObject) -> None:
    request = data.draw(several_mistakes(seeds))
    assert refused_or_served(daemon, request) == "", request


RAW: tuple[tuple[str, bytes], ...] = (
    ("an enormous header", b"GET /info HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n"),
    (
        "very many headers",
        b"GET /info HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(20_000)) + b"\r\n",
    ),
    ("an enormous path", b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("no request line", b"\r\n\r\n\r\n"),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS hello\r\n\r\n"),
    ("an unknown version", b"GET /info HTTP/9.9\r\nHost: x\r\n\r\n"),
    ("an unknown method", b"BREW /info HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a negative length", b"POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}"),
    ("two lengths", b"POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    ("a length that is none", b"POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n{}"),
    ("broken chunks", b"POST /volumes/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    (
        "a length beside chunks",
        b"POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a NUL in a header", b"GET /info HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n"),
    ("a folded header", b"GET /info HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n"),
    ("a bad escape in the path", b"GET /containers/%zz/json HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("bytes in the path", b"GET /containers/\xff\xfe/json HTTP/1.1\r\nHost: x\r\n\r\n"),
)


@pytest.mark.parametrize(("what", "data"), RAW, ids=[what for what, _ in RAW])
def test_a_broken_request_is_refused_or_ends_the_connection(daemon: Daemon, what: str, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_SECONDS)
        client.connect(str(daemon.socket))
        received = b""
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(1 << 16):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert not received.startswith(b"HTTP/1.1 500"), received[:300]
