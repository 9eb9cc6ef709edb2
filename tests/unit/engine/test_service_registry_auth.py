"""Credentials of services: stored with the spec, kept by updates, and never shown."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from covey.objects import Service
from tests.support.api_daemon import Daemon, running

AUTH = base64.urlsafe_b64encode(b'{"username":"joe","password":"secret words"}').decode()
SPEC = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "127.0.0.1:1/app:1"}}}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


def stored(daemon: Daemon) -> Service:
    (service,) = daemon.store.view().services
    return service


async def update(daemon: Daemon, query: str = "", headers: dict[str, str] | None = None) -> tuple[int, object]:
    path = f"/services/web/update?version={stored(daemon).meta.version}{query}"
    return await daemon.request("POST", path, json=SPEC, headers=headers or {})


async def test_the_credentials_of_a_service_are_kept_by_updates_and_never_shown(daemon: Daemon) -> None:
    status, _ = await daemon.request("POST", "/services/create", json=SPEC, headers={"X-Registry-Auth": AUTH})
    assert status == 201
    assert stored(daemon).spec.task.container.registry_auth == AUTH
    await update(daemon)
    assert stored(daemon).spec.task.container.registry_auth == AUTH
    await update(daemon, headers={"X-Registry-Auth": "other"})
    assert stored(daemon).spec.task.container.registry_auth == "other"
    await update(daemon, "&registryAuthFrom=previous-spec")
    assert stored(daemon).spec.task.container.registry_auth == AUTH
    status, body = await update(daemon, "&registryAuthFrom=nowhere")
    assert (status, body) == (400, {"message": "unsupported registryAuthFrom value"})
    for path in ("/services", "/services/web", "/tasks"):
        _, shown = await daemon.request("GET", path)
        assert AUTH not in json.dumps(shown)
        assert "egistryAuth" not in json.dumps(shown)


async def test_an_old_client_gets_the_warning_of_docker_when_no_registry_answers(daemon: Daemon) -> None:
    status, body = await daemon.request("POST", "/v1.29/services/create", json=SPEC)
    assert status == 201
    (warning,) = body["Warnings"]
    assert warning == (
        "image 127.0.0.1:1/app:1 could not be accessed on a registry to record\n"
        "its digest. Each node will access 127.0.0.1:1/app:1 independently,\n"
        "possibly leading to different nodes running different\nversions of the image.\n"
    )
    assert stored(daemon).spec.task.container.image == "127.0.0.1:1/app:1"
