"""What a manager's disk is sealed with: data keys, which lie in one file, plain or under the cluster's unlock key (autolock).

Law: the unlock key itself is never on a disk outside the sealed log. Everything else of a manager that could speak (log, snapshots, the
node's key) is sealed with a data key, so a new unlock key costs one small file at once, and new data keys follow without a stop.
"""

from manager.keys.file import DataKeys, LockedError, is_locked

__all__ = ["DataKeys", "LockedError", "is_locked"]
