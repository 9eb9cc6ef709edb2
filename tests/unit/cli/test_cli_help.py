"""Help is quick because it imports nothing: the table of commands alone."""

import subprocess
import sys

import click
import pytest

from cli import command_tree
from cli.lazy_group import CommandEntry, LazyGroup
from cli.main import main, root

HEAVY = {"rich", "yaml", "asyncio", "aiohttp", "grpc", "msgspec", "http.client", "cli.client", "cli.options", "ssl"}


@pytest.mark.parametrize("arguments", [["--help"], ["service", "--help"], ["stack"], ["swarm", "-h"]])
def test_help_of_a_group_imports_no_command(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom cli.main import main\n"
        f"try: main({arguments!r})\nfinally: print('MODULES', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    imported = set(done.stderr.split("MODULES")[-1].split())
    assert "cli.command_tree" in imported, done.stderr
    assert not imported & HEAVY
    assert not {name for name in imported if name.startswith("cli.commands.")}


def walk(entries: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], CommandEntry]]:
    found = []
    for name, entry in dict(entries).items():  # type: ignore[call-overload]
        found += walk(entry.children, (*path, name)) if entry.children else [((*path, name), entry)]
    return found


@pytest.mark.parametrize("path", [path for path, _ in walk(command_tree.ROOT)], ids=" ".join)
def test_every_command_of_the_table_is_there_and_tells_what_it_is_for(path: tuple[str, ...]) -> None:
    command: click.Command | None = root
    context = click.Context(root)
    for name in path:
        assert isinstance(command, LazyGroup)
        command = command.get_command(context, name)
    assert command is not None
    assert command.help
    if path != ("lab",):
        assert "--help" in command.get_help(click.Context(command, info_name=path[-1], parent=context))


def test_commands_speak_to_the_daemon_without_asyncio(tmp_path: object) -> None:
    modules = {entry.target.split(":")[0] for _, entry in walk(command_tree.ROOT)}
    program = f"import sys, importlib\n[importlib.import_module(m) for m in {sorted(modules)!r}]\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    imported = set(done.stdout.split())
    assert "cli.commands.service_update" in imported
    ours = {"manager", "agent", "engine", "node", "coveypb"}
    assert not imported & {"asyncio", "aiohttp", "grpc", "rich", "yaml", *ours}


@pytest.mark.parametrize("alias", [["service", "list"], ["service", "remove"], ["stack", "up"], ["container", "ps"]])
def test_other_names_lead_to_the_same_command(alias: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*alias, "--help"]) == 0
    assert "Usage: covey" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["service", "nonsense"], ["service", "create", "--nonsense", "i"], ["service", "scale", "a"]],
)
def test_wrong_usage_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Error:" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_COVEY_COMPLETE" in capsys.readouterr().out
