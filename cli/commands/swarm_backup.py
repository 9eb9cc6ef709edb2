"""``covey swarm backup``, ``restore`` and ``reconnect``: disaster recovery of a swarm.

Invariant: a backup file gets its final name only after it is complete, verified and synced to disk, and after its key is saved.
Nothing is written unencrypted.
"""

import contextlib
import datetime as dt
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from cli import options
from cli.client import UnreachableError
from cli.command import command, option
from cli.http_connection import MalformedResponseError, Response
from covey import backup_format as backup_file
from covey.errors import CoveyError, InvalidArgumentError

KEY_HEADER = "Covey-Backup-Key"
_MAX_KEY_BYTES = 256
_ANSWER_SECONDS = 120.0


@command()
@click.argument("file", metavar="file|-")
@option("--inspect", is_flag=True, help="Show the content of a backup file instead; needs no key")
@option("--key-file", type=Path, metavar="string", help="File with the key; created if it does not exist")
@option("--own-key", is_flag=True, help="Generate a key for this backup instead of using the unlock key")
@option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="Output format of --inspect")
@option("-q", "--quiet", is_flag=True, help="Only display a generated key")
def backup(*, file: str, inspect: bool, key_file: Path | None, own_key: bool, form: str, quiet: bool) -> None:
    """Back up the swarm to an encrypted file.

    The key is the one in --key-file, else the unlock key if autolock is on, else a new key that is shown once. Store the key apart from
    the file.
    """
    if inspect:
        _print_backup_info(file, form)
        return
    key = _read_key(key_file) if key_file is not None and key_file.exists() else ""
    headers = {KEY_HEADER: key} if key else {}
    query = {"ownKey": own_key or key_file is not None}
    with options.client().open("GET", "/covey/swarm/backup", query, headers=headers) as answer:
        made = answer.headers.get(KEY_HEADER.lower(), "")
        if file == "-":
            _copy(answer, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            head = None
        else:
            head = _write_backup(Path(file), answer, lambda: _write_key(key_file, made))
    if file == "-":
        _write_key(key_file, made)
    if made and key_file is None:
        click.echo(
            f"The key of this backup is shown only once; store it apart from the file:\n\n    {made}\n", err=file == "-"
        )
    if not quiet and head is not None:
        click.echo(f"Wrote {file}: {_backup_summary(head)}.")


@command()
@click.argument("file", metavar="FILE", type=Path)
@option("--key-file", type=Path, metavar="string", help="File with the key (default: ask, or read STDIN)")
@option("--advertise-addr", default="", help="Advertised address (format: <ip|interface>)")
@option("--listen-addr", default="", help="Listen address (format: <ip|interface>)")
def restore(*, file: Path, key_file: Path | None, advertise_addr: str, listen_addr: str) -> None:
    """Restore a swarm from a backup on this node.

    This node becomes the only manager. It must not be part of a swarm. Restore only after the old swarm is gone: otherwise both swarms
    would claim the same nodes.
    """
    with _open_seekable(file) as opened:
        head = backup_file.verify_file(opened)
        key_kind = "unlock key of the cluster" if head.unlock_key else "key of the backup"
        key = _read_key(key_file) if key_file is not None else _ask_key(key_kind)
        query = {"advertiseAddr": advertise_addr, "listenAddr": listen_addr}
        daemon = options.client()
        with daemon.open(
            "POST", "/covey/swarm/restore", query, stream=opened, headers={KEY_HEADER: key}, seconds=_ANSWER_SECONDS
        ) as answer:
            node = json.loads(answer.read())
    click.echo(f"Swarm restored: current node ({node}) is now the only manager of {_backup_summary(head)}.\n")
    click.echo(
        "Other nodes reconnect by themselves if this address belonged to a manager before. Otherwise run on each of them:\n"
    )
    click.echo(f"    covey swarm reconnect {_node_address(daemon)}\n")


@command()
@click.argument("remotes", nargs=-1, required=True, metavar="HOST[:PORT] [HOST[:PORT]...]")
def reconnect(remotes: tuple[str, ...]) -> None:
    """Give this node the new addresses of the managers.

    Use it when the addresses of all managers have changed. The node keeps its identity and its tasks.
    """
    options.client().post("/covey/swarm/reconnect", body={"RemoteAddrs": list(remotes)})
    click.echo("This node connects to the managers at these addresses.")


def _write_backup(path: Path, answer: Response, keep_key: Any) -> backup_file.BackupHeader:
    """Write the response to a file that appears only when it is complete."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidArgumentError(f"cannot write {fresh}: {error.strerror}") from error
    try:
        with open(fd, "w+b") as file:  # noqa: PTH123 - a descriptor with its mode
            _copy(answer, file)
            file.seek(0)
            head = backup_file.verify_file(file)
            os.fsync(file.fileno())
        keep_key()
        fresh.rename(path)
    except OSError as error:
        raise InvalidArgumentError(f"cannot write {path}: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)
    return head


def _copy(answer: Any, file: IO[bytes]) -> None:
    while chunk := _read_chunk(answer):
        file.write(chunk)


def _read_chunk(answer: Any) -> bytes:
    try:
        return bytes(answer.read1())
    except (OSError, MalformedResponseError) as error:
        raise UnreachableError("the daemon aborted the backup: see its log, then try again") from error


def _write_key(path: Path | None, key: str) -> None:
    """Write a new key to its file, readable by the owner only."""
    if path is None or not key:
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:  # noqa: PTH123 - a descriptor with its mode
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InvalidArgumentError(f"cannot write the key to {path}: {error.strerror}") from error


def _read_key(path: Path) -> str:
    try:
        with path.open("rb") as file:
            key = file.read(_MAX_KEY_BYTES).decode(errors="replace").strip()
    except OSError as error:
        raise InvalidArgumentError(f"cannot read the key from {path}: {error.strerror}") from error
    if not key:
        raise InvalidArgumentError(f"{path} is empty: it must contain a key")
    return key


def _ask_key(kind: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Please enter the {kind}", hide_input=True)).strip()
    key = sys.stdin.readline(_MAX_KEY_BYTES).strip()
    if not key:
        raise InvalidArgumentError(f"no {kind} on STDIN: give it there or with --key-file")
    return key


def _print_backup_info(file: str, form: str) -> None:
    with _open_seekable(Path(file)) as opened:
        head = backup_file.verify_file(opened)
    if form == "json":
        fields = {
            name: getattr(head, name)
            for name in ("cluster_id", "cluster_name", "created_at_ns", "version", "objects", "size", "unlock_key")
        }
        click.echo(msgspec.json.format(msgspec.json.encode(fields)).decode())
        return
    click.echo(f"Cluster:  {head.cluster_name} ({head.cluster_id})")
    click.echo(f"Taken:    {_created_at(head)}, at version {head.version}")
    click.echo(f"Content:  {', '.join(f'{count} {kind}' for kind, count in head.objects.items() if count)}")
    click.echo(
        f"Key:      {'the unlock key of the swarm at that time' if head.unlock_key else 'its own key (COVEYBK-1-…)'}"
    )


@contextlib.contextmanager
def _open_seekable(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            if not file.seekable():
                raise InvalidArgumentError(f"{path} must be a file, not a pipe, because it is read twice")
            yield file
    except OSError as error:
        if isinstance(error, io.UnsupportedOperation) or error.filename is None:
            raise
        raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error


def _backup_summary(head: backup_file.BackupHeader) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in head.objects.items() if count and kind != "clusters")
    return f"cluster {head.cluster_name} ({head.cluster_id}) as of {_created_at(head)}, with {counts}"


def _created_at(head: backup_file.BackupHeader) -> str:
    return f"{dt.datetime.fromtimestamp(head.created_at_ns / 1e9, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _node_address(daemon: Any) -> str:
    with contextlib.suppress(CoveyError):
        return str((daemon.get("/info").get("Swarm") or {}).get("NodeAddr") or "ADDRESS")
    return "ADDRESS"
