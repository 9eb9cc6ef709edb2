"""Warnings about settings without an effect on one host, and about variables: those of the real Docker Compose."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from cli.main import main
from tests.support.real_compose import compose_program

FILE = """
name: demo
services:
  web:
    image: web
    configs: [{source: file, uid: "1"}, {source: file, target: /two, uid: "2", mode: 0400}]
    secrets: [{source: key, gid: "3", mode: 0400}, {source: plain}]
    deploy:
      mode: replicated
      replicas: 2
      labels: {a: b}
      endpoint_mode: vip
      placement: {max_replicas_per_node: 1}
      update_config: {order: start-first}
      rollback_config: {order: start-first}
      resources: {limits: {memory: 1g}}
configs: {file: {file: ./f, labels: {a: b}}}
secrets: {key: {file: ./k, labels: {a: b}, driver_opts: {a: b}}, plain: {file: ./p}}
"""


def test_what_compose_warns_about_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(FILE)
    command = [compose_program(), "-f", path, "config", "--quiet"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    expected = [line.replace('\\"', '"') for line in re.findall(r'level=warning msg="(.*)"', said)]
    assert main(["compose", "-f", str(path), "config", "--quiet"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"WARN: {line}" for line in dict.fromkeys(expected)]
    assert len(expected) > 10


def test_owner_and_mode_of_a_content_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(
        "services: {a: {image: x, configs: [{source: c, uid: '1', mode: 0400}]}}\nconfigs: {c: {content: x}}\n"
    )
    assert main(["compose", "-f", str(path), "config", "--quiet"]) == 0
    assert not capsys.readouterr().err


VARIABLES = """
include: [other.yaml]
services:
  a: {image: "x$A", labels: {a: "$$N ${B} ${C:-d} ${D-} ${E:+x} ${F+${G}} ${H:-$I} ${J:-${K}} $A $EMPTY"}}
  z: {image: "x$P", profiles: [p]}
"""


def test_variables_that_are_not_set_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    path = tmp_path / "compose.yaml"
    path.write_text(VARIABLES)
    (tmp_path / "other.yaml").write_text("services: {w: {image: 'x$W'}}")
    command = [compose_program(), "-f", path, "config", "--quiet"]
    environment = {**os.environ, "EMPTY": ""}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    expected = {line.replace('\\"', '"') for line in re.findall(r'level=warning msg="(.*)"', said)}
    assert main(["compose", "-f", str(path), "config", "--quiet"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"WARN: {line}" for line in sorted(expected)]
    assert len(expected) == 6
