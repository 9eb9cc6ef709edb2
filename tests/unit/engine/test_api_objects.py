"""Secrets, configs, networks, stacks and events, with the real docker client and SDK and the real control service behind the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from covey.objects import (
    Annotations,
    Network,
    NetworkAttachment,
    TaskStatus,
    replace,
)
from covey.states import TaskState
from tests.support.api_daemon import Daemon, running
from tests.support.api_services import add_task, create


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


async def test_secrets_go_in_and_never_come_out(daemon: Daemon) -> None:
    out, _ = await daemon.docker("secret", "create", "--label", "a=b", "key", "-", stdin=b"hidden words")
    secret = daemon.store.view().secrets.get(out.strip())
    assert secret.spec.data == b"hidden words"
    shown, _ = await daemon.docker("secret", "inspect", "key")
    assert "hidden" not in shown
    assert "aGlkZGVu" not in shown
    out, _ = await daemon.docker("secret", "ls", "--format", "{{.Name}}")
    assert out.split() == ["key"]
    _, err = await daemon.docker("secret", "create", "key", "-", stdin=b"x", check=1)
    assert "name conflicts" in err or "already" in err
    service = await create(daemon, "--name", "web", "--secret", "source=key,target=k,mode=0400,uid=5")
    reference = service.spec.task.container.secrets[0]
    assert (reference.secret_id, reference.file.name, reference.file.mode, reference.file.uid) == (
        secret.id,
        "k",
        0o400,
        "5",
    )
    _, err = await daemon.docker("secret", "rm", "key", check=1)
    assert "in use by" in err
    await daemon.docker("service", "rm", "web")
    await daemon.docker("secret", "rm", "key")
    _, err = await daemon.docker("secret", "inspect", "key", check=1)
    assert "key" in err


async def test_a_secret_over_the_bound_is_refused(daemon: Daemon) -> None:
    _, err = await daemon.docker("secret", "create", "big", "-", stdin=b"x" * 500 * 1024, check=1)
    assert "secret data must be larger than 0 and less than 512000 bytes" in err
    status, body = await daemon.request("POST", "/secrets/create", json={"Name": "x", "Data": "%%%"})
    assert (status, body["message"]) == (400, "illegal base64 data at input byte 0; it is the Data of the secret")


async def test_configs_come_back_as_they_went_in(daemon: Daemon) -> None:
    await daemon.docker("config", "create", "conf", "-", stdin=b"a = 1\n")
    out, _ = await daemon.docker("config", "inspect", "--pretty", "conf")
    assert "a = 1" in out
    service = await create(daemon, "--name", "web", "--config", "source=conf,target=/etc/a.conf")
    assert service.spec.task.container.configs[0].file.name == "/etc/a.conf"
    await daemon.docker("service", "rm", "web")
    await daemon.docker("config", "rm", "conf")


async def test_overlays_join_the_predefined_networks_in_the_list(daemon: Daemon) -> None:
    await daemon.docker("network", "create", "-d", "overlay", "--subnet", "10.9.0.0/24", "--attachable", "back")
    out, _ = await daemon.docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")
    assert sorted(out.splitlines()) == [
        "back overlay swarm",
        "bridge bridge local",
        "host host local",
        "none null local",
    ]
    out, _ = await daemon.docker("network", "ls", "--filter", "driver=overlay", "-q")
    assert len(out.split()) == 1
    out, _ = await daemon.docker("network", "inspect", "back", "bridge", "--format", "{{.Name}} {{.Attachable}}")
    assert out.splitlines() == ["back true", "bridge false"]
    _, err = await daemon.docker("network", "create", "-d", "overlay", "--subnet", "10.9.0.0/16", "other", check=1)
    assert "overlap" in err.lower()
    for flags, words in (
        (["-d", "bridge", "--scope", "swarm"], "bridge"),
        (["-d", "overlay", "--opt", "covey.mesh.snat=true"], "create it with --ingress"),
        (["-d", "overlay", "--ipv4=false"], "IPv4 cannot be disabled in a Swarm scoped network"),
        (["-d", "overlay", "--ipam-driver", "dhcp"], "IPAM driver dhcp is not supported"),
    ):
        _, err = await daemon.docker("network", "create", *flags, "new", check=1)
        assert words in err
    _, err = await daemon.docker("network", "rm", "bridge", check=1)
    assert "pre-defined network" in err
    await daemon.docker("network", "rm", "back")
    _, err = await daemon.docker("network", "inspect", "back", check=1)
    assert "network back not found" in err


async def test_a_network_waits_for_tasks_that_leave_and_for_no_others(daemon: Daemon) -> None:
    """``docker stack rm`` asks right behind the end of the services, while their containers still stop."""
    out, _ = await daemon.docker("network", "create", "-d", "overlay", "back")
    service = await create(daemon, "--name", "web", "--network", "back")
    task = await add_task(
        daemon, service, 1, networks=(NetworkAttachment(network_id=out.strip(), address="10.0.1.5/24"),)
    )
    _, err = await daemon.docker("network", "rm", "back", check=1)
    assert "in use by service web" in err
    await daemon.docker("service", "rm", "web")
    removing = asyncio.create_task(daemon.docker("network", "rm", "back"))
    done, _ = await asyncio.wait([removing], timeout=1)
    assert not done, "the task still holds the network"
    ended = replace(daemon.store.view().tasks.get(task.id), status=TaskStatus(state=TaskState.SHUTDOWN))
    await daemon.store.update(lambda tx: tx.update(ended))
    await removing
    assert len(daemon.store.view().networks) == 0


STACK = """
services:
  web:
    image: busybox
    command: sleep 9
    environment: {A: "1"}
    secrets: [key]
    networks: [back]
    deploy: {replicas: 2, update_config: {parallelism: 1, order: start-first}}
networks:
  back: {driver: overlay}
secrets:
  key: {file: ./key.txt}
"""


async def test_a_stack_is_deployed_shown_and_removed_by_the_client(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("words")
    (tmp_path / "stack.yml").write_text(STACK)
    deploy = ["stack", "deploy", "--detach", "--resolve-image", "never", "-c", str(tmp_path / "stack.yml"), "shop"]
    await daemon.docker(*deploy)
    service = daemon.store.view().services.by_name("shop_web")
    assert service.spec.annotations.labels["com.docker.stack.namespace"] == "shop"
    version = service.meta.version
    await daemon.docker(*deploy)
    again = daemon.store.view().services.by_name("shop_web")
    assert again.spec_version == service.spec_version, "a second deployment of the same file must not restart tasks"
    assert again.meta.version >= version
    out, _ = await daemon.docker("stack", "ls", "--format", "{{.Name}} {{.Services}}")
    assert out.split() == ["shop", "1"]
    out, _ = await daemon.docker("stack", "services", "shop", "--format", "{{.Name}} {{.Replicas}}")
    assert out.split() == ["shop_web", "0/2"]
    await daemon.docker("stack", "rm", "--detach", "shop")
    assert len(daemon.store.view().services) == 0
    assert len(daemon.store.view().secrets) == 0


async def test_events_of_the_cluster_are_streamed_with_their_scope(daemon: Daemon) -> None:
    async with (
        daemon.session() as session,
        session.get("/events", params={"filters": '{"type":["service","node"]}'}) as stream,
    ):
        assert stream.status == 200
        service = None
        async with asyncio.timeout(20):
            # the watch begins a moment after the answer's head, so changes are made until one is told
            reading = asyncio.create_task(stream.content.readline())
            number = 0
            while not reading.done():
                service = await create(daemon, "--name", f"web{number}")
                number += 1
            event = json.loads(await reading)
    assert service is not None
    assert (event["Type"], event["Action"], event["scope"]) == ("service", "create", "swarm")
    assert event["Actor"]["Attributes"]["name"].startswith("web")


async def test_a_network_object_without_a_vni_is_shown_all_the_same(daemon: Daemon) -> None:
    await daemon.store.update(
        lambda tx: tx.create(
            Network(id="n" * 25, spec=replace(Network(id="x").spec, annotations=Annotations(name="raw")))
        )
    )
    out, _ = await daemon.docker("network", "inspect", "raw", "--format", "{{.Driver}}")
    assert out.strip() == "overlay"
