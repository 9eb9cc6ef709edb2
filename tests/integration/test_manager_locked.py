"""Locked manager processes: rotation under writes, crashes at any moment, and nothing readable on disk."""

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
    """Secrets one after another, until the manager is gone; what was acknowledged is noted."""
    for number in itertools.count(len(written)):
        name = f"s{number}-{time.monotonic_ns()}"
        spec = objects_pb2.SecretSpec(annotations=objects_pb2.Annotations(name=name), data=b"x" * 100)
        try:
            await host.call("CreateSecret", control_pb2.CreateSecretRequest(spec=spec), timeout=5)
        except grpc.aio.AioRpcError:
            return
        written.append(name)


async def names(host: ManagerHost) -> set[str]:
    return {one.spec.annotations.name for one in (await host.call("ListSecrets", control_pb2.ListRequest())).secrets}


async def test_keys_rotate_under_writes_and_a_kill_at_any_moment_loses_nothing() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    chance = random.Random(seed)
    async with manager_cluster() as one:
        host = one.manager()
        await host.start("bootstrap", cluster_spec=SPEC)
        first, written = await unlock_key(host), []
        for _ in range(ROUNDS):
            writing = asyncio.create_task(write(host, written))
            await update(host, rotate_unlock_key=True)
            await asyncio.sleep(chance.random() * 0.5)  # somewhere within the steps that follow
            await host.kill()
            await writing
            await host.start("restart")
            lost = set(written) - await names(host)
            assert not lost, f"seed {seed}"
        last = await unlock_key(host)
        await eventually("the last key is followed", lambda: is_sealed_with(host, last))
        assert last in host.key_cache.startup_secrets.unlock_keys
        await host.kill()
        assert len(written) > ROUNDS
        assert await code_with(host, first) == LOCKED_EXIT_CODE
        assert await code_with(host, "") == LOCKED_EXIT_CODE


async def code_with(host: ManagerHost, key: str, mode: str = "restart") -> int:
    """How a start with another key ends."""
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
    raise AssertionError("it started")


async def test_what_is_turned_off_and_on_again_is_followed_by_all_and_a_newcomer_comes_in_locked() -> None:
    async with manager_cluster() as one:
        (first,) = await one.bootstrap()
        assert is_sealed_with(first, "")
        await update(first, spec=codec.to_wire(ClusterSpec(auto_lock=True)))
        key = await unlock_key(first)
        await eventually("the founder is locked", lambda: is_sealed_with(first, key))
        second = await one.add_manager(first)
        assert data_keys.is_locked(keys_path(second)), "ready means locked"
        await eventually("the newcomer's log is sealed anew", lambda: is_sealed_with(second, key))
        await second.kill()
        await second.start("restart")
        assert second.identities.require().key == second.key_cache.unseal(node_key(second))
        await update(first, spec=codec.to_wire(ClusterSpec()))
        for host in (first, second):
            await eventually("nobody is locked", lambda host=host: is_sealed_with(host, ""))
            assert node_key(host).startswith(b"-----BEGIN")


def node_key(host: ManagerHost) -> bytes:
    return (host.folder / "state" / "identity" / "node.key").read_bytes()


async def test_a_founder_that_is_locked_never_had_a_plain_byte_on_its_disk() -> None:
    """All that it ever wrote in its first seconds is there: nothing is removed but by a later rotation."""
    async with manager_cluster() as one:
        host = one.manager()
        await host.start("bootstrap", cluster_spec=SPEC)
        key = await unlock_key(host)
        keys = data_keys.read(keys_path(host), (key,))
        assert keys is not None
        assert keys.ring.current == 1, "the first data key was born locked"
        pem = host.key_cache.unseal(node_key(host))
        private = serialization.load_pem_private_key(pem, None)
        der = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        number = private.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
        raw = unlockkey.parse(key)
        secrets = [key.encode(), raw, pem.splitlines()[1], der, number, *keys.ring.keys.values()]
        forms = [form for one in secrets for form in (one, one.hex().encode(), base64.b64encode(one).rstrip(b"="))]
        for path in host.folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not [form for form in forms if form in content], path


async def test_a_founder_that_dies_on_the_way_goes_on_with_its_keys_and_never_makes_its_own_key_unreadable() -> None:
    """1. It wrote keys and identity. 2. It died before the group was founded. 3. It is started again, with its key and without."""
    async with manager_cluster() as one:
        host = one.manager()
        await host.start("bootstrap", cluster_spec=SPEC)
        (key,) = host.key_cache.startup_secrets.unlock_keys
        await host.kill()
        shutil.rmtree(host.folder / "state" / "manager" / "raft")
        assert await code_with(host, "", "bootstrap") == LOCKED_EXIT_CODE
        host.key_cache.add(key)
        await host.start("bootstrap", cluster_spec=SPEC)
        assert await unlock_key(host) == key
        assert host.key_cache.unseal(node_key(host)).startswith(b"-----BEGIN")


@pytest.mark.root
async def test_a_rotation_waits_for_room_instead_of_ending_a_manager_that_has_little() -> None:
    """1. The disk has less room than the log needs to be written a second time. 2. The unlock key counts at once. 3. There is room."""
    async with manager_cluster() as one:
        host = one.manager()
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
            await eventually("the reason", lambda: "free some space" in host.log.read_text())
            assert not is_sealed_with(host, key)
            await update(host, rotate_worker_token=True)
            await command("mount", "-o", "remount,size=200m", str(disk))
            await eventually("all sealed anew", lambda: is_sealed_with(host, key))
            assert host.process.pid == pid, "it went on all the while"
            assert host.log.read_text().count("free some space") == 1, "said once"
        finally:
            await host.kill()
            await command("umount", str(disk))


async def command(*words: str) -> None:
    await asyncio.to_thread(subprocess.run, words, check=True, timeout=30)


async def test_with_etcd_the_key_of_the_store_is_locked_and_rotates_too() -> None:
    """What lies in etcd is sealed with a key that each manager keeps on its disk."""
    with etcd_cluster(1) as etcd:
        async with manager_cluster() as one:
            host = one.manager()
            await host.start("bootstrap", cluster_spec=SPEC, store=etcd.store("/locked"))
            path = host.folder / "state" / "identity" / KEY_FILE
            assert sealed_with(path.read_bytes()) == 1, "born locked"
            store_key = host.key_cache.unseal(path.read_bytes())
            written: list[str] = []
            writing = asyncio.create_task(write(host, written))
            await update(host, rotate_unlock_key=True)
            key = await unlock_key(host)
            await eventually("the rotation", lambda: is_sealed_with(host, key) and sealed_with(path.read_bytes()) == 2)
            await host.kill()
            await writing
            assert store_key not in path.read_bytes()
            assert await code_with(host, unlockkey.generate()) == LOCKED_EXIT_CODE
            host.key_cache.add(key)
            await host.start("restart", store=etcd.store("/locked"))
            assert host.key_cache.unseal(path.read_bytes()) == store_key
            assert await eventually("what was written", lambda: has(host, written))


async def has(host: ManagerHost, written: list[str]) -> bool:
    return set(written) <= await names(host)
