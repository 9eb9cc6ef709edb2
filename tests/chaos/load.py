"""Load of clients: each object is used for a few seconds, so that histories are dense and small enough to check.

Objects of earlier epochs are read now and then, because a manager that serves stale reads may be far behind.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.chaos.client import Client, History

KEYS = 4
EPOCH_SECONDS = 3.0
THINK_SECONDS = (0.0, 0.03)
WEIGHTS = {"read": 6, "read all": 1, "update": 6, "create": 3, "remove": 1, "look back": 1}


class Load:
    """``with Load(...)``: ``clients_each`` clients of each manager work until the block ends."""

    def __init__(
        self, sockets: Sequence[tuple[str, Path]], history: History, seed: int, prefix: str, clients_each: int = 2
    ) -> None:
        self.prefix = prefix
        self._history = history
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=(Client(f"{name}.{n}", socket, history), f"{seed}/{name}/{n}"))
            for name, socket in sockets
            for n in range(clients_each)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        if self._failures:
            raise self._failures[0]

    def epoch(self) -> int:
        return int((time.monotonic() - self._began) / EPOCH_SECONDS)

    def keys(self, epoch: int) -> list[str]:
        return [f"{self.prefix}-{epoch}-{number}" for number in range(KEYS)]

    def all_keys(self) -> list[str]:
        return [key for epoch in range(self.epoch() + 1) for key in self.keys(epoch)]

    def _work(self, client: Client, seed: str) -> None:
        rng = random.Random(seed)
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        try:
            while not self._stop.is_set():
                self._one(client, rng.choices(kinds, weights)[0], rng)
                self._stop.wait(rng.uniform(*THINK_SECONDS))
        except Exception as error:
            self._failures.append(error)

    def _one(self, client: Client, kind: str, rng: random.Random) -> None:
        epoch = self.epoch()
        keys = self.keys(epoch)
        key = rng.choice(keys)
        actions: dict[str, Callable[[], object]] = {
            "read": lambda: client.read(key),
            "read all": lambda: client.read_all(keys),
            "update": lambda: client.update(key) if key in client.seen else client.read(key),
            "create": lambda: client.create(key),
            "remove": lambda: client.remove(key),
            "look back": lambda: client.read(rng.choice(self.keys(rng.randint(0, epoch)))),
        }
        actions[kind]()
