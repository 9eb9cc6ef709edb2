"""Output of commands: rows, inspected objects, ids one by one, and errors."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from cli.format import table
from covey.errors import CoveyError

MAX_PARALLEL = 50


def now_ns() -> int:
    return time.time_ns()


def print_rows(
    items: Iterable[table.Row],
    headers: Mapping[str, str],
    default: str,
    form: str,
    *,
    quiet: bool = False,
    key: str = "ID",
) -> None:
    """Print rows; with ``quiet`` only the field ``key``, unless a format is given."""
    if quiet and not form:
        form = f"{{{{.{key}}}}}"
    click.echo(table.render(items, headers, default, form), nl=False)


def print_objects(refs: Sequence[str], get: Callable[[str], Any], form: str = "") -> int:
    """Print inspected objects as one JSON list or with a template. Returns 1 if an object could not be read, else 0."""
    found, failed = [], False
    for ref in refs:
        try:
            found.append(get(ref))
        except CoveyError as error:
            failed = True
            print_error(error)
    if not form:
        click.echo(json.dumps(found, indent=4, ensure_ascii=False))
    elif form == "json":
        for item in found:
            click.echo(json.dumps(item, separators=(",", ":"), ensure_ascii=False))
    else:
        from cli.format.template import Template

        template = Template(form)
        for item in found:
            click.echo(template.render(item))
    return int(failed)


def for_each(refs: Sequence[str], act: Callable[[str], Any], *, echo: bool = True, parallel: bool = False) -> int:
    """Call ``act`` for each reference and print errors. Returns 1 if one failed, else 0.

    ``parallel`` calls it for several references at a time, and prints in their order.
    """
    if parallel and len(refs) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(refs), MAX_PARALLEL)) as pool:
            jobs = {ref: pool.submit(act, ref) for ref in refs}
            return for_each(refs, lambda ref: jobs[ref].result(), echo=echo)
    failed = False
    for ref in refs:
        try:
            result = act(ref)
        except CoveyError as error:
            failed = True
            print_error(error)
        else:
            if echo:
                click.echo(ref if result is None else result)
    return int(failed)


def print_error(error: CoveyError) -> None:
    """Print an error on stderr as one line."""
    from cli.client import DaemonError

    prefix = "Error response from daemon: " if isinstance(error, DaemonError) else "covey: "
    click.echo(f"{prefix}{' '.join(error.message.splitlines())}", err=True)
