"""Removal of manager state after demotion. The Raft log of a manager that lost its group is moved aside instead.

Invariant: demotion removes everything but the data keys, with which the node's own key is still sealed. A manager that only its Raft
group has removed may hold the last copy of acknowledged writes, because a minority may have been forced into a new cluster. Its log is
therefore kept, still encrypted. Called by ``node.membership_state``. Blocking.
"""

import logging
import shutil
from pathlib import Path

from manager.bootstrap import raft_directory
from manager.keys import file

log = logging.getLogger(__name__)


def remove_manager_state(folder: Path, *, keep_log: bool) -> None:
    """Of STATE/manager stay the keys, and with ``keep_log`` the log as ``raft.lost``.

    Raises:
        OSError: the log cannot be put aside; it is where it was.
    """
    kept = raft_directory.lost_path(folder / "raft")
    if keep_log and (lost := raft_directory.put_aside(folder / "raft")) is not None:
        log.warning(
            "the log of the membership that is over is kept in %s until the next one takes its place: if the cluster was founded anew "
            "while others of its managers still worked, what they wrote is there. To save it, copy it together with %s before the "
            'unlock key changes, and see "Managers that were only cut off" in the guide for disasters',
            lost,
            folder / file.NAME,
        )
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not (keep_log and path == kept):
            shutil.rmtree(path, ignore_errors=True)
        elif not path.is_dir() and path.name != file.NAME:
            path.unlink(missing_ok=True)
