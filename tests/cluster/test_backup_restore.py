"""Backup and restore of a cluster: the same cluster ID, services, secrets and tokens on a host without any state.

Workers reconnect by themselves and their containers are not disturbed. A damaged file or a wrong key is refused and changes nothing.
The tests run in file order: each one continues with the cluster of the one before.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import api
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import CommandResult, LabCluster

pytestmark = pytest.mark.root
COVEY = labs.PYTHON_BIN / "covey"
SECRET = "the-launch-code"


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("backup", 2, 2, archive=images) as found:
        yield found


@pytest.fixture(scope="module")
def saved(lab: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a backup of the lab, which runs a service with a secret, and the backup's key."""
    folder = tmp_path_factory.mktemp("kept")
    lab.docker("secret", "create", "code", "-", stdin=SECRET.encode())
    lab.service("web", "--secret", "code", "--replicas", "2", "--constraint", "node.role==worker")
    lab.running("web", 2)
    done = covey(lab, "swarm", "backup", "--key-file", str(folder / "key"), str(folder / "backup"), on=lab.managers[1])
    assert "2 services" not in done.out
    assert "with 4 nodes, 1 services, 2 tasks" in done.out
    return folder


def covey(lab: LabCluster, *arguments: str, on: LabHost, check: int | None = 0, stdin: bytes = b"") -> CommandResult:
    return labs.run([COVEY, *arguments], check=check, stdin=stdin, env=lab.environment(on))


def wipe_state(host: LabHost) -> None:
    """Empty the state directory, like a new disk."""
    for path in host.state_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def send_and_disconnect(host: LabHost, key: str, data: bytes, part: int | None = None) -> None:
    """Upload a backup, or the first ``part`` bytes of it, and disconnect before the answer."""
    connection = api.SocketConnection(host.socket, 10.0)
    try:
        connection.putrequest("POST", "/covey/swarm/restore")
        connection.putheader("Content-Length", str(len(data)))
        connection.putheader("Covey-Backup-Key", key)
        connection.endheaders(data[:part])
        file, whole = host.state_dir / "restore.covey", part is None
        labs.wait(
            lambda: file.exists() and (not whole or file.stat().st_size == len(data)), "the uploaded file on disk"
        )
    finally:
        connection.close()


def swarm_state(lab: LabCluster, host: LabHost) -> str:
    return str(lab.get("/info", on=host)["Swarm"]["LocalNodeState"])


def test_a_backup_can_be_inspected_and_reveals_no_secret(lab: LabCluster, saved: Path) -> None:
    data = (saved / "backup").read_bytes()
    assert SECRET.encode() not in data
    assert (saved / "backup").stat().st_mode & 0o777 == (saved / "key").stat().st_mode & 0o777 == 0o600
    shown = json.loads(
        covey(lab, "swarm", "backup", "--inspect", "--format", "json", str(saved / "backup"), on=lab[1]).out
    )
    assert shown["cluster_id"] == lab.get("/swarm", on=lab[1])["ID"]
    assert shown["objects"]["secrets"] == 1
    assert shown["unlock_key"] is False


def test_a_second_backup_reuses_the_key_file_and_can_be_written_to_a_pipe(
    lab: LabCluster, saved: Path, tmp_path: Path
) -> None:
    before = (saved / "key").read_text()
    covey(lab, "swarm", "backup", "-q", "--key-file", str(saved / "key"), str(tmp_path / "second"), on=lab[1])
    assert (saved / "key").read_text() == before
    piped = covey(lab, "swarm", "backup", "-", on=lab[1])
    assert piped.out.startswith("CoveyBKP")
    assert "COVEYBK-1-" in piped.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second"]
    refused = covey(lab, "swarm", "backup", str(tmp_path / "third"), on=lab.workers[0], check=1)
    assert "Worker nodes can't be used" in refused.err
    assert not (tmp_path / "third").exists()


def test_a_cluster_that_lost_all_managers_is_restored_and_its_workers_keep_their_containers(
    lab: LabCluster, saved: Path, tmp_path: Path
) -> None:
    first, second = lab.managers
    cluster = lab.get("/swarm", on=first)
    before = {worker.name: lab.covey_containers(worker) for worker in lab.workers}
    tasks = {task["ID"] for task in lab.tasks("web")}
    refused = covey(lab, "swarm", "restore", "--key-file", str(saved / "key"), str(saved / "backup"), on=first, check=1)
    assert "this node is part of a swarm" in refused.err
    lab.docker("config", "create", "later", "-", stdin=b"made after the backup")
    lab.kill(first, second)
    wipe_state(first)
    wipe_state(second)
    lab.start(first)

    damaged = tmp_path / "damaged"
    data = bytearray((saved / "backup").read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert (
        "damaged"
        in covey(lab, "swarm", "restore", "--key-file", str(saved / "key"), str(damaged), on=first, check=1).err
    )
    status, answer = lab.request("POST", "/covey/swarm/restore", on=first, raw=b"CoveyBKPxxxx")
    assert (status, "needs its key" in answer["message"]) == (400, True)
    wrong = covey(lab, "swarm", "restore", str(saved / "backup"), on=first, check=1, stdin=b"COVEYBK-1-" + b"A" * 43)
    assert "the key does not decrypt this backup" in wrong.err
    assert swarm_state(lab, first) == "inactive"
    assert not (first.state_dir / "identity").exists()
    assert not (first.state_dir / "manager").exists()
    assert not (first.state_dir / "restore.covey").exists()

    done = covey(lab, "swarm", "restore", "--key-file", str(saved / "key"), str(saved / "backup"), on=first)
    assert "is now the only manager of cluster default" in done.out
    after = lab.get("/swarm", on=first)
    assert (after["ID"], after["JoinTokens"]) == (cluster["ID"], cluster["JoinTokens"])
    assert [config["Spec"]["Name"] for config in lab.get("/configs", on=first)] == []
    for worker in lab.workers:
        labs.wait(
            lambda worker=worker: lab.nodes(first)[worker.name]["Status"]["State"] == "ready", f"{worker.name} is back"
        )
    assert {task["ID"] for task in lab.running("web", 2, on=first)} == tasks
    assert {worker.name: lab.covey_containers(worker) for worker in lab.workers} == before
    for task in lab.tasks("web", on=first):
        assert lab.execute(task, "cat", "/run/secrets/code").out == SECRET

    # A manager that lost its disk joins like any host. Its old node can be removed.
    for node in lab.get("/nodes", on=first):
        if node["Spec"]["Role"] == "manager" and node["ManagerStatus"]["Reachability"] == "unreachable":
            lab.docker("node", "demote", node["ID"], on=first)
            lab.docker("node", "rm", "--force", node["ID"], on=first)
    assert len(lab.get("/nodes", on=first)) == 1 + len(lab.workers)
    lab.start(second)
    token = lab.docker("swarm", "join-token", "-q", "manager", on=first).out.strip()
    lab.docker("swarm", "join", "--token", token, f"{first.address}:2377", on=second)
    lab.wait_ready()
    lab.docker("service", "scale", "--detach", "web=3", on=second)
    lab.running("web", 3)


def test_a_backup_of_a_locked_cluster_needs_its_unlock_key_and_restores_a_locked_cluster(
    lab: LabCluster, tmp_path: Path
) -> None:
    first, second = lab.managers
    lab.docker("swarm", "update", "--autolock=true", on=first)
    key = lab.docker("swarm", "unlock-key", "-q", on=first).out.strip()
    said = covey(lab, "swarm", "backup", str(tmp_path / "backup"), on=second).out
    assert "COVEYBK" not in said
    assert "the unlock key" in covey(lab, "swarm", "backup", "--inspect", str(tmp_path / "backup"), on=second).out
    lab.kill(first, second)
    wipe_state(first)
    wipe_state(second)
    lab.start(first)
    refused = covey(
        lab, "swarm", "restore", str(tmp_path / "backup"), on=first, check=1, stdin=b"COVEYBK-1-" + b"A" * 43
    )
    assert "needs the unlock key" in refused.err
    data = (tmp_path / "backup").read_bytes()
    send_and_disconnect(first, key, data, part=len(data) // 2)
    labs.wait(lambda: swarm_state(lab, first) == "inactive", "the incomplete upload discarded")
    assert not (first.state_dir / "restore.covey").exists()
    send_and_disconnect(first, key, data)
    labs.wait(lambda: swarm_state(lab, first) == "active", "the restore to finish although the client disconnected")
    labs.wait(lambda: not (first.state_dir / "restore.covey").exists(), "the uploaded file removed")
    assert lab.docker("swarm", "unlock-key", "-q", on=first).out.strip() == key
    lab.kill(first)
    lab.start(first)
    assert swarm_state(lab, first) == "locked"
    forced = lab.docker("swarm", "init", "--force-new-cluster", on=first, check=1)
    assert "needs to be unlocked" in forced.err
    lab.docker("swarm", "unlock", on=first, stdin=f"{key}\n".encode())
    labs.wait(lambda: swarm_state(lab, first) == "active", "the manager unlocked")
    lab.running("web", 3, on=first)
