"""Backup files: encryption, damage, wrong keys and size limits."""

import io
import random

import pytest

from covey import backup_format as backup_file
from covey import unlockkey
from covey.errors import CoveyError, InvalidArgumentError, TooLargeError, UnauthenticatedError
from covey.objects import Annotations, Cluster, ClusterSpec, Meta, Secret, SecretSpec
from manager import backup
from manager.store import Member
from manager.store.schema import CLUSTERS, SECRETS
from manager.store.view import View

SECRET = b"the launch code"
MEMBERS = (Member(raft_id=7, node_id="n1", addr="10.0.0.1:2378"), Member(raft_id=8, node_id="", addr=""))


def stored(bulk: int = 0) -> tuple[View, Cluster]:
    cluster = Cluster(id="c1", meta=Meta(version=3), spec=ClusterSpec(annotations=Annotations(name="prod")))
    view = View.empty().put(CLUSTERS, cluster.id, cluster)
    secret = Secret(
        id="s1", meta=Meta(version=9), spec=SecretSpec(annotations=Annotations(name="code"), data=SECRET + bytes(bulk))
    )
    return view.put(SECRETS, secret.id, secret).at(42), cluster


def written(key: str, bulk: int = 0) -> bytes:
    view, cluster = stored(bulk)
    return b"".join(backup.seal(view, MEMBERS, cluster, key, term=5, now_ns=1_700_000_000_000_000_000))


@pytest.mark.parametrize("make_key", [backup.new_key, unlockkey.generate])
@pytest.mark.parametrize("bulk", [0, 3 << 20])
def test_a_backup_decrypts_with_its_key(make_key, bulk: int) -> None:
    key = make_key()
    head, view, members = backup.unseal(io.BytesIO(written(key, bulk)), f" {key}\n")
    assert members == MEMBERS
    assert (head.cluster_id, head.cluster_name, head.version, head.term) == ("c1", "prod", 42, 5)
    assert head.objects["secrets"] == head.objects["clusters"] == 1
    before, _ = stored(bulk)
    assert view.version == before.version
    assert list(view.secrets) == list(before.secrets)
    assert list(view.clusters) == list(before.clusters)


def test_a_backup_too_large_to_restore_is_refused_before_its_first_part(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(written(backup.new_key(), 3 << 20))
    monkeypatch.setattr(backup, "MAX_FILE_BYTES", size)
    assert len(written(backup.new_key(), 3 << 20)) == size
    monkeypatch.setattr(backup, "MAX_FILE_BYTES", size - 1)
    view, cluster = stored(3 << 20)
    parts = backup.seal(view, MEMBERS, cluster, backup.new_key(), term=5, now_ns=1_700_000_000_000_000_000)
    with pytest.raises(
        TooLargeError, match=f"the backup would have {size} bytes, and the limit for a restore is {size - 1}"
    ):
        next(parts)


def test_the_file_contains_no_plain_secret_and_its_head_needs_no_key() -> None:
    data = written(backup.new_key())
    assert SECRET not in data
    assert backup_file.verify_file(io.BytesIO(data)).cluster_name == "prod"


def test_one_changed_bit_anywhere_is_refused() -> None:
    key = backup.new_key()
    data = written(key)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(CoveyError) as refused:
            backup.unseal(io.BytesIO(bytes(changed)), key)
        assert "backup" in refused.value.message


def test_a_truncated_file_is_reported_as_truncated() -> None:
    data = written(backup.new_key())
    for size in range(8, len(data)):
        with pytest.raises(backup_file.BackupError, match="truncated"):
            backup_file.verify_file(io.BytesIO(data[:size]))
    with pytest.raises(backup_file.BackupError, match="bytes after its end"):
        backup_file.verify_file(io.BytesIO(data + b"x"))


def test_a_changed_file_with_a_corrected_checksum_is_refused() -> None:
    import hashlib

    key, dice = backup.new_key(), random.Random(3)
    data = written(key, 2 << 20)
    start = len(backup_file.read_header(io.BytesIO(data))[1])
    for _ in range(20):
        changed = bytearray(data[:-32])
        place = dice.randrange(start + 4, start + 4 + (1 << 20))
        changed[place] ^= 1
        forged = bytes(changed) + hashlib.sha256(changed).digest()
        with pytest.raises(backup_file.BackupError, match="changed after it was written"):
            backup.unseal(io.BytesIO(forged), key)
    renamed = data[:-32].replace(b'"cluster_name":"prod"', b'"cluster_name":"test"')
    with pytest.raises(backup_file.BackupError, match="changed after it was written"):
        backup.unseal(io.BytesIO(renamed + hashlib.sha256(renamed).digest()), key)


def test_a_missing_piece_is_refused() -> None:
    import hashlib

    key = backup.new_key()
    data = written(key, 2 << 20)
    start = len(backup_file.read_header(io.BytesIO(data))[1])
    piece = 4 + (1 << 20) + 16
    last = len(data) - 32 - 4
    shorter = data[: start + 2 * piece] + data[last:-32]
    with pytest.raises(backup_file.BackupError, match="changed after it was written"):
        backup.unseal(io.BytesIO(shorter + hashlib.sha256(shorter).digest()), key)


def test_each_kind_of_wrong_key_has_its_own_message() -> None:
    own, locked = written(backup.new_key()), written(unlockkey.generate())
    with pytest.raises(UnauthenticatedError, match="belongs to another file"):
        backup.unseal(io.BytesIO(own), backup.new_key())
    with pytest.raises(UnauthenticatedError, match="belongs to another file"):
        backup.unseal(io.BytesIO(locked), unlockkey.generate())
    with pytest.raises(InvalidArgumentError, match="a key of its own"):
        backup.unseal(io.BytesIO(own), unlockkey.generate())
    with pytest.raises(InvalidArgumentError, match="the unlock key of the cluster at that time"):
        backup.unseal(io.BytesIO(locked), backup.new_key())
    with pytest.raises(InvalidArgumentError, match="not a backup key"):
        backup.unseal(io.BytesIO(own), "COVEYBK-1-short")


def test_a_foreign_file_and_a_newer_format_have_different_messages() -> None:
    data = written(backup.new_key())
    with pytest.raises(backup_file.BackupError, match="not a Covey backup"):
        backup_file.verify_file(io.BytesIO(b"PK\x03\x04 something else"))
    with pytest.raises(backup_file.BackupError, match="format 2, but this version of Covey reads format 1"):
        backup_file.verify_file(io.BytesIO(data[:8] + (2).to_bytes(4, "big") + data[12:]))
