"""When a task's image is asked for at a registry: tags always, digests only if they are missing, ids never."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from agent.image.model import Image, Progress
from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.errors import RegistryConnectionError, RegistryError
from agent.image.task_images import UNREACHABLE_SECONDS, TaskImages
from covey.clock import SECOND
from covey.errors import CoveyError, NotFoundError
from tests.support.fake_host import IMAGE

DIGEST = "sha256:" + "a" * 64


class Pull:
    def __init__(self, error: CoveyError | None, *, is_silent: bool = False) -> None:
        self._error = error
        self._is_silent = is_silent

    async def __aiter__(self) -> AsyncGenerator[Progress, None]:
        if self._is_silent:
            await asyncio.Event().wait()
        yield Progress("Pulling from app")

    async def result(self) -> tuple[()]:
        if self._error is not None:
            raise self._error
        return ()


class Host:
    """Images of the host, its registry, and other nodes that have nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Credentials]] = []
        self.error: CoveyError | None = None
        self.is_silent = False
        self.here: set[str] = set()
        self.now = 0
        self.images = TaskImages(  # type: ignore[arg-type]
            self, self, self, lambda: self.now, refresh_answer_seconds=0.01
        )

    @contextmanager
    def pull(self, name: str, *, credentials: Credentials = ANONYMOUS) -> Iterator[Pull]:
        self.asked.append((name, credentials))
        if self.error is None and not self.is_silent:
            self.here.add(name)
        yield Pull(self.error, is_silent=self.is_silent)

    def get(self, name: str) -> Image:
        if name not in self.here:
            raise NotFoundError(f"No such image: {name}")
        return IMAGE

    async def acquire(self, _reference: str, pull: Callable[[], Awaitable[None]]) -> None:
        await pull()


@pytest.mark.parametrize(
    ("name", "is_here", "is_pulled"),
    [
        ("app:1", True, True),
        ("app:1", False, True),
        (f"app:1@{DIGEST}", True, False),
        (f"app@{DIGEST}", False, True),
        ("a" * 64, True, False),
        (DIGEST, True, False),
    ],
)
async def test_the_policy_is_that_of_docker(name: str, is_here: bool, is_pulled: bool) -> None:
    host = Host()
    host.here = {name} if is_here else set()
    assert await host.images.ensure(name) == IMAGE
    assert [asked for asked, _ in host.asked] == ([name] if is_pulled else [])


async def test_the_credentials_of_the_service_are_used() -> None:
    host = Host()
    await host.images.ensure("app:1", base64.urlsafe_b64encode(b'{"username":"joe","password":"x"}').decode())
    assert host.asked == [("app:1", Credentials("joe", "x"))]


async def test_a_registry_that_cannot_be_reached_is_asked_again_only_later_for_images_that_are_here() -> None:
    host = Host()
    host.error, host.here = RegistryConnectionError("connection refused"), {"reg.lan/app:1", "other.lan/app:1"}
    for _ in range(3):
        assert await host.images.ensure("reg.lan/app:1") == IMAGE
    assert len(host.asked) == 1
    await host.images.ensure("other.lan/app:1")
    with pytest.raises(NotFoundError, match="No such image: reg.lan/missing:1: connection refused"):
        await host.images.ensure("reg.lan/missing:1")
    assert len(host.asked) == 3
    host.now = UNREACHABLE_SECONDS * SECOND
    await host.images.ensure("reg.lan/app:1")
    assert len(host.asked) == 4


async def test_an_image_that_is_here_is_used_when_its_registry_refuses() -> None:
    host = Host()
    host.error, host.here = RegistryError("unauthorized: authentication required"), {"reg.lan/app:1"}
    assert await host.images.ensure("reg.lan/app:1") == IMAGE
    with pytest.raises(NotFoundError, match=f"^No such image: {DIGEST}$"):
        await host.images.ensure(DIGEST)


async def test_a_registry_that_does_not_answer_does_not_delay_a_task_whose_image_is_here() -> None:
    host = Host()
    host.is_silent, host.here = True, {"reg.lan/app:1"}
    async with asyncio.timeout(5):
        assert await host.images.ensure("reg.lan/app:1") == IMAGE
        assert await host.images.ensure("reg.lan/app:1") == IMAGE
    assert len(host.asked) == 1
