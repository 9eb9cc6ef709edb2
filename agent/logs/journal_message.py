"""Messages of log entries in the journal's native protocol. Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import NamedTuple

from agent.logs.entry import LogEntry

_ERROR, _INFORMATION = b"3", b"6"
_LENGTH = struct.Struct("<Q")


class JournalFields(NamedTuple):
    """What the messages of one container have in common: fields by name."""

    fields: Mapping[str, str]


def container_fields(
    container_id: str, name: str, image: str, tag: str, attributes: Mapping[str, str]
) -> JournalFields:
    """The fields that Docker's driver writes; attributes get valid names, in capitals."""
    return JournalFields(
        {
            **{_field_name(key): value for key, value in attributes.items() if key != "tag" and _field_name(key)},
            "CONTAINER_ID": container_id[:12],
            "CONTAINER_ID_FULL": container_id,
            "CONTAINER_NAME": name,
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": image,
            "SYSLOG_IDENTIFIER": tag,
        }
    )


def encode(entry: LogEntry, common: JournalFields) -> bytes:
    """One datagram."""
    priority = _ERROR if entry.stream == "stderr" else _INFORMATION
    parts = [_field(b"MESSAGE", entry.data.removesuffix(b"\n")), _field(b"PRIORITY", priority)]
    parts += [_field(name.encode(), value.encode()) for name, value in common.fields.items()]
    return b"".join(parts)


def _field(name: bytes, value: bytes) -> bytes:
    """A value with a newline has its length before it."""
    if b"\n" in value:
        return name + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
    return name + b"=" + value + b"\n"


def _field_name(text: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", text.upper()).lstrip("_0123456789")[:64]
