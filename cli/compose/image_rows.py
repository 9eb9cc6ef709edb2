"""Rows of ``compose images``. Pure."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cli.format.units import ago, human_size, short_id

_DIGITS = 3
_ZEROS = re.compile(r"(?:\.|(\.\d*?[1-9]))0*Z$")
_SECOND = 10**9
_HEADERS = ("CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED")


def image_row(container: str, name: str, image: Mapping[str, Any]) -> dict[str, Any]:
    """What is printed of a container's image; ``name`` is that of the container's configuration."""
    repository, _, tag = name.partition("@")[0].rpartition(":")
    platform = [str(image[key]) for key in ("Os", "Architecture", "Variant") if image.get(key)]
    return {
        "ID": image["Id"],
        "ContainerName": container,
        "Repository": repository or name,
        "Tag": tag if repository else "latest",
        "Platform": "/".join(platform),
        "Size": image["Size"],
        "Created": _go_moment(str(image.get("Created", ""))),
        "LastTagTime": _go_moment(str((image.get("Metadata") or {}).get("LastTagTime", ""))),
    }


def image_lines(rows: Iterable[Mapping[str, Any]], now_ns: int) -> list[tuple[str, ...]]:
    """The cells of the table, headers first."""
    return [
        _HEADERS,
        *(
            (
                row["ContainerName"],
                row["Repository"],
                row["Tag"],
                row["Platform"],
                short_id(row["ID"]),
                human_size(row["Size"], _DIGITS),
                _created(str(row["Created"]), now_ns),
            )
            for row in rows
        ),
    ]


def _go_moment(stamp: str) -> str:
    """A moment as Go prints it, without zeros at the end of the fraction."""
    return _ZEROS.sub(r"\1Z", stamp)


def _created(stamp: str, now_ns: int) -> str:
    try:
        seconds = datetime.fromisoformat(f"{stamp[:19]}+00:00").timestamp()
    except ValueError:
        return "N/A"
    return ago(int(seconds) * _SECOND, now_ns)
