"""Sends rows of the request table to one engine, in order, and records its answers."""

import http.client
import json
import re
import time
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from node.lab.api import SocketConnection
from tests.support.request_table.row import Row

API = "/v1.41"
"""The newest version that both engines speak."""
ANSWER_SECONDS = 30.0
UNTIL_SECONDS = 30.0
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's answer. ``body`` is decoded JSON (a list of lines if it is a stream), else text. ``saved`` are the values known by then."""

    status: int
    content_type: str
    body: Any
    saved: dict[str, str]
    seconds: float = 0.0

    @property
    def message(self) -> str | None:
        """The sentence of an error."""
        return (
            self.body.get("message") if self.status >= http.client.BAD_REQUEST and isinstance(self.body, dict) else None
        )


def replay(socket: Path, rows: Iterable[Row], saved: dict[str, str]) -> list[Answer]:
    """Send all rows to the engine behind the socket. ``saved`` has values to begin with, and gets those that rows save."""
    answers = []
    for row in rows:
        answer = _ask(socket, row, saved)
        for name, path in row.save.items():
            found = value_at(answer.body, path)
            if found is not None:
                saved[name] = str(found)
        answers.append(msgspec.structs.replace(answer, saved=dict(saved)))
    return answers


def value_at(body: Any, path: str) -> Any:
    """The value at a dotted path such as ``0.Status.State``; None if there is none. An empty path is the body itself."""
    for key in path.split(".") if path else ():
        if isinstance(body, list) and key.isdecimal() and int(key) < len(body):
            body = body[int(key)]
        elif isinstance(body, dict):
            body = body.get(key)
        else:
            return None
    return body


def _ask(socket: Path, row: Row, saved: dict[str, str]) -> Answer:
    deadline = time.monotonic() + UNTIL_SECONDS
    while True:
        answer = _send(socket, row, saved)
        reached = row.until is None or value_at(answer.body, row.until[0]) == fill(row.until[1], saved)
        if (reached and not _refresh(socket, row, saved, answer)) or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


def _refresh(socket: Path, row: Row, saved: dict[str, str], answer: Answer) -> bool:
    """Whether an update has to be sent again, because the engine itself changed the object since its version was saved."""
    version = _PLACEHOLDER.fullmatch(str(row.query.get("version", "")))
    if version is None or "out of sequence" not in (answer.message or ""):
        return False
    read = Row(method="GET", path=row.path.removesuffix("/update"))
    saved[version[1]] = str(value_at(_send(socket, read, saved).body, "Version.Index"))
    return True


def _send(socket: Path, row: Row, saved: dict[str, str]) -> Answer:
    connection = SocketConnection(socket, ANSWER_SECONDS)
    headers = {name: fill(value, saved) for name, value in row.headers.items()}
    data = row.raw
    if row.body is not None:
        data = json.dumps(fill(row.body, saved)).encode()
    if data is not None and row.content_type is not None:
        headers["Content-Type"] = row.content_type
    started = time.monotonic()
    try:
        connection.request(row.method, url(row, saved), data, headers)
        response = connection.getresponse()
        body = b"" if response.status == http.client.SWITCHING_PROTOCOLS else response.read()
    except (TimeoutError, http.client.HTTPException, OSError) as error:
        return Answer(status=0, content_type="", body=f"{type(error).__name__}: {error}", saved=saved)
    finally:
        connection.close()
    kind = (response.headers.get("Content-Type") or "").partition(";")[0]
    return Answer(
        status=response.status,
        content_type=kind,
        body=_decode(body),
        saved=saved,
        seconds=time.monotonic() - started,
    )


def url(row: Row, saved: dict[str, str]) -> str:
    """Path and query of the request."""
    path = row.path if row.path.startswith("/v1.") else API + row.path
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.query.items()}
    text = urllib.parse.urlencode(fill(query, saved))
    return fill(path, saved) + (f"?{text}" if text else "")


def fill(value: Any, saved: dict[str, str]) -> Any:
    """The value with every known placeholder replaced."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: saved.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {fill(key, saved): fill(item, saved) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, saved) for item in value]
    return value


def _decode(body: bytes) -> Any:
    text = body.decode(errors="replace")
    try:
        return json.loads(text) if text.strip() else ""
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return text
