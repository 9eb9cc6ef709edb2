"""``covey`` commands that speak with registries through the daemon: pull, push, login, logout, search."""

import getpass
import sys
from typing import Any

import click

from cli import options, output
from cli.command import command, option
from cli.completion import complete
from cli.format.table import truncate
from cli.registry.credentials import CredentialStore, encode
from cli.registry.reference import HUB_KEY, Reference, parse_reference, registry_key
from covey.errors import CoveyError, InvalidArgumentError

_TRUST = option(
    "--disable-content-trust/--no-disable-content-trust", default=True, negation=False, help="Skip image verification"
)
SEARCH_HEADERS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
SEARCH_TABLE = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
DESCRIPTION_LENGTH = 45
MAX_PASSWORD_BYTES = 1 << 16


@command()
@click.argument("name", metavar="NAME[:TAG|@DIGEST]", shell_complete=complete("image"))
@option("-a", "--all-tags", is_flag=True, help="Download all tagged images in the repository")
@_TRUST
@option("--platform", default="", help="Set platform if server is multi-platform capable")
@option("-q", "--quiet", is_flag=True, help="Suppress verbose output")
def pull(*, name: str, all_tags: bool, disable_content_trust: bool, platform: str, quiet: bool) -> None:
    """Download an image from a registry."""
    from cli.registry import transfer

    _refuse_trust(skip=disable_content_trust)
    image = parse_reference(name)
    if all_tags and (image.tag or image.digest):
        raise InvalidArgumentError("tag can't be used with --all-tags/-a")
    if not all_tags and not image.tag and not image.digest:
        image = image._replace(tag="latest")
        if not quiet:
            click.echo("Using default tag: latest")
    transfer.pull(options.client(), image, platform=platform, all_tags=all_tags, quiet=quiet)
    click.echo(_pulled_name(image))


def _pulled_name(image: Reference) -> str:
    tag = f":{image.tag}" if image.tag else ""
    digest = f"@{image.digest}" if image.digest else ""
    return f"{image.name}{tag}{digest}"


@command()
@click.argument("name", metavar="NAME[:TAG]", shell_complete=complete("image"))
@option("-a", "--all-tags", is_flag=True, help="Push all tags of an image to the repository")
@option("--disable-content-trust/--no-disable-content-trust", default=True, negation=False, help="Skip image signing")
@option(
    "--platform",
    default="",
    help='Push a platform-specific manifest as a single-platform image. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
)
@option("-q", "--quiet", is_flag=True, help="Suppress verbose output")
def push(*, name: str, all_tags: bool, disable_content_trust: bool, platform: str, quiet: bool) -> None:
    """Upload an image to a registry."""
    from cli.registry import transfer

    _refuse_trust(skip=disable_content_trust)
    image = parse_reference(name)
    if image.digest:
        raise InvalidArgumentError("cannot push a digest reference")
    if all_tags and image.tag:
        raise InvalidArgumentError("tag can't be used with --all-tags/-a")
    if not all_tags and not image.tag:
        image = image._replace(tag="latest")
        if not quiet:
            click.echo("Using default tag: latest")
    transfer.push(options.client(), image, platform=platform, all_tags=all_tags, quiet=quiet)
    if quiet:
        click.echo(_pulled_name(image))


def _refuse_trust(*, skip: bool) -> None:
    if not skip:
        raise InvalidArgumentError("--disable-content-trust=false: images are not signed; pull them by digest instead")


@command()
@click.argument("server", required=False, default="", metavar="[SERVER]")
@option("-p", "--password", default="", help="Password or Personal Access Token (PAT)")
@option("--password-stdin", is_flag=True, help="Take the Password or Personal Access Token (PAT) from stdin")
@option("-u", "--username", default="", help="Username")
def login(server: str, password: str, password_stdin: bool, username: str) -> None:
    """Authenticate to a registry.

    Without a server it is Docker Hub. Credentials are kept in the configuration file or by its credential helper.
    """
    store, key = CredentialStore(), registry_key(server)
    if password:
        click.echo("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", err=True)
    if password_stdin:
        password = _password_from_stdin(username, password)
    auth = _given_or_known(store, key, username, password)
    answer = options.client().post("/auth", body=auth) or {}
    if answer.get("IdentityToken"):
        auth = {"username": auth.get("username", ""), "serveraddress": key, "identitytoken": answer["IdentityToken"]}
    helper = store.put(key, auth)
    if not helper:
        click.echo(
            f"WARNING! Your credentials are stored unencrypted in '{store.path}'.\n"
            "Configure a credential helper to remove this warning.",
            err=True,
        )
    click.echo(answer.get("Status") or "Login Succeeded")


def _password_from_stdin(username: str, password: str) -> str:
    if password:
        raise InvalidArgumentError("--password and --password-stdin are mutually exclusive")
    if not username:
        raise InvalidArgumentError("must provide --username with --password-stdin")
    found = sys.stdin.buffer.read(MAX_PASSWORD_BYTES).decode().rstrip("\r\n")
    if not found:
        raise InvalidArgumentError("the password on stdin is empty")
    return found


def _given_or_known(store: CredentialStore, key: str, username: str, password: str) -> dict[str, Any]:
    """Credentials from the flags, else those that are kept, else from the terminal."""
    known = store.get(key)
    if not username and not password and known:
        click.echo(f"Authenticating with existing credentials... [Username: {known.get('username', '')}]")
        return known
    if (not username or not password) and not sys.stdin.isatty():
        raise CoveyError("cannot perform an interactive login from a non TTY device: use -u and --password-stdin")
    username = username or click.prompt(f"Username{_suffix(known)}", default=known.get("username"), show_default=False)
    password = password or getpass.getpass("Password: ")
    if not password:
        raise InvalidArgumentError("password is empty")
    return {"username": username, "password": password, "serveraddress": key}


def _suffix(known: dict[str, Any]) -> str:
    return f" ({known['username']})" if known.get("username") else ""


@command()
@click.argument("server", required=False, default="", metavar="[SERVER]")
def logout(server: str) -> None:
    """Log out from a registry.

    Without a server it is Docker Hub.
    """
    key = registry_key(server)
    store = CredentialStore()
    name = key if key != HUB_KEY else f"{HUB_KEY} (Docker Hub)"
    click.echo(f"Removing login credentials for {key}" if store.remove(key) else f"Not logged in to {name}")


@command()
@click.argument("term", metavar="TERM")
@options.filter_option
@option("--format", "form", default="", metavar="string", help="Pretty-print search using a Go template")
@option("--limit", type=int, default=0, help="Max number of search results")
@options.trunc_option
def search(*, term: str, filters: tuple[str, ...], form: str, limit: int, no_trunc: bool) -> None:
    """Search a registry for images."""
    registry = parse_reference(term).credentials_key if "/" in term else HUB_KEY
    query = {"term": term, "limit": limit or None, "filters": options.parse_filters(filters)}
    headers = {"X-Registry-Auth": encode(CredentialStore().get(registry))}
    found = options.client().call("GET", "/images/search", query, headers=headers)
    listed = [search_row(item, trunc=not no_trunc) for item in found]
    output.print_rows(listed, SEARCH_HEADERS, SEARCH_TABLE, form)


def search_row(item: dict[str, Any], *, trunc: bool) -> dict[str, str]:
    """The table row of one found image."""
    text = " ".join(str(item.get("description") or "").split())
    return {
        "Name": str(item.get("name", "")),
        "Description": truncate(text, DESCRIPTION_LENGTH) if trunc else text,
        "StarCount": str(item.get("star_count", 0)),
        "IsOfficial": "[OK]" if item.get("is_official") else "",
        "IsAutomated": "[OK]" if item.get("is_automated") else "",
    }
