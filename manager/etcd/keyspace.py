"""Layout of the keys under a cluster's prefix in etcd. Pure.

PREFIX/cluster            id of the cluster; written once, when the cluster is created
PREFIX/last               head of the latest transaction: request id, time and changes; part of every transaction
PREFIX/leader             the leader; bound to its lease
PREFIX/heirs              successors that may lead next, during a handover; bound to the lease of the manager that hands over
PREFIX/members/NODE       address of a manager that is a member of the group
PREFIX/alive/NODE         the same while the manager runs; bound to its lease
PREFIX/objects/KIND/ID    one object, encrypted
"""

from __future__ import annotations

_OBJECTS = "objects"


class Keyspace:
    """The keys under a prefix such as ``/covey``."""

    def __init__(self, prefix: str) -> None:
        base = f"{prefix}/".encode()
        self.first = base
        self.end = prefix_end(base)
        self.cluster = base + b"cluster"
        self.last_transaction = base + b"last"
        self.leader = base + b"leader"
        self.successors = base + b"heirs"
        folders = prefix.strip("/").split("/")[:-1]
        self.ancestor_clusters = [
            f"/{'/'.join(folders[: depth + 1])}/cluster".encode() for depth in range(len(folders))
        ]
        """Keys of the cluster ids whose prefix contains this prefix."""
        self.objects = base + _OBJECTS.encode() + b"/"
        """Prefix of objects. All other keys sort before it."""
        self._members = base + b"members/"
        self._alive = base + b"alive/"

    def member(self, node_id: str) -> bytes:
        return self._members + node_id.encode()

    def alive(self, node_id: str) -> bytes:
        return self._alive + node_id.encode()

    def object(self, kind: str, object_id: str) -> bytes:
        return self.objects + f"{kind}/{object_id}".encode()

    def object_of(self, key: bytes) -> tuple[str, str] | None:
        """Kind and id of an object's key, or None."""
        if not key.startswith(self.objects):
            return None
        kind, _, object_id = key[len(self.objects) :].decode(errors="replace").partition("/")
        return kind, object_id

    def member_of(self, key: bytes) -> str | None:
        """The node id of a member's key, or None."""
        return key[len(self._members) :].decode(errors="replace") if key.startswith(self._members) else None

    def alive_of(self, key: bytes) -> str | None:
        """The node id of a running manager's key, or None."""
        return key[len(self._alive) :].decode(errors="replace") if key.startswith(self._alive) else None


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of keys with this prefix. It ends with a slash, so its last byte can be incremented."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
