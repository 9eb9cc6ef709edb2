"""Pull and push with progress: one line for each layer on a terminal, plain lines elsewhere."""

from collections.abc import Mapping
from typing import Any

import click

from cli.client import DaemonClient, path_segment
from cli.parse.platform import platform_fields, platform_text
from cli.registry.credentials import CredentialStore
from cli.registry.reference import Reference
from cli.terminal.transfer_output import show_messages


def pull(
    daemon: DaemonClient,
    image: Reference,
    *,
    platform: str = "",
    all_tags: bool = False,
    quiet: bool = False,
    err: bool = False,
) -> None:
    """Pull an image, or all tags of its repository. ``err`` prints the progress on stderr, as ``run`` does."""
    tag = "" if all_tags else image.digest or image.tag or "latest"
    query = {"fromImage": image.name, "tag": tag, "platform": platform_text(platform)}
    headers = CredentialStore().header(image.credentials_key)
    show_messages(daemon.lines("POST", "/images/create", query, headers=headers), quiet=quiet, err=err)


def push(
    daemon: DaemonClient, image: Reference, *, platform: str = "", all_tags: bool = False, quiet: bool = False
) -> None:
    """Push a tag, or all tags of a repository."""
    query: Mapping[str, Any] = {
        "tag": "" if all_tags else image.tag or "latest",
        "platform": platform_fields(platform),
    }
    headers = CredentialStore().header(image.credentials_key)
    path = f"/images/{path_segment(image.name)}/push"
    show_messages(daemon.lines("POST", path, query, headers=headers), quiet=quiet)


def note_missing(image: Reference) -> None:
    """Say that an image is pulled because it is not here."""
    name = image.familiar if image.tag or image.digest else f"{image.familiar}:latest"
    click.echo(f"Unable to find image '{name}' locally", err=True)
