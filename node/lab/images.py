"""Loading of images on the hosts of a lab, from an archive or from a host that has the image."""

import http.client
import json
import tempfile
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from covey.errors import CoveyError, NotFoundError
from node.lab.api import SocketConnection, call
from node.lab.layout import LabHost

TRANSFER_SECONDS = 600.0
CHUNK_BYTES = 1 << 20


def load(image: str, sources: Sequence[LabHost], targets: Sequence[LabHost]) -> Iterator[tuple[LabHost, str]]:
    """Load the archive `image`, or the image of this name that a source has, on the targets. Yields each host with the result.

    Raises:
        NotFoundError: it is neither a file nor an image of a source. CoveyError: a host refused; the message is its own.
    """
    if Path(image).is_file():
        with Path(image).open("rb") as archive:
            yield from _load_on_all(archive, targets)
        return
    source = _host_with(image, sources)
    with tempfile.TemporaryFile() as archive:
        _save(source, image, archive)
        yield from _load_on_all(archive, [host for host in targets if host != source])


def _host_with(image: str, hosts: Sequence[LabHost]) -> LabHost:
    for host in hosts:
        try:
            call(host.socket, "GET", f"/images/{urllib.parse.quote(image, safe='')}/json")
        except (CoveyError, OSError):
            continue
        return host
    raise NotFoundError(f"{image} is neither a file nor an image of a host of this lab")


def _save(host: LabHost, image: str, target: BinaryIO) -> None:
    connection = SocketConnection(host.socket, TRANSFER_SECONDS)
    try:
        connection.request("GET", f"/images/get?names={urllib.parse.quote(image, safe='')}")
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise CoveyError(f"{host.name}: {_message(answer.read())}")
        while chunk := answer.read(CHUNK_BYTES):
            target.write(chunk)
    finally:
        connection.close()


def _load_on_all(archive: BinaryIO, hosts: Sequence[LabHost]) -> Iterator[tuple[LabHost, str]]:
    for host in hosts:
        archive.seek(0)
        connection = SocketConnection(host.socket, TRANSFER_SECONDS)
        try:
            connection.request("POST", "/images/load?quiet=1", archive, {"Content-Type": "application/x-tar"})
            answer = connection.getresponse()
            lines = [json.loads(line) for line in answer.read().splitlines() if line.strip()]
        finally:
            connection.close()
        error = next((line.get("error") or line.get("message") for line in lines if "stream" not in line), None)
        if error or answer.status != http.client.OK:
            raise CoveyError(f"{host.name}: {error or answer.reason}")
        yield host, "".join(line["stream"] for line in lines).strip()


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
