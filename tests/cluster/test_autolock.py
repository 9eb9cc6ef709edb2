"""Autolock with the real docker client: encryption at rest, unlock keys, and key rotation under load.

The tests run in file order: later ones use the secret and the service of the first one.
"""

import base64
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from covey import unlockkey
from manager.keys import data_keys, node_key
from node.lab import cluster as lab_cluster
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root

KEY = re.compile(r"SWMKEY-1-[A-Za-z0-9+/]{43}")
SECRET = secrets.token_hex(24)
LOCKED = "Swarm is encrypted and needs to be unlocked before it can be used."


@pytest.fixture(scope="module")
def locked(images: Path) -> Iterator[LabCluster]:
    """Three managers. The first is locked from the start, the others from when they join."""
    with labs.running_lab("autolock", 3, init_cluster=False, archive=images) as found:
        one, *others = found.hosts
        out = found.docker("swarm", "init", "--autolock", "--advertise-addr", one.address, on=one).out
        assert KEY.search(out), out
        token = found.docker("swarm", "join-token", "-q", "manager", on=one).out.strip()
        for host in others:
            found.docker(
                "swarm", "join", "--token", token, "--advertise-addr", host.address, f"{one.address}:2377", on=host
            )
        found.wait_ready()
        yield found


def unlock_key_of(locked: LabCluster, host: LabHost) -> str:
    return locked.docker("swarm", "unlock-key", "-q", on=host).out.strip()


def swarm_state(locked: LabCluster, host: LabHost) -> str:
    return str(locked.get("/info", on=host)["Swarm"]["LocalNodeState"])


def unlock(locked: LabCluster, host: LabHost, key: str, *, check: int = 0) -> labs.CommandResult:
    return locked.docker("swarm", "unlock", on=host, stdin=f"{key}\n".encode(), check=check)


def is_sealed_with(host: LabHost, key: str) -> bool:
    """Whether everything on the host's disk is encrypted with this unlock key and one data key."""
    try:
        keys = data_keys.read(host.state_dir / "manager" / "keys", (key,) if key else ())
    except data_keys.LockedError:
        return False
    lying = node_key.sealed_with((host.state_dir / "identity" / "node.key").read_bytes())
    return (
        keys is not None
        and not keys.retired_ids
        and keys.unlock_key == key
        and lying == (keys.ring.current if key else 0)
    )


def encodings(secret: bytes) -> list[bytes]:
    """Encodings in which a secret may be in a file. Of base64, only the part that does not depend on the alignment."""
    found = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    for begin in range(3):
        whole = base64.b64encode(secret[begin : begin + (len(secret) - begin) // 3 * 3])
        found += [whole, base64.urlsafe_b64encode(base64.b64decode(whole))]
    return found


def private_key_encodings(pem: bytes) -> list[bytes]:
    key = serialization.load_pem_private_key(pem, None)
    number = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return [*encodings(number), *encodings(der), pem.splitlines()[1]]


def test_a_stolen_disk_reveals_no_secret(locked: LabCluster) -> None:
    """1. A task uses a secret and a config. 2. A manager loses power. 3. Every file of its disk is searched for them."""
    one = locked[1]
    locked.docker("secret", "create", "word", "-", stdin=SECRET.encode(), on=one)
    locked.docker("config", "create", "setting", "-", stdin=f"config {SECRET}".encode(), on=one)
    locked.service("user", "--secret", "word", "--config", "setting", "--mode", "global")
    locked.running("user", 3)
    key = unlock_key_of(locked, one)
    for host in locked.hosts:
        labs.wait(lambda host=host: is_sealed_with(host, key), f"{host.name} locked")
    tokens = locked.get("/swarm", on=one)["JoinTokens"]
    for victim in (one, locked[3]):
        keys = data_keys.read(victim.state_dir / "manager" / "keys", (key,))
        assert keys is not None
        path = victim.state_dir / "identity" / "node.key"
        pem = node_key.unseal(keys.ring, path, path.read_bytes())
        locked.kill(victim)
        secret = [SECRET.encode(), key.encode(), unlockkey.parse(key), *keys.ring.keys.values()]
        secret += [token.rpartition("-")[2].encode() for token in tokens.values()]
        wanted = [form for one in secret for form in encodings(one)] + private_key_encodings(pem)
        files = [path for path in victim.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert victim.log in files, "the daemon's log is searched too"
        said = [(path, form) for path in files for content in [path.read_bytes()] for form in wanted if form in content]
        assert not said
        assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()], (
            "no private key is on disk in plain text"
        )
        locked.start(victim)
        assert swarm_state(locked, victim) == "locked"
        unlock(locked, victim, key)
        locked.wait_ready()


def test_a_restarted_manager_is_locked_until_it_gets_its_key_and_then_votes(locked: LabCluster) -> None:
    two, three = locked[2], locked[3]
    key = unlock_key_of(locked, locked[1])
    locked.running("user", 3)
    before = locked.covey_containers(two)
    lab_cluster.crash(two)
    locked.start(two)
    assert swarm_state(locked, two) == "locked"
    assert locked.covey_containers(two) == before, "containers keep running"
    for command in (("node", "ls"), ("service", "ls"), ("secret", "ls"), ("swarm", "unlock-key")):
        assert LOCKED in locked.docker(*command, on=two, check=1).err
    status, body = locked.request("GET", "/nodes", on=two)
    assert status == 503
    assert LOCKED in body["message"]
    assert "already part of a swarm" in locked.docker("swarm", "init", on=two, check=1).err
    assert "encrypted and locked" in locked.docker("swarm", "leave", on=two, check=1).err
    assert "invalid key provided" in unlock(locked, two, unlockkey.generate(), check=1).err
    assert "invalid key string" in unlock(locked, two, "sesame", check=1).err
    status, _ = locked.request("POST", "/swarm/unlock", {"UnlockKey": unlockkey.generate()}, on=two)
    assert status == 400
    assert swarm_state(locked, two) == "locked"
    assert unlock(locked, two, key).err == ""
    assert "swarm is not locked" in unlock(locked, two, key, check=1).err
    assert locked.request("POST", "/swarm/unlock", {"UnlockKey": key}, on=two)[0] == 409
    locked.wait_ready()
    assert [one["Spec"]["Name"] for one in locked.get("/secrets", on=two)] == ["word"]
    locked.kill(three)  # Two of three managers are needed, so the unlocked one votes.
    locked.docker("secret", "create", "second", "-", stdin=b"x", on=two)
    locked.start(three)
    unlock(locked, three, key)
    locked.wait_ready()


def kill_manager(locked: LabCluster, host: LabHost) -> None:
    [pid] = locked.inside(host, "pgrep", "-f", "manager.main").lines[:1]
    locked.inside(host, "kill", "-9", pid)
    labs.wait(
        lambda: pid not in locked.inside(host, "pgrep", "-f", "manager.main", check=None).lines,
        "the manager process to end",
    )


def test_a_crashed_manager_process_restarts_without_a_prompt_unless_its_key_file_changed(locked: LabCluster) -> None:
    """1. The daemon has the key in memory, so no prompt is needed. 2. The key file is replaced by one under another unlock key."""
    two = locked[2]
    kill_manager(locked, two)
    locked.wait_ready()
    assert swarm_state(locked, two) == "active"
    path, key, other = two.state_dir / "manager" / "keys", unlock_key_of(locked, locked[1]), unlockkey.generate()
    keys = data_keys.read(path, (key,))
    assert keys is not None
    data_keys.write(path, msgspec.structs.replace(keys, unlock_key=other, version=0))
    kill_manager(locked, two)
    labs.wait(lambda: swarm_state(locked, two) == "locked", "the manager locked under the other key")
    assert "invalid key provided" in unlock(locked, two, key, check=1).err
    unlock(locked, two, other)
    labs.wait(lambda: is_sealed_with(two, key), "everything sealed with the cluster's key again")
    locked.wait_ready()


def test_a_key_rotation_under_load_fails_no_write_and_invalidates_the_old_key(locked: LabCluster) -> None:
    one, three = locked[1], locked[3]
    old = unlock_key_of(locked, one)
    failures: list[str] = []
    written: list[str] = []
    enough = threading.Event()

    def write() -> None:
        while not enough.is_set():
            name = f"load-{len(written)}"
            body = {"Name": name, "Data": base64.b64encode(b"x" * 500).decode()}
            status, answer = locked.request("POST", "/secrets/create", body, on=one)
            written.append(name)
            if status != 201:
                failures.append(f"{status} {answer}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        new = locked.docker("swarm", "unlock-key", "-q", "--rotate", on=one).out.strip()
        assert new != old
        for host in locked.hosts:
            labs.wait(lambda host=host: is_sealed_with(host, new), f"{host.name} under the new key")
        count = len(written)
        labs.wait(lambda: len(written) > count + 20, "writes after the rotation")
    finally:
        enough.set()
        writer.join(20)
    assert not failures, failures[:3]
    locked.kill(three)
    locked.start(three)
    assert "invalid key provided" in unlock(locked, three, old, check=1).err
    unlock(locked, three, new)
    locked.wait_ready()
    found = {one["Spec"]["Name"] for one in locked.get("/secrets", on=three)}
    assert found.issuperset(written)


def test_a_manager_that_missed_a_rotation_is_unlocked_with_its_old_key_and_catches_up(locked: LabCluster) -> None:
    one, two = locked[1], locked[2]
    old = unlock_key_of(locked, one)
    locked.kill(two)
    out = locked.docker("swarm", "unlock-key", "--rotate", on=one).out
    assert "Successfully rotated manager unlock key" in out
    new = unlock_key_of(locked, one)
    locked.start(two)
    assert "invalid key provided" in unlock(locked, two, new, check=1).err
    unlock(locked, two, old)
    labs.wait(lambda: is_sealed_with(two, new), f"{two.name} under the new key")
    locked.wait_ready()


def test_a_demoted_manager_needs_no_key_and_a_promoted_one_is_locked_again(locked: LabCluster) -> None:
    one, two = locked[1], locked[2]
    locked.docker("node", "demote", two.name, on=one)
    labs.wait(lambda: not (two.state_dir / "manager").exists(), "its manager state removed")
    assert (two.state_dir / "identity" / "node.key").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    lab_cluster.crash(two)
    locked.start(two)
    labs.wait(lambda: swarm_state(locked, two) == "active", "a worker that needs no key")
    locked.docker("node", "promote", two.name, on=one)
    labs.wait(lambda: data_keys.is_locked(two.state_dir / "manager" / "keys"), "its key file locked")
    labs.wait(lambda: is_sealed_with(two, unlock_key_of(locked, one)), "everything sealed with the unlock key")
    locked.wait_ready()


def test_without_autolock_managers_restart_without_a_key(locked: LabCluster) -> None:
    one, three = locked[1], locked[3]
    locked.docker("swarm", "update", "--autolock=false", on=one)
    for host in locked.hosts:
        labs.wait(lambda host=host: is_sealed_with(host, ""), f"{host.name} not locked")
    assert "no unlock key is set" in locked.docker("swarm", "unlock-key", on=one, check=1).err
    assert "autolock is not turned on" in locked.docker("swarm", "unlock-key", "--rotate", on=one, check=1).err
    locked.kill(three)
    locked.start(three)
    locked.wait_ready()
    out = locked.docker("swarm", "update", "--autolock=true", on=one).out
    found = KEY.search(out)
    assert found, out
    for host in locked.hosts:
        labs.wait(lambda host=host: is_sealed_with(host, found[0]), f"{host.name} locked again")


def test_a_locked_manager_can_leave_by_force(locked: LabCluster) -> None:
    three = locked[3]
    lab_cluster.crash(three)
    locked.start(three)
    assert swarm_state(locked, three) == "locked"
    locked.docker("swarm", "leave", "--force", on=three)
    assert swarm_state(locked, three) == "inactive"
    assert not any((three.state_dir / name).exists() for name in ("node.json", "identity", "manager"))
    labs.wait(lambda: not locked.covey_containers(three), "its containers to end")


def test_covey_swarm_commands_lock_rotate_unlock_and_leave(locked: LabCluster) -> None:
    """Runs on the host that has left: a new cluster is locked, rotated, unlocked and left with ``covey`` alone."""
    three = locked[3]

    def covey(*arguments: str, check: int = 0, stdin: bytes = b"") -> labs.CommandResult:
        command = [labs.PYTHON_BIN / "covey", "swarm", *arguments]
        return labs.run(command, check=check, stdin=stdin, env=locked.environment(three))

    first = KEY.search(covey("init", "--autolock", "--advertise-addr", three.address).out)
    assert first
    assert covey("unlock-key", "-q").out.strip() == first[0]
    assert "swarm is not locked" in covey("unlock", check=1, stdin=first[0].encode()).err
    covey("update", "--no-autolock")
    assert "no unlock key is set" in covey("unlock-key", check=1).err
    assert "autolock is not turned on" in covey("unlock-key", "--rotate", check=1).err
    assert KEY.search(covey("update", "--autolock").out)
    key = covey("unlock-key", "-q", "--rotate").out.strip()
    labs.wait(lambda: is_sealed_with(three, key), "the rotation")
    lab_cluster.crash(three)
    locked.start(three)
    assert LOCKED in covey("update", "--task-history-limit", "3", check=1).err
    assert "invalid key provided" in covey("unlock", check=1, stdin=unlockkey.generate().encode()).err
    covey("unlock", stdin=f"{key}\n".encode())
    assert covey("unlock-key", "-q").out.strip() == key
    covey("leave", "--force")
