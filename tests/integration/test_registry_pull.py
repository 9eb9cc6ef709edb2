"""Pulls from a real registry through the real docker client."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from tests.support.api_daemon import Daemon, running
from tests.support.image_archives import image, write_archive
from tests.support.registry import TestRegistry, registry

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

APP = image({"etc/one": b"one"}, {"etc/two": os.urandom(300_000)}, {"etc/three": b"3"}, Env=["A=1"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def source(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    async with registry(folder / "registry") as made:
        await made.push_archive(write_archive(folder / "app.tar", APP, "app:1"), "team/app:1")
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    async with running(tmp_path_factory.mktemp("daemon")) as made:
        yield made


async def lines(daemon: Daemon, path: str, **options: object) -> tuple[int, list[dict[str, object]]]:
    """The JSON lines of a progress stream."""
    async with daemon.session() as session, session.post(path, **options) as response:
        text = await response.text()
        return response.status, [msgspec.json.decode(line) for line in text.splitlines() if line]


async def test_a_pulled_image_has_its_id_its_tag_and_its_digest(daemon: Daemon, source: TestRegistry) -> None:
    name = f"{source.host}/team/app:1"
    out, _ = await daemon.docker("pull", name)
    digest = (await source.skopeo("inspect", "--format", "{{.Digest}}", f"docker://{name}")).strip()
    assert f"Digest: {digest}" in out
    assert f"Status: Downloaded newer image for {name}" in out
    assert out.count("Pull complete") == 3
    shown = json.loads((await daemon.docker("inspect", name))[0])[0]
    assert shown["Id"] == APP.id
    assert shown["RepoTags"] == [name]
    assert shown["RepoDigests"] == [f"{source.host}/team/app@{digest}"]
    assert shown["Config"]["Env"] == ["A=1"]
    out, _ = await daemon.docker("pull", name)
    assert f"Status: Image is up to date for {name}" in out
    top = daemon.agent.images.layers(name)[1]
    assert (top / "etc/two").stat().st_size == 300_000
    await daemon.docker("rmi", name)


async def test_a_pull_of_an_unknown_tag_is_404_in_the_words_of_docker(daemon: Daemon, source: TestRegistry) -> None:
    path = f"/images/create?fromImage={source.host}/team/app&tag=nope"
    async with daemon.session() as session, session.post(path) as response:
        assert response.status == 404
        message = (await response.json())["message"]
    assert message == f"manifest for {source.host}/team/app:nope not found: manifest unknown: manifest unknown"


async def test_an_unchanged_image_is_pushed_with_the_digest_it_was_pulled_with(
    daemon: Daemon, source: TestRegistry
) -> None:
    name, copy = f"{source.host}/team/app:1", f"{source.host}/other/copy:2"
    await daemon.docker("pull", "-q", name)
    await daemon.docker("tag", name, copy)
    out, _ = await daemon.docker("push", copy)
    assert out.count("Mounted from team/app") == 3
    digests = [
        (await source.skopeo("inspect", "--format", "{{.Digest}}", f"docker://{item}")).strip() for item in (name, copy)
    ]
    assert digests[0] == digests[1]
    assert f"2: digest: {digests[0]} size: " in out
    out, _ = await daemon.docker("push", copy)
    assert out.count("Layer already exists") == 3


async def test_an_imported_image_is_pushed_and_other_tools_read_it(
    daemon: Daemon, source: TestRegistry, tmp_path: Path
) -> None:
    made = image({"etc/a": b"a" * 100_000}, {"etc/b": b"b"})
    name = f"{source.host}/team/made:1"
    await daemon.docker("load", "-i", str(write_archive(tmp_path / "made.tar", made, name)))
    out, _ = await daemon.docker("push", name)
    assert out.count("Pushed") == 2
    inspected = json.loads(await source.skopeo("inspect", "--config", f"docker://{name}"))
    assert [*inspected["rootfs"]["diff_ids"]] == [*json.loads(made.config)["rootfs"]["diff_ids"]]
    shown = json.loads((await daemon.docker("inspect", name))[0])[0]
    digest = (await source.skopeo("inspect", "--format", "{{.Digest}}", f"docker://{name}")).strip()
    assert shown["RepoDigests"] == [f"{source.host}/team/made@{digest}"]
    await daemon.docker("rmi", name)
    await daemon.docker("pull", f"{source.host}/team/made@{digest}")
    assert json.loads((await daemon.docker("inspect", f"{source.host}/team/made@{digest}"))[0])[0]["Id"] == made.id


async def test_distribution_and_search_answer_what_the_registry_has(daemon: Daemon, source: TestRegistry) -> None:
    status, body = await daemon.request("GET", f"/distribution/{source.host}/team/app:1/json")
    assert status == 200
    assert body["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    status, body = await daemon.request("GET", f"/distribution/{source.host}/team/app:none/json")
    assert (status, body["message"]) == (404, "manifest unknown: manifest unknown")
    out, _ = await daemon.docker("search", "--format", "{{.Name}}", f"{source.host}/app")
    assert f"{source.host}/team/app" in out.split()
