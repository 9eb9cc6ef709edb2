"""``covey swarm unlock`` and ``swarm unlock-key``: unlock a locked manager, show and rotate the unlock key."""

import sys
from typing import Any

import click

from cli import options
from cli.command import command, option
from covey.errors import ConflictError

_NOT_LOCKED = "swarm is not locked"


@command("unlock-key")
@option("-q", "--quiet", is_flag=True, help="Only display key")
@option("--rotate", is_flag=True, help="Rotate unlock key")
def unlock_key(quiet: bool, rotate: bool) -> None:
    """Manage the unlock key."""
    daemon = options.client()
    if rotate:
        cluster = daemon.get("/swarm")
        if not autolock_enabled(cluster["Spec"]):
            raise ConflictError("cannot rotate because autolock is not turned on")
        query = {"version": cluster["Version"]["Index"], "rotateManagerUnlockKey": "true"}
        daemon.post("/swarm/update", query, cluster["Spec"])
        if not quiet:
            click.echo("Successfully rotated manager unlock key.\n")
    print_unlock_key(daemon, quiet=quiet)


@command()
def unlock() -> None:
    """Unlock a manager.

    The key is read from the terminal, or from STDIN.
    """
    daemon = options.client()
    state = (daemon.get("/info").get("Swarm") or {}).get("LocalNodeState")
    if state == "inactive":
        raise ConflictError("This node is not part of a swarm")
    if state != "locked":
        raise ConflictError(_NOT_LOCKED)
    asked = sys.stdin.isatty()
    key = click.prompt("Enter unlock key", hide_input=True) if asked else sys.stdin.readline().strip()
    daemon.post("/swarm/unlock", body={"UnlockKey": key})


def autolock_enabled(spec: dict[str, Any]) -> bool:
    """Whether managers need the unlock key after a restart."""
    return bool((spec.get("EncryptionConfig") or {}).get("AutoLockManagers"))


def print_unlock_key(daemon: Any, *, quiet: bool = False) -> None:
    """Print the unlock key with instructions.

    Raises:
        ConflictError: no unlock key is set.
    """
    key = daemon.get("/swarm/unlockkey")["UnlockKey"]
    if not key:
        raise ConflictError("no unlock key is set")
    if quiet:
        click.echo(key)
        return
    click.echo(
        f"To unlock a swarm manager after it restarts, run `covey swarm unlock` and enter this key:\n\n    {key}\n"
    )
    click.echo("Store the key outside of this swarm: without it a manager cannot be used again after a restart.")
