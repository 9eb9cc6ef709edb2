"""Crashes before any step of force new cluster and restore leave the old state or the new one."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from covey import unlockkey
from covey.objects import Annotations, Cluster, Config, ConfigSpec, Meta, Node
from covey.states import NodeRole, NodeState
from manager import backup
from manager.bootstrap import force_new_cluster, raft_directory, restore
from manager.bootstrap.new_cluster import first_view
from manager.bootstrap.recovered_state import INDEX_GAP
from manager.bootstrap.startup_keys import open_keys
from manager.ca.cluster_trust import new_cluster
from manager.config import ManagerConfig, ManagerMode
from manager.keys import data_keys
from manager.keys.key_ring import KeyRing
from manager.keys.startup_secrets import StartupSecrets
from manager.raft.core import ChangeKind, ConfChange, Entry, EntryKind, HardState
from manager.raft.disk import Disk, MemberIdentity, create_group, read_identity
from manager.store import Member
from manager.store import log as store_log
from manager.store import snapshot as store_snapshot
from manager.store.commit import Action, Change
from manager.store.view import View

NOW = 1_700_000_000_000_000_000
FINISHED, CRASHED = 0, 9
STEPS = frozenset({"os.rename", "os.mkdir", "open", "os.remove", "os.rmdir", "os.unlink", "shutil.rmtree"})
MEMBERS = (Member(raft_id=1, node_id="n1", addr="10.0.0.1:2378"), Member(raft_id=2, node_id="n2", addr="10.0.0.2:2378"))


def crash_before(step: int, folder: Path, act: Callable[[], object]) -> int:
    """Runs the act in a process of its own that dies before the given step on the disk; the code with which it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    taken = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal taken
        if event in STEPS and str(arguments[0]).startswith(str(folder)):
            taken += 1
            if taken == step:
                os._exit(CRASHED)

    try:
        sys.addaudithook(count)
        act()
        os._exit(FINISHED)
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
        os._exit(1)


def entry_of(name: str, index: int) -> Entry:
    config = Config(id=name, spec=ConfigSpec(annotations=Annotations(name=name), data=b"x"))
    return Entry(2, index, EntryKind.NORMAL, store_log.encode(index, [Change(Action.CREATE, None, config)], NOW))


def member_with_a_tail(folder: Path, ring: KeyRing) -> None:
    """Entries 2 and 3 are committed, 4 lets a third member in, 5 is not known to be committed."""
    view = first_view(Cluster(id="c1"), Node(id="n1", role=NodeRole.MANAGER), NOW)
    identity = MemberIdentity(cluster_id="c1", raft_id=1, node_id="n1", members=MEMBERS[:1])
    create_group(folder, ring, identity, store_snapshot.encode(view, MEMBERS))

    async def append() -> None:
        disk = Disk.open(folder, ring)
        third = Entry(2, 4, EntryKind.CONF_CHANGE, ConfChange.of(ChangeKind.ADD_LEARNER, 3).encode())
        entries = [entry_of("two", 2), entry_of("three", 3), third, entry_of("five", 5)]
        await disk.begin_save(HardState(term=7, vote=1, commit=3), entries, None)
        disk.close()

    asyncio.run(append())


def state_of(config: ManagerConfig, ring: KeyRing) -> tuple[int, set[str], View]:
    """Raft id, configs and snapshot of what the next start would go on with."""
    assert raft_directory.has_state(config.manager_dir / "raft")
    assert raft_directory.finish_replacement(config.manager_dir / "raft")
    disk = Disk.open(config.manager_dir / "raft", ring)
    try:
        assert disk.snapshot is not None
        index, storage = disk.snapshot.metadata.index, disk.storage
        view, _ = store_snapshot.decode(index, disk.snapshot.data)
        names = {one.id for one in view.configs}
        names |= {
            change.object_id
            for entry in (
                storage.entries(index + 1, storage.last_index() + 1, 1 << 30) if storage.last_index() > index else []
            )
            if entry.kind is EntryKind.NORMAL
            for change in store_log.decode(entry.data).changes
        }
        return read_identity(config.manager_dir / "raft").raft_id, names, view
    finally:
        disk.close()


def config_in(folder: Path, mode: ManagerMode, **more: str) -> ManagerConfig:
    return ManagerConfig(
        state_dir=str(folder), run_dir=str(folder / "run"), mode=mode, hostname="h", advertise_addr="10.0.0.1", **more
    )


def test_force_new_cluster_keeps_the_whole_log_and_ends_every_former_membership(tmp_path: Path) -> None:
    ring, config = KeyRing.of(bytes(32)), config_in(tmp_path, ManagerMode.FORCE)
    member_with_a_tail(config.manager_dir / "raft", ring)
    beginning = force_new_cluster.force_new_cluster(config, ring)
    assert (beginning.retired, beginning.index, beginning.term) == ((1, 2, 3), 5 + INDEX_GAP, 8)
    raft_id, names, view = state_of(config, ring)
    assert raft_id == beginning.member.raft_id
    assert raft_id not in beginning.retired
    assert names == {"two", "three", "five"}, "what is not known to be committed may have been acknowledged"
    assert view.nodes.get("n1").role is NodeRole.MANAGER
    assert [one.meta.version for one in view.clusters] == [5 + INDEX_GAP], "managers of before follow what it says"
    assert sorted(path.name for path in config.manager_dir.iterdir()) == ["raft"]


@pytest.mark.parametrize("unlock_key", ["", unlockkey.generate()], ids=["plain", "locked"])
def test_data_keys_of_a_former_membership_are_reused_without_their_version(tmp_path: Path, unlock_key: str) -> None:
    """A cluster that was restored may have lower versions than its managers of before have followed."""
    config = config_in(tmp_path, ManagerMode.JOIN)
    path = config.manager_dir / data_keys.NAME
    before = data_keys.without_old_data_keys(data_keys.with_new_data_key(data_keys.new_keys(), unlock_key, 77))
    data_keys.write(path, before)
    handed = (unlock_key,) if unlock_key else ()
    rotator = open_keys(config, read_secrets=lambda: StartupSecrets(unlock_keys=handed))
    keys = data_keys.read(path, handed)
    assert keys is not None
    assert (keys.version, keys.unlock_key, rotator.unlock_key) == (0, unlock_key, unlock_key)
    assert rotator.ring == keys.ring == before.ring, "they open the log that was put aside"


def test_a_crash_before_any_step_of_force_new_cluster_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    ring, ids, step, code = KeyRing.of(bytes(32)), set(), 0, CRASHED
    while code == CRASHED:
        step += 1
        config = config_in(tmp_path / str(step), ManagerMode.FORCE)
        folder = config.manager_dir / "raft"
        member_with_a_tail(folder, ring)
        code = crash_before(
            step, config.manager_dir, lambda config=config: force_new_cluster.force_new_cluster(config, ring)
        )
        raft_id, names, _ = state_of(config, ring)
        assert names == {"two", "three", "five"}, f"crash before step {step}"
        ids.add(raft_id == 1)
        again = force_new_cluster.force_new_cluster(config, ring)
        assert again.index >= 5 + INDEX_GAP
        assert state_of(config, ring)[1] == names
        assert sorted(path.name for path in config.manager_dir.iterdir()) == ["raft"], f"crash before step {step}"
    assert code == FINISHED
    assert step > 10, "the walk saw the steps"
    assert ids == {True, False}, "it saw both sides of the swap"


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, str]:
    """A backup with a root, and a node of before at the address of the host that restores."""
    from covey.objects import ClusterSpec, NodeStatus

    cluster = new_cluster(ClusterSpec(), NOW)
    before = Node(
        id="n1", meta=Meta(version=3), role=NodeRole.MANAGER, status=NodeStatus(state=NodeState.READY, addr="10.0.0.1")
    )
    view, key, path = first_view(cluster, before, NOW).at(77), backup.new_key(), tmp_path / "kept"
    path.write_bytes(b"".join(backup.seal(view, MEMBERS, cluster, key, term=4, now_ns=NOW)))
    return path, key


def test_a_crash_before_any_step_of_a_restore_leaves_nothing_or_the_whole_state(
    tmp_path: Path, kept: tuple[Path, str]
) -> None:
    path, key = kept
    step, code, began = 0, CRASHED, set()
    while code == CRASHED:
        step += 1
        config = config_in(tmp_path / str(step), ManagerMode.RESTORE, restore_path=str(path))

        def restore_backup(config: ManagerConfig = config) -> None:
            restored = restore.read(path, key)
            asyncio.run(restore.restore(config, open_keys(config, restored), restored))

        code = crash_before(step, Path(config.state_dir), restore_backup)
        began.add(raft_directory.has_state(config.manager_dir / "raft"))
        if not raft_directory.has_state(config.manager_dir / "raft"):
            restore_backup()
        keys = data_keys.read(config.manager_dir / data_keys.NAME)
        assert keys is not None
        _, _, view = state_of(config, keys.ring)
        assert view.version == 77 + INDEX_GAP
        (new,) = [node for node in view.nodes if node.id != "n1"]
        assert new.role is NodeRole.MANAGER
        assert view.nodes.get("n1").status.state is NodeState.DOWN, "it was this host"
        assert (config.identity_dir / "node.crt").exists(), f"crash before step {step}"
    assert code == FINISHED
    assert step > 10
    assert began == {True, False}
