"""Engine API client of one manager that records each operation and its known outcome.

Invariant: an error counts as "nothing was done" only if its message promises that. Any other error, or no answer, is UNKNOWN. So the
checker tests those messages, too.
"""

import http.client
import itertools
import json
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

from node.lab.api import SocketConnection
from tests.linear.history import Kind, Op, Outcome

SECONDS = 5.0
DATA = "eA=="
LABEL = "w"
NOT_SENT = (ConnectionRefusedError, FileNotFoundError)
NOTHING_DONE = (
    "The swarm does not have a leader.",
    "this node's manager does not answer",
    "this manager does not lead the cluster",
    "This node is not a swarm manager",
    "other writes changed the same objects again and again",
    "etcd refuses writes, its database is full",
)
STALE = "update out of sequence"


class History:
    """Operations of all clients of a run. Thread-safe."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def number(self) -> int:
        return next(self._numbers)

    def add(self, *ops: Op) -> None:
        with self._lock:
            self.ops += ops

    def acknowledged(self) -> int:
        with self._lock:
            return sum(op.outcome is Outcome.DONE for op in self.ops)


class Client:
    """Reads and writes configs; the key is the config's name. ``seen`` has the value and version last read of each."""

    def __init__(self, name: str, socket: Path, history: History) -> None:
        self.name = name
        self.seen: dict[str, tuple[str, int]] = {}
        self._socket = socket
        self._history = history

    def read(self, key: str) -> Outcome:
        called = time.monotonic_ns()
        status, answer = self._call("GET", f"/configs/{key}")
        op = self._op(key, Kind.READ, called)
        if status == http.client.OK:
            return self._record(self._found(op, answer))
        outcome = Outcome.ABSENT if status == http.client.NOT_FOUND else Outcome.NOTHING
        return self._record(_with(op, outcome=outcome, message=_message(answer)))

    def read_all(self, keys: list[str], seconds: float = SECONDS) -> bool:
        """Record one list as a read of each key: a linearizable list is linearizable for each key."""
        called = time.monotonic_ns()
        status, answer = self._call("GET", "/configs", seconds=seconds)
        if status != http.client.OK:
            return False
        found = {item["Spec"]["Name"]: item for item in answer}
        for key in keys:
            op = self._op(key, Kind.READ, called)
            self._record(self._found(op, found[key]) if key in found else _with(op, outcome=Outcome.ABSENT))
        return True

    def create(self, key: str) -> Outcome:
        number = self._history.number()
        body = {"Name": key, "Data": DATA, "Labels": {LABEL: f"{self.name}.{number}"}}
        called = time.monotonic_ns()
        status, answer = self._call("POST", "/configs/create", body)
        op = self._op(key, Kind.CREATE, called, number, value=f"{self.name}.{number}")
        return self._record_write(op, status, answer)

    def update(self, key: str) -> Outcome:
        """Update from the version that this client read last, however old it is."""
        expected, version = self.seen[key]
        number = self._history.number()
        body = {"Name": key, "Labels": {LABEL: f"{self.name}.{number}"}}
        called = time.monotonic_ns()
        status, answer = self._call("POST", f"/configs/{key}/update?version={version}", body)
        value = f"{self.name}.{number}"
        op = self._op(key, Kind.UPDATE, called, number, value=value, expected=expected, version=version)
        return self._record_write(op, status, answer)

    def remove(self, key: str) -> Outcome:
        called = time.monotonic_ns()
        status, answer = self._call("DELETE", f"/configs/{key}")
        return self._record_write(self._op(key, Kind.REMOVE, called), status, answer)

    def _op(self, key: str, kind: Kind, called: int, number: int = 0, **more: Any) -> Op:
        return Op(
            id=number or self._history.number(),
            client=self.name,
            key=key,
            kind=kind,
            outcome=Outcome.UNKNOWN,
            called=called,
            returned=time.monotonic_ns(),
            **more,
        )

    def _found(self, op: Op, item: dict[str, Any]) -> Op:
        value, version = item["Spec"]["Labels"][LABEL], item["Version"]["Index"]
        self.seen[op.key] = (value, version)
        return _with(op, outcome=Outcome.FOUND, value=value, version=version)

    def _record_write(self, op: Op, status: int, answer: Any) -> Outcome:
        outcome = outcome_of_write(op.kind, status, _message(answer))
        return self._record(_with(op, outcome=outcome, message="" if outcome is Outcome.DONE else _message(answer)))

    def _record(self, op: Op) -> Outcome:
        self._history.add(op)
        return op.outcome

    def _call(self, method: str, url: str, body: object = None, seconds: float = SECONDS) -> tuple[int, Any]:
        """HTTP status and answer. The status is 0 if the call was certainly not sent, -1 if there was no answer."""
        connection = SocketConnection(self._socket, seconds)
        try:
            connection.connect()
        except NOT_SENT as error:
            return 0, str(error)
        except OSError as error:
            return -1, str(error)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, urllib.parse.quote(url, safe="/?=&"), data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text.strip() else ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            return -1, f"{type(error).__name__} {error}"
        finally:
            connection.close()


def outcome_of_write(kind: Kind, status: int, words: str) -> Outcome:
    """Outcome of a write that the client knows after this answer. Pure."""
    if 200 <= status < 300:
        return Outcome.DONE
    if status == 0 or (status >= 500 and words.startswith(NOTHING_DONE)):
        return Outcome.NOTHING
    if status == http.client.NOT_FOUND:
        return Outcome.ABSENT
    if status == http.client.CONFLICT and kind is Kind.CREATE:
        return Outcome.EXISTS
    if STALE in words and kind is Kind.UPDATE:
        return Outcome.STALE
    return Outcome.NOTHING if 400 <= status < 500 else Outcome.UNKNOWN


def _with(op: Op, **changes: Any) -> Op:
    return Op(**{name: getattr(op, name) for name in op.__struct_fields__} | changes)


def _message(answer: Any) -> str:
    return str(answer.get("message", "")) if isinstance(answer, dict) else str(answer)
