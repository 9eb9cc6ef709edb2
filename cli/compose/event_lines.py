"""Events of a project's containers as ``events`` prints them. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cli.compose import labels


def event_document(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as Compose's JSON has it: without Compose's own labels."""
    attributes = event["Actor"]["Attributes"]
    return {
        "time": _moment(event),
        "type": "container",
        "service": attributes.get(labels.SERVICE, ""),
        "id": event["Actor"]["ID"],
        "action": event["Action"],
        "attributes": _own(attributes),
    }


def event_line(event: Mapping[str, Any]) -> str:
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(_own(event["Actor"]["Attributes"]).items()))
    stamp = _moment(event).replace("T", " ").removesuffix("Z")
    return f"{stamp} container {event['Action']} {event['Actor']['ID']} ({attributes})"


def _own(attributes: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in attributes.items() if not key.startswith(f"{labels.PREFIX}.")}


def _moment(event: Mapping[str, Any]) -> str:
    seconds, rest = divmod(int(event["timeNano"]), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
