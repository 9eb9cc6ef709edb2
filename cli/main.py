"""Entry point of the command ``covey``: the root command, and errors as one line and an exit code.

Exit codes are docker's: 0 success, 1 refused, failed or wrong arguments, 125 wrong flags, 130 interrupted. ``run``, ``start --attach``,
``exec`` and ``attach`` exit with the code of the command; a ``run`` that fails before exits with 125, 126 or 127.
"""

import os
import sys
from typing import Any

import click

from cli import command_tree
from cli.command import option
from cli.lazy_group import LazyGroup

INTERRUPTED = 130
WRONG_FLAG = 125


def _show_version(ctx: click.Context, _parameter: click.Parameter, requested: bool) -> None:
    if requested:
        from cli.commands.system import own_version

        click.echo(f"covey version {own_version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    entries=command_tree.ROOT,
    sections=command_tree.SECTIONS,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 110},
)
@option("-H", "--host", metavar="string", help="Daemon socket to connect to (default COVEY_HOST, then DOCKER_HOST)")
@option("--tls/--no-tls", is_flag=True, default=None, help="Use TLS; implied by --tlsverify")
@option("--tlscacert", metavar="string", help="Trust certs signed only by this CA (default ~/.docker/ca.pem)")
@option("--tlscert", metavar="string", help="Path to TLS certificate file (default ~/.docker/cert.pem)")
@option("--tlskey", metavar="string", help="Path to TLS key file (default ~/.docker/key.pem)")
@option("--tlsverify/--no-tlsverify", is_flag=True, default=None, help="Use TLS and verify the remote")
@option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Print version information and quit",
)
def root(**_flags: Any) -> None:
    """A container cluster on machines you own."""
    # The flags are read by `cli.options.client`, in the commands that need a daemon.


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = root.main(arguments, prog_name="covey", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        wrong_flag = isinstance(error, click.BadParameter | click.NoSuchOption | click.BadOptionUsage)
        return WRONG_FLAG if wrong_flag and not isinstance(error, click.MissingParameter) else 1
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe. Redirect stdout so that the interpreter does not report the error when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        message = _error_message(getattr(error, "error", error))
        if message is None:
            raise
        click.echo(message, err=True)
        return int(getattr(error, "exit_code", 1))
    return code if isinstance(code, int) else 0


def _error_message(error: BaseException) -> str | None:
    """The message of an error that the user can act on; None for a bug."""
    from cli.client import DaemonError
    from covey.errors import CoveyError

    if isinstance(error, DaemonError):
        return f"Error response from daemon: {_single_line(error.message)}"
    if isinstance(error, CoveyError):
        return f"covey: {_single_line(error.message)}"
    if isinstance(error, OSError) and error.filename:
        return f"covey: {error.filename}: {error.strerror}"
    return None


def _single_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()


if __name__ == "__main__":
    sys.exit(main())
