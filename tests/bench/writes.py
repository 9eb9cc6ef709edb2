"""Benchmark of writes through the Engine API: secrets created per second by one and by eight clients."""

import threading
import time

from covey.errors import CoveyError
from tests.bench.figures import Figure
from tests.bench.subject import Client, Subject, unique_name

SWARM = {1: "329 /s", 8: "364 /s"}
DATA = b"x" * 64


def secrets(subject: Subject, rounds: int) -> list[Figure]:
    """Secrets created per second on the leader's host, by one client and by eight."""
    figures = []
    for clients, writes in ((1, 300), (8, 800)):
        rates = tuple(_rate(subject, clients, writes // clients) for _ in range(rounds))
        title = f"secrets created through the API, {clients} client{'s' if clients > 1 else ''}"
        figures.append(Figure(title, "/s", rates, swarm=SWARM[clients], worst_is_least=True))
    return figures


def _rate(subject: Subject, clients: int, writes_each: int) -> float:
    leader = subject.leader()
    prefix = unique_name("bench")
    made: list[str] = []
    errors: list[Exception] = []

    def work(worker: int) -> None:
        client = Client(leader)
        try:
            made.extend(client.create_secret(f"{prefix}-{worker}-{number}", DATA) for number in range(writes_each))
        except Exception as error:  # raised below, in the calling thread
            errors.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    if errors:
        raise CoveyError(f"creating secrets failed: {errors[0]}")
    for secret in made:
        subject.call("DELETE", f"/secrets/{secret}", at=leader)
    return len(made) / seconds
