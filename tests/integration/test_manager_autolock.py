"""Autolock of manager processes: key rotation during writes, crashes at any moment, and encrypted files on disk."""

import asyncio
import base64
import itertools
import random
import shutil
import subprocess
import time

import grpc
import pytest
from cryptography.hazmat.primitives import serialization

from covey import codec, unlockkey
from covey.objects import ClusterSpec
from coveypb.v1 import control_pb2, objects_pb2
from manager.etcd.target import KEY_FILE
from manager.keys import data_keys
from manager.keys.node_key import sealed_with
from tests.support.etcd_server import etcd_cluster
from tests.support.locked_managers import SPEC, can_decrypt, is_sealed_with, keys_path, unlock_key, update
from tests.support.manager_processes import ManagerHost, eventually, manager_cluster

LOCKED_EXIT_CODE = 4
ROUNDS = 4


async def write(host: ManagerHost, written: list[str]) -> None:
    """Create secrets until the manager is gone. ``written`` gets the acknowledged names."""
    for number in itertools.count(len(written)):
        name = f"s{number}-{time.monotonic_ns()}"
        spec = objects_pb2.SecretSpec(annotations=objects_pb2.Annotations(name=name), data=b"x" * 100)
        try:
            await host.call("CreateSecret", control_pb2.CreateSecretRequest(spec=spec), timeout=5)
        except grpc.aio.AioRpcError:
            return
        written.append(name)


async def names(host: ManagerHost) -> set[str]:
    return {
        secret.spec.annotations.name for secret in (await host.call("ListSecrets", control_pb2.ListRequest())).secrets
    }


async def test_a_kill_at_any_moment_of_a_key_rotation_loses_no_write() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    rng = random.Random(seed)
    async with manager_cluster() as cluster:
        host = cluster.manager()
        await host.start("bootstrap", cluster_spec=SPEC)
        first, written = await unlock_key(host), []
        for _ in range(ROUNDS):
            writing = asyncio.create_task(write(host, written))
            await update(host, rotate_unlock_key=True)
            await asyncio.sleep(rng.random() * 0.5)  # a random moment of the rotation
            await host.kill()
            await writing
            await host.start("restart")
            lost = set(written) - await names(host)
            assert not lost, f"seed {seed}"
        last = await unlock_key(host)
        await eventually("everything sealed with the last key", lambda: is_sealed_with(host, last))
        assert last in host.key_cache.startup_secrets.unlock_keys
        await host.kill()
        assert len(written) > ROUNDS
        assert await exit_code_with_key(host, first) == LOCKED_EXIT_CODE
        assert await exit_code_with_key(host, "") == LOCKED_EXIT_CODE


async def exit_code_with_key(host: ManagerHost, key: str, mode: str = "restart") -> int:
    """Exit code of a start with another key."""
    host.key_cache.clear()
    if key:
        host.key_cache.add(key)
    try:
        await host.start(mode, **({"cluster_spec": SPEC} if mode == "bootstrap" else {}))
    except AssertionError:
        assert host.process is not None
        code = await host.process.wait()
        host.process = None
        return code
    raise AssertionError("the manager started")


async def test_autolock_turned_on_and_off_applies_to_all_and_a_new_manager_joins_locked() -> None:
    async with manager_cluster() as cluster:
        (first,) = await cluster.bootstrap()
        assert is_sealed_with(first, "")
        await update(first, spec=codec.to_wire(ClusterSpec(auto_lock=True)))
        key = await unlock_key(first)
        await eventually("the first manager locked", lambda: is_sealed_with(first, key))
        second = await cluster.add_manager(first)
        assert data_keys.is_locked(keys_path(second)), "the manager was ready before it was locked"
        await eventually("the second manager's log encrypted again", lambda: is_sealed_with(second, key))
        await second.kill()
        await second.start("restart")
        assert second.identities.require().key == second.key_cache.unseal(node_key(second))
        await update(first, spec=codec.to_wire(ClusterSpec()))
        for host in (first, second):
            await eventually("no manager locked", lambda host=host: is_sealed_with(host, ""))
            assert node_key(host).startswith(b"-----BEGIN")


def node_key(host: ManagerHost) -> bytes:
    return (host.folder / "state" / "identity" / "node.key").read_bytes()


async def test_a_cluster_created_with_autolock_never_writes_a_plain_key_to_disk() -> None:
    """All files of its first seconds are still there: only a later rotation removes any."""
    async with manager_cluster() as cluster:
        host = cluster.manager()
        await host.start("bootstrap", cluster_spec=SPEC)
        key = await unlock_key(host)
        keys = data_keys.read(keys_path(host), (key,))
        assert keys is not None
        assert keys.ring.current == 1, "the first data key was written unencrypted"
        pem = host.key_cache.unseal(node_key(host))
        private = serialization.load_pem_private_key(pem, None)
        der = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        number = private.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
        raw = unlockkey.parse(key)
        secrets = [key.encode(), raw, pem.splitlines()[1], der, number, *keys.ring.keys.values()]
        encodings = [
            form
            for secret in secrets
            for form in (secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"="))
        ]
        for path in host.folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not [form for form in encodings if form in content], path


async def test_a_bootstrap_interrupted_by_a_crash_continues_with_its_keys() -> None:
    """1. It wrote keys and certificate. 2. It crashed before the group was created. 3. It is restarted without and with its key."""
    async with manager_cluster() as cluster:
        host = cluster.manager()
        await host.start("bootstrap", cluster_spec=SPEC)
        (key,) = host.key_cache.startup_secrets.unlock_keys
        await host.kill()
        shutil.rmtree(host.folder / "state" / "manager" / "raft")
        assert await exit_code_with_key(host, "", "bootstrap") == LOCKED_EXIT_CODE
        host.key_cache.add(key)
        await host.start("bootstrap", cluster_spec=SPEC)
        assert await unlock_key(host) == key
        assert host.key_cache.unseal(node_key(host)).startswith(b"-----BEGIN")


@pytest.mark.root
async def test_a_key_rotation_waits_for_disk_space_instead_of_stopping_the_manager() -> None:
    """1. The disk has less space than a second copy of the log needs. 2. The new unlock key applies at once. 3. Space is added."""
    async with manager_cluster() as cluster:
        host = cluster.manager()
        disk = host.folder / "state"
        disk.mkdir(parents=True)
        await command("mount", "-t", "tmpfs", "-o", "size=24m", "covey-test", str(disk))
        try:
            await host.start("bootstrap", cluster_spec=SPEC)
            assert host.process is not None
            pid = host.process.pid
            await update(host, rotate_unlock_key=True)
            key = await unlock_key(host)
            await eventually("the file under the new key", lambda: can_decrypt(host, key))
            await eventually("the reason in the log", lambda: "free some space" in host.log.read_text())
            assert not is_sealed_with(host, key)
            await update(host, rotate_worker_token=True)
            await command("mount", "-o", "remount,size=200m", str(disk))
            await eventually("everything encrypted again", lambda: is_sealed_with(host, key))
            assert host.process.pid == pid, "the manager was restarted"
            assert host.log.read_text().count("free some space") == 1, "the reason was logged more than once"
        finally:
            await host.kill()
            await command("umount", str(disk))


async def command(*words: str) -> None:
    await asyncio.to_thread(subprocess.run, words, check=True, timeout=30)


async def test_with_etcd_the_store_key_is_locked_and_rotated_too() -> None:
    """The store key on each manager's disk decrypts the data in etcd."""
    with etcd_cluster(1) as etcd:
        async with manager_cluster() as cluster:
            host = cluster.manager()
            await host.start("bootstrap", cluster_spec=SPEC, store=etcd.store("/locked"))
            path = host.folder / "state" / "identity" / KEY_FILE
            assert sealed_with(path.read_bytes()) == 1, "the store key was written unencrypted"
            store_key = host.key_cache.unseal(path.read_bytes())
            written: list[str] = []
            writing = asyncio.create_task(write(host, written))
            await update(host, rotate_unlock_key=True)
            key = await unlock_key(host)
            await eventually(
                "the rotation to complete", lambda: is_sealed_with(host, key) and sealed_with(path.read_bytes()) == 2
            )
            await host.kill()
            await writing
            assert store_key not in path.read_bytes()
            assert await exit_code_with_key(host, unlockkey.generate()) == LOCKED_EXIT_CODE
            host.key_cache.add(key)
            await host.start("restart", store=etcd.store("/locked"))
            assert host.key_cache.unseal(path.read_bytes()) == store_key
            assert await eventually("all acknowledged writes", lambda: has_all(host, written))


async def has_all(host: ManagerHost, written: list[str]) -> bool:
    return set(written) <= await names(host)
