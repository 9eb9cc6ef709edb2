"""The commands and options of ``covey compose`` compared with those that the real Docker Compose lists."""

import re
import subprocess

import pytest

from cli.command_tree import COMPOSE
from cli.main import main
from tests.support.real_compose import compose_program

Options = dict[str, tuple[str, str]]
_OPTION = re.compile(r"^\s{2,6}(?:(-\w), )?(--[a-z][\w-]*)( [a-z]\w*)?(?=\s|$)", re.MULTILINE)
REFUSED = ("bridge", "publish")


def real_help(*words: str) -> str:
    return subprocess.run([compose_program(), *words, "--help"], capture_output=True, text=True, check=True).stdout


def options_of(text: str) -> Options:
    """Long names with the short name and the kind of value."""
    found = {long: (short, kind.strip()) for short, long, kind in _OPTION.findall(text)}
    found.pop("--help", None)
    return found


VERBS = re.findall(r"^  ([a-z]+) {2,}\S", real_help(), re.MULTILINE)


def test_every_command_is_there_or_refused_by_name() -> None:
    assert len(VERBS) > 30
    assert {*VERBS, *REFUSED} == set(COMPOSE)


@pytest.mark.parametrize("verb", ["", *(verb for verb in VERBS if verb not in REFUSED)])
def test_a_command_has_the_options_that_compose_lists(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compose", *verb.split(), "--help"]) == 0
    assert options_of(capsys.readouterr().out) == options_of(real_help(*verb.split()))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("publish --with-env me/app:1", "'covey compose publish' is not supported yet"),
        ("bridge convert -o out", "'covey compose bridge' is not supported yet"),
        ("--compatibility up", "--compatibility is not supported"),
        ("up --menu", "--menu is not supported"),
        ("build --builder other", "--builder is not supported"),
        ("build --check", "--check is not supported"),
        ("build --print", "--print is not supported"),
        ("build --provenance true", "--provenance is not supported"),
        ("build --sbom true", "--sbom is not supported"),
        ("build --ssh default", "--ssh is not supported"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    arguments: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compose", *arguments.split()]) == 1
    assert named in capsys.readouterr().err
