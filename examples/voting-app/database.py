"""The database: votes in a file on a volume, one per line. A vote is on the disk before it is answered."""

import hmac
import json
import os
import sys
from collections import Counter
from pathlib import Path
from threading import Lock

from line_protocol import ask, serve

PORT = 7000
FILE = Path("/data/votes")
PASSWORD = Path("/run/secrets/database_password")


class Database:
    """``VOTE PASSWORD CHOICE`` (answers with the choice's votes), ``COUNTS PASSWORD`` (JSON), ``PING``."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.password = PASSWORD.read_text().strip()
        self.file = FILE.open("a+")
        self.file.seek(0)
        self.counts = Counter(self.file.read().splitlines())

    def answer(self, request: str) -> str:
        match request.split(" ", 2):
            case ["PING"]:
                return "PONG"
            case ["VOTE" | "COUNTS", password, *_] if not hmac.compare_digest(password, self.password):
                return "ERR wrong password"
            case ["VOTE", _, choice]:
                return str(self.add(choice))
            case ["COUNTS", _]:
                with self.lock:
                    return json.dumps(self.counts)
        return "ERR unknown request"

    def add(self, choice: str) -> int:
        with self.lock:
            self.file.write(f"{choice}\n")
            self.file.flush()
            os.fsync(self.file.fileno())
            self.counts[choice] += 1
            return self.counts[choice]


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(ask(f"127.0.0.1:{PORT}", "PING") != "PONG")
    serve(PORT, Database().answer)
