"""The swarm and its nodes, with the real docker client and SDK and the real control service behind the API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from covey.errors import InvalidArgumentError, UnavailableError
from engine.interfaces import LocalNodeState
from tests.support.api_daemon import Daemon, running


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        yield made


async def test_init_join_and_leave_reach_the_node(alone: Daemon) -> None:
    out, _ = await alone.docker("swarm", "init", "--advertise-addr", "192.0.2.1", "--task-history-limit", "3")
    request = alone.node.requests[0]
    assert (request.advertise_addr, request.spec.task_history) == ("192.0.2.1", 3)
    assert request.spec.heartbeat_period_ns == 1_000_000_000
    assert "Swarm initialized" in out or "is now a manager" in out
    _, err = await alone.docker("swarm", "init", check=1)
    assert "This node is already part of a swarm" in err
    _, err = await alone.docker("swarm", "join", "--token", "SWMTKN-1-a-b", "192.0.2.9:2377", check=1)
    assert "This node is already part of a swarm" in err
    await alone.docker("swarm", "leave", "--force")
    assert alone.node.requests[-1] == ("leave", True)
    _, err = await alone.docker("swarm", "leave", check=1)
    assert "This node is not part of a swarm" in err
    out, _ = await alone.docker("swarm", "join", "--token", "SWMTKN-1-a-b", "192.0.2.9:2377")
    assert alone.node.requests[-1].remote_addrs == ("192.0.2.9:2377",)
    assert "joined a swarm" in out


async def test_an_error_of_the_node_reaches_the_client(alone: Daemon) -> None:
    alone.node.error_to_raise = UnavailableError("no manager answers at 192.0.2.9:2377")
    _, err = await alone.docker("swarm", "join", "--token", "SWMTKN-1-a-b", "192.0.2.9:2377", check=1)
    assert "no manager answers at 192.0.2.9:2377" in err


async def test_join_tokens_are_shown_and_rotated(daemon: Daemon) -> None:
    out, _ = await daemon.docker("swarm", "join-token", "-q", "worker")
    assert out.strip() == "SWMTKN-1-x-worker"
    assert daemon.node.managers == (), "a daemon that has just started has not heard of its managers yet"
    out, _ = await daemon.docker("swarm", "join-token", "worker")
    assert "docker swarm join --token SWMTKN-1-x-worker 192.0.2.1:2377" in out
    out, _ = await daemon.docker("node", "ls", "-q")
    out, _ = await daemon.docker("node", "inspect", *out.split(), "--format", "{{.ManagerStatus.Addr}}")
    assert out.strip() == "192.0.2.1:2377"
    before = daemon.store.view().clusters
    version = next(iter(before)).meta.version
    status, _ = await daemon.request("POST", "/swarm/update", params={"version": "1"}, json={"Name": "other"})
    assert status == 400
    status, body = await daemon.request("POST", "/swarm/update", params={"version": str(version + 9)}, json={})
    assert (status, body["message"]) == (500, "rpc error: code = Unknown desc = update out of sequence"), body


async def test_swarm_update_changes_only_what_is_asked(daemon: Daemon) -> None:
    await daemon.docker("swarm", "update", "--task-history-limit", "2", "--dispatcher-heartbeat", "2s")
    spec = next(iter(daemon.store.view().clusters)).spec
    assert (spec.task_history, spec.heartbeat_period_ns) == (2, 2_000_000_000)
    assert spec.raft.snapshot_interval == 10_000


async def test_an_unlock_key_is_created_shown_rotated_and_removed_and_shown_nowhere_else(daemon: Daemon) -> None:
    _, err = await daemon.docker("swarm", "unlock-key", check=1)
    assert "no unlock key is set" in err
    out, _ = await daemon.docker("swarm", "update", "--autolock=true")
    key = next(line.strip() for line in out.splitlines() if "SWMKEY-1-" in line)
    assert next(iter(daemon.store.view().clusters)).unlock_key == key
    await daemon.docker("swarm", "update", "--task-history-limit", "2")
    out, _ = await daemon.docker("swarm", "unlock-key", "-q")
    assert out.strip() == key, "other changes leave the key"
    for path in ("/swarm", "/info"):
        _, body = await daemon.request("GET", path)
        assert "SWMKEY" not in str(body)
        assert key not in str(body)
    out, _ = await daemon.docker("swarm", "unlock-key", "-q", "--rotate")
    assert out.strip() not in {"", key}
    await daemon.docker("swarm", "update", "--autolock=false")
    assert next(iter(daemon.store.view().clusters)).unlock_key == ""
    version = next(iter(daemon.store.view().clusters)).meta.version
    query = {"version": str(version), "rotateManagerUnlockKey": "true"}
    status, body = await daemon.request("POST", "/swarm/update", params=query, json={"Name": "default"})
    assert (status, body["message"]) == (
        400,
        "rpc error: code = InvalidArgument desc = cannot rotate the unlock key because autolock is not turned on",
    )
    assert next(iter(daemon.store.view().clusters)).meta.version == version


async def test_init_asks_for_a_lock_by_either_field(alone: Daemon) -> None:
    for body in ({"AutoLockManagers": True}, {"Spec": {"EncryptionConfig": {"AutoLockManagers": True}}}):
        alone.node.state = LocalNodeState.INACTIVE
        await alone.request("POST", "/swarm/init", json={"ListenAddr": "0.0.0.0:2377", **body})
        assert alone.node.requests[-1].spec.auto_lock


async def test_a_locked_manager_is_unlocked_by_its_key(daemon: Daemon) -> None:
    daemon.node.state, daemon.node.is_manager = LocalNodeState.LOCKED, False
    out, _ = await daemon.docker("info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}")
    assert out.strip() == "locked false"
    _, err = await daemon.docker("node", "ls", check=1)
    assert 'Please use "docker swarm unlock" to unlock it.' in err
    daemon.node.error_to_raise = InvalidArgumentError("swarm could not be unlocked: invalid key provided")
    _, err = await daemon.docker("swarm", "unlock", stdin=b"SWMKEY-1-wrong\n", check=1)
    assert "invalid key provided" in err
    daemon.node.error_to_raise = None
    await daemon.docker("swarm", "unlock", stdin=b"SWMKEY-1-right\n")
    assert daemon.node.requests[-1] == ("unlock", "SWMKEY-1-right")
    status, body = await daemon.request("POST", "/swarm/unlock", json={"UnlockKey": "SWMKEY-1-right"})
    assert (status, body["message"]) == (409, "swarm is not locked")
    daemon.node.state = LocalNodeState.INACTIVE
    status, _ = await daemon.request("POST", "/swarm/unlock", json={"UnlockKey": "x"})
    assert status == 503


async def test_nodes_are_listed_filtered_updated_and_removed(daemon: Daemon) -> None:
    other = await daemon.add_node("w" * 25, "host-2")
    out, _ = await daemon.docker(
        "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}} {{.Self}}"
    )
    assert sorted(out.splitlines()) == ["host-1 Ready Active Leader true", "host-2 Ready Active  false"]
    out, _ = await daemon.docker("node", "ls", "-q", "--filter", "role=worker")
    assert out.split() == [other.id]
    await daemon.docker("node", "update", "--availability", "drain", "--label-add", "zone=a", "host-2")
    out, _ = await daemon.docker(
        "node", "inspect", "host-2", "--format", "{{.Spec.Availability}} {{.Spec.Labels.zone}}"
    )
    assert out.split() == ["drain", "a"]
    out, _ = await daemon.docker("node", "ls", "-q", "--filter", "node.label=zone=a")
    assert out.split() == [other.id]
    out, _ = await daemon.docker("node", "inspect", "--pretty", "self")
    assert "host-1" in out
    _, err = await daemon.docker("node", "rm", "host-2", check=1)
    assert "host-2" in err or other.id in err
    _, err = await daemon.docker("node", "inspect", "nobody", check=1)
    assert "nobody" in err
    status, body = await daemon.request("POST", "/nodes/host-2/update", params={"version": "1"}, json={"Role": "king"})
    assert status == 400
    assert 'invalid Role: "king"' in body["message"]
