"""Pulls from a real registry through the real docker client."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.api_daemon import Daemon, running
from tests.support.hostile_registry import hostile_registry
from tests.support.image_archives import image, tar, write_archive
from tests.support.registry import TestRegistry, registry, run

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


@pytest.mark.parametrize(
    "flags", [("--format", "oci"), ("--format", "oci", "--dest-compress-format", "zstd"), ("--dest-decompress",)]
)
async def test_oci_media_types_and_zstd_and_plain_layers_are_pulled(
    daemon: Daemon, source: TestRegistry, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    made = image({"etc/a": os.urandom(50_000)}, {"etc/b": b"b"})
    await source.push_archive(write_archive(tmp_path / "made.tar", made, "made:1"), "team/format:1", *flags)
    name = f"{source.host}/team/format:1"
    await daemon.docker("pull", "-q", name)
    assert (daemon.agent.images.layers(name)[0] / "etc/a").stat().st_size == 50_000
    copy = f"{source.host}/team/format-copy:1"
    await daemon.docker("tag", name, copy)
    await daemon.docker("push", "-q", copy)
    digests = {
        (await source.skopeo("inspect", "--format", "{{.Digest}}", f"docker://{item}")).strip() for item in (name, copy)
    }
    assert len(digests) == 1
    await daemon.docker("rmi", name, copy)


async def test_umoci_unpacks_what_was_pushed(daemon: Daemon, source: TestRegistry, tmp_path: Path) -> None:
    made = image({"etc/first": b"1", "etc/gone": b"x"}, {"etc/second": b"2", "etc/.wh.gone": b""})
    name = f"{source.host}/team/judged:1"
    await daemon.docker("load", "-i", str(write_archive(tmp_path / "made.tar", made, name)))
    await daemon.docker("push", "-q", name)
    layout = tmp_path / "layout"
    await run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:judged")
    await run("umoci", "unpack", "--image", f"{layout}:judged", str(tmp_path / "bundle"))
    assert sorted(path.name for path in (tmp_path / "bundle/rootfs/etc").iterdir()) == ["first", "second"]
    await daemon.docker("rmi", name)


async def test_one_platform_is_pushed_if_the_image_has_it(daemon: Daemon, source: TestRegistry) -> None:
    name = f"{source.host}/team/platform:1"
    await daemon.docker("pull", "-q", f"{source.host}/team/app:1")
    await daemon.docker("tag", f"{source.host}/team/app:1", name)
    _, error = await daemon.docker("push", "--platform", "linux/arm64", name, check=1)
    assert "does not provide the specified platform (linux/arm64)" in error
    out, _ = await daemon.docker("push", "--platform", "linux/amd64", name)
    assert "1: digest: sha256:" in out


async def test_all_tags_are_pulled_and_pushed(daemon: Daemon, source: TestRegistry) -> None:
    name = f"{source.host}/team/app"
    await source.skopeo("list-tags", f"docker://{name}")
    await daemon.docker("pull", "-q", f"{name}:1")
    for tag in ("2", "3"):
        await daemon.docker("tag", f"{name}:1", f"{source.host}/team/many:{tag}")
    out, _ = await daemon.docker("push", "--all-tags", f"{source.host}/team/many")
    assert "2: digest: sha256:" in out
    assert "3: digest: sha256:" in out
    await daemon.docker("rmi", f"{source.host}/team/many:2", f"{source.host}/team/many:3")
    await daemon.docker("pull", "-q", "--all-tags", f"{source.host}/team/many")
    out, _ = await daemon.docker("images", "--format", "{{.Tag}}", f"{source.host}/team/many")
    assert {"2", "3"} <= set(out.split())


async def test_the_progress_of_a_pull_is_the_stream_of_docker(daemon: Daemon, source: TestRegistry) -> None:
    made = image({"etc/big": os.urandom(3_000_000)})
    name = f"{source.host}/team/progress"
    await source.push_archive(write_archive(source.folder / "progress.tar", made, "x:1"), "team/progress:1")
    status, steps = await lines(daemon, f"/images/create?fromImage={name}&tag=1")
    assert status == 200
    assert steps[0] == {"status": "Pulling from team/progress", "id": "1"}
    words = list(dict.fromkeys(str(step["status"]) for step in steps[1:-2]))
    assert [word for word in words if word not in {"Extracting", "Waiting"}] == [
        "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Pull complete",
    ]  # fmt: skip
    counted = [step for step in steps if step["status"] == "Downloading"]
    assert counted[-1]["progressDetail"]["current"] == counted[-1]["progressDetail"]["total"]
    assert str(counted[-1]["progress"]).startswith("[====")
    assert [str(step["status"]).partition(":")[0] for step in steps[-2:]] == ["Digest", "Status"]


async def test_a_client_that_vanishes_ends_its_pull(daemon: Daemon) -> None:
    async with hostile_registry() as slow:
        made = image({"etc/x": b"x"})
        slow.add(made)
        stalled, left = asyncio.Event(), asyncio.Event()

        async def stall(request: web.Request) -> web.StreamResponse:
            stalled.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.set()
            return web.Response()

        slow.answer("GET", f"/app/blobs/{slow.layer(made)}", stall)
        async with asyncio.timeout(20):
            async with (
                daemon.session() as session,
                session.post(f"/images/create?fromImage={slow.host}/app&tag=1") as response,
            ):
                await response.content.readline()
                await stalled.wait()
                response.close()
            await left.wait()


async def test_limits_of_transfers_change_while_a_pull_waits(daemon: Daemon) -> None:
    """One download at a time, then three, as a reload of `registries.toml` says; and the attempts of one."""
    registries = daemon.agent.registries
    before = registries.config
    async with hostile_registry() as slow:
        made = image(*({f"etc/{number}": os.urandom(10)} for number in range(4)))
        slow.add(made)
        begun, open_now, most = list[str](), set[str](), 0
        tickets = asyncio.Semaphore(0)

        async def stall(request: web.Request) -> web.StreamResponse:
            nonlocal most
            begun.append(request.path)
            open_now.add(request.path)
            most = max(most, len(open_now))
            await tickets.acquire()
            open_now.discard(request.path)
            return web.Response(body=slow.blobs[request.path.rpartition("/")[2]])

        for number in range(4):
            slow.answer("GET", f"/app/blobs/{slow.layer(made, number)}", stall)
        registries.configure(msgspec.structs.replace(before, max_concurrent_downloads=1))
        try:
            async with asyncio.timeout(20):
                pull = asyncio.create_task(daemon.docker("pull", f"{slow.host}/app:1"))
                tickets.release()
                await _until(lambda: len(begun) == 2)
                assert most == 1
                registries.configure(msgspec.structs.replace(before, max_concurrent_downloads=3))
                await _until(lambda: len(open_now) == 3)
                for _ in range(3):
                    tickets.release()
                await pull
            assert len(begun) == 4
            await daemon.docker("rmi", f"{slow.host}/app:1")

            async def fail(request: web.Request) -> web.StreamResponse:
                begun.append(request.path)
                return web.Response(status=503)

            slow.answer("GET", f"/app/blobs/{slow.layer(made, 0)}", fail)
            begun.clear()
            for _ in range(3):  # the other layers, which may come first
                tickets.release()
            registries.configure(msgspec.structs.replace(before, max_download_attempts=1))
            await daemon.docker("pull", f"{slow.host}/app:1", check=1)
            assert begun.count(f"/v2/app/blobs/{slow.layer(made, 0)}") == 1
        finally:
            registries.configure(before)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  what the registry has seen has no event of its own
        await asyncio.sleep(0.01)


async def test_a_load_shows_its_layers_unless_it_is_quiet(daemon: Daemon) -> None:
    made = image({"etc/load": os.urandom(100_000)})
    archive = made.archive(["loaded:1"])
    status, steps = await lines(daemon, "/images/load?quiet=0", data=archive)
    assert status == 200
    assert {step["status"] for step in steps[:-1]} == {"Loading layer"}
    assert steps[-1] == {"stream": "Loaded image: loaded:1\n"}
    _, steps = await lines(daemon, "/images/load?quiet=1", data=archive)
    assert steps == [{"stream": "Loaded image: loaded:1\n"}]
    status, steps = await lines(daemon, "/images/load", data=b"no archive")
    assert status == 200
    assert list(steps[-1]) == ["errorDetail", "error"]


async def test_names_that_are_no_references_are_refused_before_anything_is_asked(daemon: Daemon) -> None:
    for path, words in (
        ("/images/create?fromImage=Busy", "must be lowercase"),
        ("/images/create?fromImage=app&tag=a%0Ab", "invalid"),
        ("/images/create?fromImage=127.0.0.1:1/app&tag=1&platform=a/b/c/d", "cannot parse platform specifier"),
    ):
        status, body = await daemon.request("POST", path)
        assert (status, words in body["message"]) == (400, True), body
    status, body = await daemon.request("POST", "/images/127.0.0.1:1/app/push?tag=1")
    assert (status, body["message"]) == (400, "Bad parameters and missing X-Registry-Auth: EOF")


async def test_an_archive_behind_a_url_is_imported(daemon: Daemon) -> None:
    async with hostile_registry() as server:
        data = tar({"etc/url": b"x" * 2_000_000})

        async def answer(_request: web.Request) -> web.Response:
            return web.Response(body=data)

        server.answer("GET", "/root.tar", answer)
        url = f"http://{server.host}/v2/root.tar"
        out, _ = await daemon.docker("import", url, "by-url:1")
        assert f"Downloading from {url}" in out
        assert (daemon.agent.images.layers("by-url:1")[0] / "etc/url").stat().st_size == 2_000_000
        status, body = await daemon.request("POST", f"/images/create?fromSrc=http://{server.host}/v2/none")
        assert (status, "failed to GET" in body["message"]) == (404, True)
    for source, code, words in (
        ("", 500, 'Get "http:": http: no Host in request URL'),
        ("file:///etc/passwd", 400, 'unsupported protocol scheme "file"'),
        ("http://127.0.0.1:1/x", 500, "connect: connection refused"),
    ):
        status, body = await daemon.request("POST", f"/images/create?fromSrc={source}")
        assert (status, words in body["message"]) == (code, True), body
