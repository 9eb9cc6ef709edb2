"""``covey compose config`` with its options compared with the real Docker Compose, byte for byte."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from cli.main import main
from tests.support.real_compose import compose_program
from tests.support.recording_engine import recording

FILE = """
name: demo
services:
  web:
    image: ${IMAGE:-web:1}
    build: {context: ./web, args: {A: "1"}}
    env_file: [one.env]
    environment: {LATE: "yes", HOME: , B: "a$$b"}
    labels: {b10: "${UNSET-x}", b9: "1:20"}
    volumes: ["./data:/data", "files:/files", "/anon"]
    depends_on: [db]
    secrets: [{source: key, target: key}]
  db: {image: "db@sha256:2222222222222222222222222222222222222222222222222222222222222222", networks: [back]}
  tool: {image: "tool:${TAG:?no tag}", profiles: [tools]}
  built: {build: {context: .}}
networks: {back: {internal: true}, unused: }
volumes: {files: }
secrets: {key: {file: ./key}}
x-words: [{b: 1, a: "no"}]
"""
OPTIONS = [
    "--format json",
    "--no-normalize",
    "--no-consistency",
    "--no-path-resolution",
    "--no-env-resolution",
    "--no-interpolate",
    "--no-normalize --no-path-resolution --no-env-resolution --format json",
    "--quiet",
    "web",
    "db --format json",
    "--hash *",
    "--hash web",
]
LISTS = [
    "--environment",
    "--quiet --images",
    "--services",
    "--images",
    "web --images",
    "--volumes",
    "--networks",
    "--profiles",
    "--variables",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "proj"
    folder.mkdir()
    (folder / "compose.yaml").write_text(FILE)
    (folder / "one.env").write_text("ONE=1\nLATE=no\n")
    (folder / "other.yaml").write_text("services: {web: {labels: !override {only: this}}}\n")
    monkeypatch.chdir(folder)
    for name in list(os.environ):
        if name not in ("PATH", "HOME"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TAG", "2")
    monkeypatch.setenv("PWD", str(folder))
    return folder


def real(*words: str) -> str:
    command = [compose_program(), *words]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True).stdout


def ours(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["compose", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("options", ["", *OPTIONS])
def test_the_output_is_that_of_compose(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("config", *options.split())
    assert ours(capsys, *words) == real(*words)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("options", LISTS)
def test_lists_have_the_lines_of_compose(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Compose prints them in any order; ours are sorted."""
    words = ("config", *options.split())
    assert sorted(ours(capsys, *words).splitlines()) == sorted(real(*words).splitlines())


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "before",
    [
        ("--profile", "tools"),
        ("--all-resources",),
        ("-p", "other"),
        ("-f", "compose.yaml", "-f", "other.yaml"),
        ("--project-directory", "web"),
    ],
)
def test_options_before_the_command_count(before: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    if "web" in before:
        Path("web").mkdir()
        Path("web/one.env").write_text("ONE=web\n")
        before = ("-f", "compose.yaml", *before)
    assert ours(capsys, *before, "config") == real(*before, "config")


@pytest.mark.usefixtures("project")
def test_variables_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("config", "--variables", "--format", "json")
    assert ours(capsys, *words) == real(*words)


def test_the_output_goes_to_a_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = ours(capsys, "config")
    assert ours(capsys, "config", "--output", "out.yaml") == ""
    assert (project / "out.yaml").read_text() == printed


@pytest.mark.parametrize("option", ["--resolve-image-digests", "--lock-image-digests"])
def test_images_get_the_digests_that_the_registry_gives(
    option: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = f"sha256:{'3' * 64}"
    with recording(project) as engine:
        for name in ("web:1", "docker.io/library/web:1", "library/web:1"):
            engine.answers[f"/distribution/{name}/json"] = {"Descriptor": {"digest": digest}, "Platforms": []}
        address = f"unix://{project}/engine.sock"
        monkeypatch.setenv("DOCKER_HOST", address)
        monkeypatch.setenv("COVEY_HOST", address)
        text = ours(capsys, "config", option)
        assert f"image: docker.io/library/web:1@{digest}" in text
        assert text == real("config", option)


def test_an_image_without_a_digest_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COVEY_HOST", f"unix://{project}/none.sock")
    assert main(["compose", "config", "--resolve-image-digests"]) == 1
    assert "failed to resolve digest for web:1" in capsys.readouterr().err


def test_json_is_one_document(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(ours(capsys, "config", "--format", "json"))["services"]["web"]["image"] == "web:1"
    assert project.exists()
