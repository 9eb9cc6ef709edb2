"""Removal of manager state after demotion. The Raft log of a manager that lost its group is moved aside instead.

Invariant: demotion removes everything but the data keys, with which the node's own key is still sealed. A manager that only its Raft
group has removed may hold the last copy of acknowledged writes, because a minority may have been forced into a new cluster. Its log is
therefore kept, still encrypted. Called by ``node.membership_state``. Blocking.
"""

import logging
import shutil
from pathlib import Path

from manager.interface import DATA_KEYS_FILE, move_raft_state_aside, retired_raft_directory

log = logging.getLogger(__name__)


def remove_manager_state(manager_dir: Path, *, keep_log: bool) -> None:
    """Remove all of STATE/manager but the data keys. With ``keep_log`` the Raft log is kept as ``raft.lost``.

    Raises:
        OSError: the log cannot be moved aside; it stays where it is.
    """
    retired = retired_raft_directory(manager_dir)
    if keep_log and move_raft_state_aside(manager_dir) is not None:
        log.warning(
            "this node's membership of the Raft group has ended; its log is kept in %s until the next one replaces it. If a new cluster "
            "was forced while other managers still worked, the writes of those managers are there. To save them, copy that directory "
            'together with %s before the unlock key changes, and see "Managers that were only cut off" in the disaster guide',
            retired,
            manager_dir / DATA_KEYS_FILE,
        )
    for path in manager_dir.iterdir() if manager_dir.is_dir() else ():
        if path.is_dir() and not (keep_log and path == retired):
            shutil.rmtree(path, ignore_errors=True)
        elif not path.is_dir() and path.name != DATA_KEYS_FILE:
            path.unlink(missing_ok=True)
