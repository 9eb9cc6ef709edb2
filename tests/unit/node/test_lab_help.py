"""Help of ``covey lab``: every command answers ``--help``, ``-h`` and ``help``, also to users who are not root."""

import pytest
from click.testing import CliRunner

from node.lab.__main__ import main

COMMANDS = sorted(main.commands)


@pytest.fixture(autouse=True)
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="covey lab")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_the_lab_lists_its_commands(arguments: list[str]) -> None:
    output = run(*arguments)
    assert output.startswith("Usage: covey lab")
    for command in COMMANDS:
        assert f"\n  {command} " in output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    output = run(command, "--help")
    assert output.startswith(f"Usage: covey lab {command} ")
    assert run(command, "-h") == run("help", command) == output


def test_every_option_has_a_description() -> None:
    for command in main.commands.values():
        for parameter in command.params:
            assert parameter.param_type_name != "option" or getattr(parameter, "help", None), (command, parameter)


def test_help_for_an_unknown_command_names_it() -> None:
    result = CliRunner().invoke(main, ["help", "explode"], prog_name="covey lab")
    assert (result.exit_code, "unknown command 'explode'" in result.output) == (2, True)


def test_commands_that_change_a_lab_need_root() -> None:
    result = CliRunner().invoke(main, ["down"], prog_name="covey lab")
    assert (result.exit_code, "needs root" in result.output) == (1, True)
