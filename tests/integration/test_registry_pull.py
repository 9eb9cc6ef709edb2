"""Pulls from a real registry through the real docker client."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator

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
