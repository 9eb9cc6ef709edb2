"""Images of services: credentials and digests, asked from a recording engine and compared with what docker sends."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.client import DaemonClient
from cli.registry.service_images import ALWAYS, CHANGED, NEVER, ServiceImages
from tests.support.recording_engine import RecordingEngine, Request, recording

DIGEST, OLD = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
ANSWER = {"Descriptor": {"digest": DIGEST}, "Platforms": [{"os": "linux", "architecture": "amd64"}]}
PLATFORMS = [{"Architecture": "amd64", "OS": "linux"}]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingEngine]:
    with recording(tmp_path_factory.mktemp("engine")) as made:
        auth = base64.b64encode(b"me:pw").decode()
        (made.home / "config.json").write_text(json.dumps({"auths": {"registry.test": {"auth": auth}}}))
        made.answers["/distribution/registry.test/x:1/json"] = ANSWER
        made.answers["/distribution/registry.test/lost:1/json"] = None
        yield made


def sent(requests: list[Request]) -> list[tuple[str, str, Any]]:
    """The paths, the user names in the credentials, and the image of requests."""
    found = []
    for request in requests:
        credentials = json.loads(base64.urlsafe_b64decode(request.headers.get("X-Registry-Auth", "e30=")))
        template = request.body["TaskTemplate"] if isinstance(request.body, dict) else {}
        image = template.get("ContainerSpec", {}).get("Image")
        platforms = (template.get("Placement") or {}).get("Platforms")
        found.append((request.path, credentials.get("username", ""), (image, platforms or None)))
    return found


@pytest.mark.parametrize(
    "words",
    [
        ("--with-registry-auth", "registry.test/x:1"),
        ("--no-resolve-image", "registry.test/x:1"),
        ("--no-resolve-image", "--with-registry-auth", f"registry.test/x:1@{OLD}"),
    ],
)
def test_service_create_sends_what_docker_sends(engine: RecordingEngine, words: tuple[str, ...]) -> None:
    command = ("service", "create", "--detach", "--name", "a", *words)
    ours = sent(engine.covey(*command))
    assert ours == sent(engine.docker(*command))
    if len(words) == 2 and words[0] == "--with-registry-auth":
        assert ours[-1] == ("/services/create", "me", (f"registry.test/x:1@{DIGEST}", PLATFORMS))


def spec(image: str, platforms: list[Any] | None = None) -> dict[str, Any]:
    placement = {"Placement": {"Platforms": platforms}} if platforms else {}
    return {"TaskTemplate": {"ContainerSpec": {"Image": image}, **placement}}


@pytest.mark.parametrize(
    ("resolve", "image", "current", "prepared"),
    [
        (ALWAYS, "registry.test/x:1", None, spec(f"registry.test/x:1@{DIGEST}", PLATFORMS)),
        (NEVER, "registry.test/x:1", None, spec("registry.test/x:1")),
        (CHANGED, "registry.test/x:1", spec(f"registry.test/x:1@{OLD}"), spec(f"registry.test/x:1@{OLD}")),
        (
            CHANGED,
            "registry.test/x:1",
            spec(f"registry.test/x:0@{OLD}"),
            spec(f"registry.test/x:1@{DIGEST}", PLATFORMS),
        ),
        (ALWAYS, "registry.test/lost:1", None, spec("registry.test/lost:1")),
        (
            ALWAYS,
            "registry.test/lost:1",
            spec(f"registry.test/lost:1@{OLD}", PLATFORMS),
            spec(f"registry.test/lost:1@{OLD}", PLATFORMS),
        ),
        (ALWAYS, "NO NAME", None, spec("NO NAME")),
    ],
)
def test_an_image_gets_its_digest_or_stays_as_it_is(
    engine: RecordingEngine,
    monkeypatch: pytest.MonkeyPatch,
    resolve: str,
    image: str,
    current: dict[str, Any] | None,
    prepared: dict[str, Any],
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(engine.home))
    images = ServiceImages(DaemonClient(engine.host), send_credentials=False, resolve=resolve)
    assert images.prepared(spec(image), current) == prepared


def test_a_missing_daemon_is_said_by_the_request_that_follows(tmp_path: Path) -> None:
    images = ServiceImages(DaemonClient(f"unix://{tmp_path}/none"), send_credentials=False)
    assert images.prepared(spec("busybox")) == spec("busybox")


class Registry:
    """A daemon whose registry answers only while ``together`` requests wait for it."""

    def __init__(self, together: int) -> None:
        self.barrier = threading.Barrier(together, timeout=10)
        self.asked: list[str] = []

    def call(self, _method: str, path: str, **_: Any) -> Any:
        self.asked.append(path)
        self.barrier.wait()
        return ANSWER


def test_several_images_are_asked_for_at_a_time_and_each_once() -> None:
    registry: Any = Registry(together=3)
    images = ServiceImages(registry, send_credentials=False)
    wanted = ["r.test/a", "r.test/b", "r.test/a", "r.test/c", f"r.test/d@{OLD}"]
    prepared = images.all_prepared([(spec(image), None) for image in wanted])
    assert sorted(registry.asked) == [f"/distribution/r.test%2F{name}/json" for name in "abc"]
    found = [item["TaskTemplate"]["ContainerSpec"]["Image"] for item in prepared]
    assert found == [*(f"{image}@{DIGEST}" for image in wanted[:4]), wanted[4]]
