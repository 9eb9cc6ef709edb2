"""Data keys of a manager, which encrypt its disk. They are in one file, plain or encrypted under the cluster's unlock key (autolock).

Invariant: the unlock key is on no disk outside the encrypted log. The log, snapshots and node key are encrypted with a data key, so a new
unlock key rewrites one small file at once, and new data keys follow without a restart.
"""

from manager.keys.data_keys import DataKeys, LockedError, is_locked

__all__ = ["DataKeys", "LockedError", "is_locked"]
