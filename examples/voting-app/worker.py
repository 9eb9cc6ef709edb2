"""The worker: moves votes from the cache's queue into the database.

A vote leaves the queue after it is in the database. A worker that is killed in between stores it twice; none is lost.
"""

import sys
import time
from pathlib import Path

from line_protocol import ask, end_on_sigterm

ALIVE = Path("/run/alive")
ALIVE_SECONDS = 10.0
IDLE_SECONDS = 0.2
RETRY_SECONDS = 1.0


def move_vote(password: str) -> bool:
    """Move the oldest vote; false if there is none.

    Raises:
        OSError: the cache or the database does not answer, or refuses.
    """
    choice = ask("cache:6000", "HEAD votes")
    if not choice:
        return False
    total = ask("database:7000", f"VOTE {password} {choice}")
    if not total.isdigit():
        raise OSError(total)
    ask("cache:6000", "POP votes")
    print(f"{choice} has {total} votes", flush=True)
    return True


def work() -> None:
    password = Path("/run/secrets/database_password").read_text().strip()
    while True:
        try:
            wait_seconds = 0.0 if move_vote(password) else IDLE_SECONDS
            ALIVE.touch()
        except OSError as error:
            print(f"cannot move votes: {error}", flush=True)
            wait_seconds = RETRY_SECONDS
        time.sleep(wait_seconds)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(time.time() - ALIVE.stat().st_mtime > ALIVE_SECONDS)
    end_on_sigterm()
    work()
