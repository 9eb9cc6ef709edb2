"""Help, aliases, unsupported commands and the lazy import of commands, with the docker client as oracle."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from cli import command_tree
from cli.command import plain_switches
from cli.lazy_group import CommandEntry, LazyGroup
from cli.main import main, root
from tests.support.recording_engine import recording

HEAVY = {"rich", "yaml", "asyncio", "aiohttp", "grpc", "msgspec", "http.client", "cli.client", "cli.options", "ssl"}
FLAG = re.compile(r"^ {2}(?:-\w, | {4})(--[\w-]+)(.*(?:\n {12,}.*)*)", re.MULTILINE)


def walk(entries: Mapping[str, CommandEntry], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], CommandEntry]]:
    found = []
    for name, entry in entries.items():
        found += walk(entry.children, (*path, name)) if entry.children else [((*path, name), entry)]
    return found


LEAVES = walk(command_tree.ROOT)
COMMANDS = [path for path, entry in LEAVES if entry.target]
UNSUPPORTED = [path for path, entry in LEAVES if entry.instead]
OURS_ALONE = {
    ("swarm", "backup"),
    ("swarm", "reconnect"),
    ("swarm", "restore"),
    ("lab",),
    ("completion",),
    ("stack", "check"),
    ("stack", "diff"),
    ("stack", "watch"),
}
NAMED_CREATE = {(kind, "create") for kind in ("config", "network", "secret", "service", "volume")}
# The docker client has Compose as a plugin, which is a program of its own.
SHARED = [path for path in COMMANDS if path not in OURS_ALONE and path[0] != "compose"]


def docker_help(*path: str) -> str:
    done = subprocess.run(["docker", *path, "--help"], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


def covey_help(*path: str) -> str:
    command, context = find(path)
    return command.get_help(context)


def find(path: tuple[str, ...]) -> tuple[click.Command, click.Context]:
    command: click.Command = root
    context = click.Context(root, info_name="covey", **root.context_settings)
    for name in path:
        assert isinstance(command, LazyGroup)
        found = command.get_command(context, name)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    return command, context


def flags(text: str) -> dict[str, str]:
    """The descriptions of flags, in the order of the help text."""
    return {name: " ".join(rest.split()) for name, rest in FLAG.findall(text)}


@pytest.mark.parametrize("arguments", [["--help"], ["service", "--help"], ["stack"], ["swarm", "-h"], ["help", "node"]])
def test_help_of_a_group_imports_no_command(arguments: list[str]) -> None:
    program = (
        "import sys\nbefore = set(sys.modules)\nfrom cli.main import main\n"
        f"try: main({arguments!r})\nfinally: print('MODULES', *(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    imported = set(done.stderr.split("MODULES")[-1].split())
    assert "cli.command_tree" in imported, done.stderr
    assert not imported & HEAVY
    assert not {name for name in imported if name.startswith("cli.commands.")}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_under_its_path(path: tuple[str, ...]) -> None:
    text = covey_help(*path)
    if path != ("lab",):
        assert text.startswith(f"Usage:  covey {' '.join(path)}")
        description = next(entry.help for other, entry in LEAVES if other == path)
        assert text.splitlines()[2].startswith(description[:40])


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != ("lab",)], ids=" ".join)
def test_all_ways_to_ask_for_help_print_the_same(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    short = (
        [] if path[-1] in {"run", "create"} and path not in NAMED_CREATE else [[*path, "-h"]]
    )  # there it is the host's name
    for words in ([*path, "--help"], *short, ["help", *path], [*path[:-1], "help", path[-1]]):
        assert main(words) == 0, words
        texts.append(capsys.readouterr().out)
    assert len(set(texts)) == 1
    assert texts[0].strip() == covey_help(*path).strip()


def test_help_of_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "service", "nonsense"]) == 1
    assert "No such command 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["help", "lab", "up"], ["lab", "help", "up"], ["lab", "up", "--help"], ["lab", "up", "-h"]]
)
def test_help_reaches_below_lab(words: list[str]) -> None:
    command = [sys.executable, "-m", "cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert "--managers" in done.stdout


@pytest.mark.parametrize("path", SHARED, ids=" ".join)
def test_flags_stand_in_dockers_order(path: tuple[str, ...]) -> None:
    theirs, ours = list(flags(docker_help(*path))), list(flags(covey_help(*path)))
    assert [name for name in ours if name in theirs] == [name for name in theirs if name in ours]
    assert ours == sorted(ours)


WINDOWS_ALONE = {"--credential-spec", "--isolation"}


@pytest.mark.parametrize("path", SHARED, ids=" ".join)
def test_no_flag_of_docker_is_unknown(path: tuple[str, ...]) -> None:
    missing = set(flags(docker_help(*path))) - set(flags(covey_help(*path))) - {"--help"}
    assert missing <= (WINDOWS_ALONE if path[0] == "service" else set())


@pytest.mark.parametrize("path", [("service", "create"), ("swarm", "init"), ("swarm", "update"), ("node", "update")])
def test_defaults_are_dockers_and_in_its_form(path: tuple[str, ...]) -> None:
    theirs, ours = flags(docker_help(*path)), flags(covey_help(*path))
    default = re.compile(r"\(default (\"[^\"]*\"|\S+)\)")
    compared = 0
    for name in set(theirs) & set(ours) - {"--limit-pids", "--replicas-max-per-node", "--data-path-port"}:
        found = default.search(theirs[name])
        if found and found[1] != "[]":
            assert default.findall(ours[name]) == [found[1]], name
            compared += 1
    assert compared or path == ("node", "update")


def test_choices_and_the_limits_of_the_issue_are_worded_as_in_docker() -> None:
    create = flags(covey_help("service", "create"))
    maximum = "Maximum number of replicas per node (0 means unlimited) (default 0)"
    assert create["--replicas-max-per-node"] == f"uint {maximum}"
    assert '("none", "on-failure", "any") (default "any")' in create["--restart-condition"]
    assert create["--publish"] == "port Publish a port as a node port"
    assert "not supported" not in create["--with-registry-auth"]
    assert "not supported" not in create["--secret"]
    assert "(or --no-init)" in create["--init"]
    assert "default" not in flags(covey_help("service", "update"))["--update-order"]
    assert "Manage the swarm\n" in covey_help()


def test_aliases_are_listed_as_docker_lists_them() -> None:
    ours = re.search(r"Aliases:\n(.*?)\n\n", covey_help("ps"), re.DOTALL)
    theirs = re.search(r"Aliases:\n(.*?)\n\n", docker_help("ps"), re.DOTALL)
    assert ours
    assert theirs
    assert ours[1].split() == theirs[1].replace("docker", "covey").split()


GROUPS = [(), *((name,) for name, entry in command_tree.ROOT.items() if entry.children and name != "compose")]


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_no_command_of_docker_is_unknown(group: tuple[str, ...]) -> None:
    theirs = re.findall(r"^ {2}([a-z][\w-]*)\*? {2,}", docker_help(*group).split("Options:")[0], re.MULTILINE)
    assert len(theirs) > 1
    entries = command_tree.ROOT[group[0]].children if group else command_tree.ROOT
    assert set(theirs) <= set(entries)


@pytest.mark.parametrize("path", UNSUPPORTED, ids=" ".join)
@pytest.mark.parametrize("rest", [[], ["--help"], ["-it", "--rm", "image", "sh"]], ids=["bare", "help", "flags"])
def test_an_unsupported_command_answers_with_a_sentence(
    path: tuple[str, ...], rest: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, *rest]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(rf"covey: 'covey {' '.join(path)}' is not supported yet: \S.*[^.\n]\n", said.err)


def test_unsupported_commands_are_not_listed() -> None:
    assert "update" not in covey_help("volume")
    assert "  manifest" not in covey_help()


def test_every_command_that_a_hint_names_exists() -> None:
    for path, entry in LEAVES:
        for hint in re.findall(r"'covey ([^']+)'", entry.instead):
            words = []
            for word in hint.split():
                if not word.islower() or word.startswith("-"):
                    break
                words.append(word)
            command, _ = find(tuple(words[: 2 if command_tree.ROOT[words[0]].children else 1]))
            assert not command.hidden, path


SLOW = {
    "asyncio",
    "concurrent.futures",
    "decimal",
    "email",
    "http.client",
    "msgspec",
    "rich",
    "ssl",
    "subprocess",
    "tempfile",
    "urllib.parse",
    "yaml",
}


@pytest.mark.parametrize("command", ["ps", "images", "rm x", "version", "network ls", "volume ls", "node ls"])
def test_a_simple_command_imports_nothing_slow(command: str, tmp_path: Path) -> None:
    program = (
        "import sys\nbefore = set(sys.modules)\nfrom cli.main import main\n"
        f"try: main({command.split()!r})\nfinally: print('MODULES', *(set(sys.modules) - before), file=sys.stderr)"
    )
    with recording(tmp_path) as engine:
        environment = {**os.environ, "COVEY_HOST": engine.host}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30, env=environment
        )
    imported = set(done.stderr.split("MODULES")[-1].split())
    assert "cli.client" in imported, done.stderr
    assert not imported & SLOW


def test_commands_speak_to_the_daemon_without_asyncio(tmp_path: object) -> None:
    modules = {entry.target.split(":")[0] for _, entry in LEAVES if entry.target}
    program = f"import sys, importlib\n[importlib.import_module(m) for m in {sorted(modules)!r}]\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    imported = set(done.stdout.split())
    assert "cli.commands.service_update" in imported
    ours = {"manager", "agent", "engine", "node", "coveypb"}
    assert not imported & {"asyncio", "aiohttp", "grpc", "rich", "yaml", *ours}


@pytest.mark.parametrize("alias", [["service", "list"], ["service", "remove"], ["stack", "up"], ["container", "ps"]])
def test_aliases_lead_to_the_same_command(alias: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*alias, "--help"]) == 0
    assert "Usage:  covey" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["service", "nonsense"],
        ["service", "create", "--nonsense", "i"],
        ["service", "scale", "a"],
        ["run"],
        ["run", "--nonsense", "i"],
        ["ps", "--last", "x"],
        ["rm"],
        ["logs", "--tail"],
    ],
)
def test_wrong_usage_ends_with_dockers_exit_code(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    theirs = subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=30)
    assert main(arguments) == theirs.returncode
    assert "Error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        (["--rm=false", "--init=true", "x", "--rm=true"], ["--no-rm", "--init", "x", "--rm=true"]),
        (["--name", "--rm=true", "x"], ["--name", "--rm=true", "x"]),
        (["-itu", "--rm=true", "--", "--rm=false"], ["-itu", "--rm=true", "--", "--rm=false"]),
        (["--name=--rm=true", "--rm=1", "x"], ["--name=--rm=true", "--rm", "x"]),
    ],
)
def test_switches_take_a_value_up_to_the_image(words: list[str], plain: list[str]) -> None:
    command, context = find(("run",))
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    assert plain_switches(words, options, interspersed=False) == plain
