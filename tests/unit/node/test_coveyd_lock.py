"""Lock of a daemon's state directory: waits for the end of a killed daemon, and refuses a second one."""

import fcntl
import threading
from pathlib import Path

from node.coveyd import lock_within


def test_a_lock_that_a_killed_daemon_still_holds_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a+") as mine:
        ending = path.open("a+")
        fcntl.flock(ending, fcntl.LOCK_EX)
        end = threading.Timer(0.2, ending.close)
        end.start()
        try:
            assert lock_within(mine, 30)
        finally:
            end.join()


def test_a_lock_that_stays_held_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a+") as mine, path.open("a+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not lock_within(mine, 0.1)
