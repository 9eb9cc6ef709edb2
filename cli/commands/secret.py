"""``covey secret`` and ``covey config``: the same commands for two kinds of object."""

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.command import command, option
from cli.parse.key_values import parse_key_values
from cli.rows import secret as rows
from covey.errors import InvalidArgumentError

MAX_BYTES = 1 << 21  # more than the daemon accepts, so that the daemon refuses larger files


def _create(kind: str) -> Any:
    @command("create")
    @click.argument("name", metavar=kind.upper())
    @click.argument("file", required=False, metavar="[file|-]")
    @option("-l", "--label", "labels", multiple=True, help=f"{kind.capitalize()} labels")
    @option("-d", "--driver", default="", hidden=kind == "config", supported=False, help="Secret driver")
    @option("--template-driver", default="", help="Template driver")
    def create(name: str, file: str | None, labels: tuple[str, ...], driver: str, template_driver: str) -> None:
        body: dict[str, Any] = {"Name": name, "Labels": dict(parse_key_values(labels))}
        if driver:
            body["Driver"] = {"Name": driver}
        if template_driver:
            body["Templating"] = {"Name": template_driver}
        if file is None and not driver:
            raise click.UsageError(f"the {kind} is missing: give a file, or - for STDIN")
        if file is not None:
            body["Data"] = base64.b64encode(_read(file, kind)).decode()
        click.echo(options.client().post(f"/{kind}s/create", body=body)["ID"])

    create.help = f"Create a {kind} from a file or STDIN."
    return create


def _update(kind: str) -> Any:
    @command("update")
    @options.object_argument("name", kind, metavar=kind.upper())
    @click.argument("file", metavar="file|-")
    @option("-d", "--detach", is_flag=True, help="Do not wait until the services use the new version")
    @option("-q", "--quiet", is_flag=True, help="Suppress progress output")
    def update(name: str, file: str, detach: bool, quiet: bool) -> int:
        from cli.service.job_progress import is_job
        from cli.service.wait import wait_for_services

        daemon, body = options.client(), {"Data": base64.b64encode(_read(file, kind)).decode()}
        rotated = daemon.post(f"/{kind}s/{path_segment(name)}/rotate", body=body)
        click.echo(rotated["ID"])
        if detach:
            return 0
        services = [daemon.get(f"/services/{item}") for item in rotated["Services"]]
        rolled = [service["Spec"]["Name"] for service in services if not is_job(service)]  # a job's next run has it
        code = wait_for_services(daemon, rolled, quiet=quiet)
        if code == 1:
            click.echo(
                f"{kind} {name}: not all services use version {rotated['Version']}; the version before is kept",
                err=True,
            )
        return code

    update.help = (
        f"Give a {kind} new content and update the services that use it.\n\n"
        "The content is that of a file or STDIN. Services are updated under their update configuration. The version before is kept "
        "until nothing uses it."
    )
    return update


def _read(file: str, kind: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(MAX_BYTES)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MAX_BYTES)
    except OSError as error:
        raise InvalidArgumentError(f"cannot read the {kind} from {file}: {error.strerror}") from error


def _inspect(kind: str) -> Any:
    @command("inspect")
    @options.object_arguments("names", kind, metavar=kind.upper())
    @options.inspect_format_option
    @option("--pretty", is_flag=True, help="Print the information in a human friendly format")
    def inspect(names: tuple[str, ...], form: str, pretty: bool) -> int:
        daemon = options.client()
        if pretty:
            from cli.pretty import inspect as texts

            text = texts.config if kind == "config" else texts.secret
            return output.for_each(names, lambda ref: text(daemon.get(f"/{kind}s/{path_segment(ref)}")))
        return output.print_objects(names, lambda ref: daemon.get(f"/{kind}s/{path_segment(ref)}"), form)

    inspect.help = f"Display detailed information on one or more {kind}s."
    return inspect


def _ls(kind: str, row: Callable[..., Any], headers: dict[str, str], table: str) -> Any:
    @command("ls")
    @options.format_option
    @options.filter_option
    @options.quiet_option()
    def ls(form: str, filters: tuple[str, ...], quiet: bool) -> None:
        from cli.format.sorting import natural_sort_key

        found = options.client().get(f"/{kind}s", {"filters": options.parse_filters(filters)})
        rotated = any("Rotation" in item for item in found)  # otherwise the table is Docker's
        shown = rows.with_versions(table) if rotated else table
        listed = [
            row(item, output.now_ns())
            for item in sorted(found, key=lambda item: natural_sort_key(item["Spec"]["Name"]))
        ]
        if not rotated and ".Version" not in form:
            for item in listed:
                del item["Version"]
        output.print_rows(listed, headers, shown, form, quiet=quiet)

    ls.help = f"List {kind}s."
    return ls


def _rm(kind: str) -> Any:
    @command("rm")
    @options.object_arguments("names", kind, metavar=kind.upper())
    def rm(names: tuple[str, ...]) -> int:
        daemon = options.client()
        return output.for_each(names, lambda ref: daemon.delete(f"/{kind}s/{path_segment(ref)}"))

    rm.help = f"Remove one or more {kind}s."
    return rm


create_secret, create_config = _create("secret"), _create("config")
inspect_secret, inspect_config = _inspect("secret"), _inspect("config")
update_secret, update_config = _update("secret"), _update("config")
ls_secret = _ls("secret", rows.secret_row, rows.HEADERS, rows.SECRET_TABLE)
ls_config = _ls("config", rows.config_row, rows.CONFIG_HEADERS, rows.CONFIG_TABLE)
rm_secret, rm_config = _rm("secret"), _rm("config")
