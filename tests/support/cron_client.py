"""A cron for services as swarm-cronjob is one: it follows the events of services, reads their labels, and runs a service by a forced update.

Invariant: it knows nothing but Docker's API, by the Docker SDK. Called by tests.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import docker
from docker.models.services import Service

ENABLED, PERIOD, REPLICAS, SKIP = (f"swarm.cronjob.{name}" for name in ("enable", "period", "replicas", "skip-running"))
_ACTIVE = frozenset({"new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"})


class CronClient:
    """Runs every service with the labels, each at its period in seconds. ``fired`` counts its updates by service name."""

    def __init__(self, url: str) -> None:
        self._client = docker.DockerClient(base_url=url, timeout=30)
        self._jobs: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.fired: dict[str, int] = {}
        self.skipped: dict[str, int] = {}
        self.errors: list[str] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[CronClient]:
        """Follow events and fire until the end of the block."""
        stream = self._client.events(decode=True, filters={"type": "service"})
        for service in self._client.services.list():
            self._learn(service.name)
        threads = [
            threading.Thread(target=self._follow, args=(stream,), daemon=True),
            threading.Thread(target=self._fire_due, daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            with contextlib.suppress(Exception):
                stream.close()
            threads[1].join(10)
            self._client.close()

    @property
    def jobs(self) -> set[str]:
        """The names of the services that it runs."""
        with self._lock:
            return set(self._jobs)

    def _follow(self, stream: Iterator[dict]) -> None:
        with contextlib.suppress(Exception):  # the stream is closed at the end
            for event in stream:
                name = event["Actor"]["Attributes"]["name"]
                if event["Action"] == "remove":
                    with self._lock:
                        self._jobs.pop(name, None)
                else:
                    self._learn(name)

    def _learn(self, name: str) -> None:
        try:
            labels = self._client.services.get(name).attrs["Spec"].get("Labels") or {}
        except docker.errors.NotFound:
            labels = {}
        with self._lock:
            if labels.get(ENABLED) != "true":
                self._jobs.pop(name, None)
            elif self._jobs.get(name, (0.0, 0.0))[0] != float(labels[PERIOD]):
                self._jobs[name] = (float(labels[PERIOD]), time.monotonic())

    def _fire_due(self) -> None:
        while not self._stopped.wait(0.05):
            now = time.monotonic()
            with self._lock:
                due = [name for name, (_, at) in self._jobs.items() if at <= now]
                self._jobs |= {name: (self._jobs[name][0], now + self._jobs[name][0]) for name in due}
            for name in due:
                try:
                    self._run(self._client.services.get(name))
                except docker.errors.NotFound:
                    continue
                except docker.errors.APIError as error:
                    self.errors.append(str(error))

    def _run(self, service: Service) -> None:
        """Start the tasks of a service again, unless they still run and the label forbids that."""
        spec = service.attrs["Spec"]
        labels = spec["Labels"]
        active = [task for task in service.tasks({"desired-state": "running"}) if task["Status"]["State"] in _ACTIVE]
        if active and labels.get(SKIP) == "true":
            self.skipped[service.name] = self.skipped.get(service.name, 0) + 1
            return
        task = spec["TaskTemplate"]
        self._client.api.update_service(
            service.id,
            service.version,
            task_template={**task, "ForceUpdate": task.get("ForceUpdate", 0) + 1},
            name=service.name,
            labels=labels,
            mode={"Replicated": {"Replicas": int(labels.get(REPLICAS, "1"))}},
            fetch_current_spec=True,
        )
        self.fired[service.name] = self.fired.get(service.name, 0) + 1
