"""Event history on disk: this host's last events, which survive the daemon.

Invariant: two files of at most ``SEGMENT_BYTES``; the older one is dropped when the newer one is full. Each line is one event, and a line
that a crash has torn is skipped. Blocking: call it from a thread.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

log = logging.getLogger(__name__)

SEGMENT_BYTES = 1 << 20


class EventHistory:
    """The files in one directory. One writer at a time."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._current, self._previous = folder / "events.jsonl", folder / "events.1.jsonl"
        self._segment_bytes = segment_bytes

    def append(self, events: Sequence[dict[str, Any]]) -> None:
        """Add events, oldest first. OSError if the disk does not take them; none of them is in the history then, or some are."""
        self._current.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = self._current.stat().st_size if self._current.exists() else 0
        batch = bytearray()
        for event in events:
            line = msgspec.json.encode(event) + b"\n"
            if size and size + len(batch) + len(line) > self._segment_bytes:
                self._write(batch)
                self._current.replace(self._previous)
                batch, size = bytearray(), 0
            batch += line
        self._write(batch)

    def read(self, since_ns: int) -> list[dict[str, Any]]:
        """Events at or after this time, ordered by time."""
        found = [
            event for path in (self._previous, self._current) for event in _lines(path) if event["timeNano"] >= since_ns
        ]
        return sorted(found, key=lambda event: int(event["timeNano"]))

    def _write(self, lines: bytearray) -> None:
        """Append whole lines. After a torn line a new one begins, so that only the torn one is lost."""
        with self._current.open("ab+") as file:
            end = file.seek(0, 2)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    lines[:0] = b"\n"
            file.write(lines)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("the event history cannot be read: %s", error)
        return
    for line in data.splitlines():
        try:
            event = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(event, dict) and isinstance(event.get("timeNano"), int) and isinstance(event.get("Actor"), dict):
            yield event
