"""Outlook of a wait: whether a service has got where it should, or why it never will. Pure but for what it has seen."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from cli.service.convergence import ServiceProgress
from cli.service.rejections import RejectionCounter

Item = Mapping[str, Any]
EMPTY_SECONDS = 3.0
"""After so long without a task, a global job has no node to run on: managers create tasks within milliseconds."""


class Ending(msgspec.Struct, frozen=True):
    """The end of a wait. ``problem`` says in a sentence why the service will not get where it should; empty if it is there.
    ``of_update``: what failed was an update, which may be undone by now.
    """

    problem: str = ""
    of_update: bool = False


class Outlook:
    """Judges one service again and again. ``rollback``: a rollback was asked for and is no failure."""

    def __init__(self, *, rollback: bool) -> None:
        self._rollback = rollback
        self._rolled_back = False
        self._rejections = RejectionCounter()
        self._without_tasks_since: float | None = None

    def ending(
        self, service: Item, tasks: Sequence[Item], progress: ServiceProgress, nodes: Collection[str], now: float
    ) -> Ending | None:
        """How the wait ends; None while something can still change. ``nodes`` are the ids of the nodes that take tasks, ``now`` is a
        monotonic time in seconds.
        """
        name = service["Spec"]["Name"]
        self._rolled_back = self._rolled_back or progress.update.startswith("rollback")
        reason = self._rejections.reason(tasks, restarts=_restarts(service), nodes=nodes)
        if (service.get("UpdateStatus") or {}).get("AwaitsPromotion"):
            return Ending()  # as the service's owner asked
        if progress.paused:
            return Ending(
                f"service {name}: update {progress.update.replace('_', ' ')}: {progress.message}", of_update=True
            )
        if progress.converged:
            if not self._rolled_back or self._rollback:
                return Ending()
            return Ending(f"service {name}: rolled back: {progress.message}", of_update=True)
        if progress.update:
            return None  # the update's own failure action decides
        if progress.failure:
            what = "the job failed" if progress.job else "a task failed and is not started again"
            return Ending(f"service {name}: {what}: {progress.failure}")
        if reason:
            return Ending(
                f"service {name}: its tasks are rejected again and again: {reason}\nThe service stays and goes on trying."
            )
        return self._without_nodes(service, tasks, now)

    def _without_nodes(self, service: Item, tasks: Sequence[Item], now: float) -> Ending | None:
        """A global job that no node may run stays without tasks."""
        if "GlobalJob" not in (service["Spec"].get("Mode") or {}) or tasks:
            self._without_tasks_since = None
            return None
        since = self._without_tasks_since = self._without_tasks_since or now
        if now - since < EMPTY_SECONDS:
            return None
        placement = (service["Spec"].get("TaskTemplate") or {}).get("Placement") or {}
        where = " and ".join(placement.get("Constraints") or ())
        return Ending(
            f"service {service['Spec']['Name']}: no node is eligible for the job{f' ({where})' if where else ''}"
        )


def _restarts(service: Item) -> bool:
    """Whether a rejected task is replaced by another."""
    policy = (service["Spec"].get("TaskTemplate") or {}).get("RestartPolicy") or {}
    return bool(policy.get("Condition", "any") != "none")
