"""What tasks use, from the samples that nodes send, and the load of a service made of it. Pure.

Invariant: the number of samples is bounded by that of the tasks asked for. A task without two recent samples has no known load.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from covey.clock import SECOND
from covey.objects import Autoscale, ResourceRequirements, Resources, Task
from manager.autoscale.decision import Measure

KEPT_SAMPLES = 4
"""CPU use is the mean over the time between the oldest and the newest of them."""
FRESH_NS = 20 * SECOND


class UsageSample(msgspec.Struct, frozen=True):
    """``measured_ns`` is of the node's clock, ``received_ns`` of the leader's."""

    measured_ns: int
    cpu_ns: int
    memory_bytes: int
    received_ns: int


class UsageSamples:
    """The latest samples of each task. Forgotten with the leadership."""

    def __init__(self) -> None:
        self._samples: dict[str, list[UsageSample]] = {}

    def keep(self, task_ids: Collection[str]) -> None:
        """Takes samples of these tasks from now on, and of no others."""
        self._samples = {task_id: self._samples.get(task_id, []) for task_id in task_ids}

    def add(self, task_id: str, sample: UsageSample) -> None:
        """Takes a sample. One that contradicts those before, because the container was started again, replaces them."""
        samples = self._samples.get(task_id)
        if samples is None:
            return
        if samples and (sample.measured_ns <= samples[-1].measured_ns or sample.cpu_ns < samples[-1].cpu_ns):
            samples.clear()
        samples.append(sample)
        del samples[:-KEPT_SAMPLES]

    def cpu_nanos(self, task_id: str, now_ns: int) -> float | None:
        """Billionths of a CPU that the task uses, or None while that is unknown."""
        samples = self._fresh(task_id, now_ns)
        if len(samples) < 2:
            return None
        first, last = samples[0], samples[-1]
        return (last.cpu_ns - first.cpu_ns) / (last.measured_ns - first.measured_ns) * SECOND

    def memory_bytes(self, task_id: str, now_ns: int) -> float | None:
        """Memory that the task uses, or None while that is unknown."""
        samples = self._fresh(task_id, now_ns)
        return float(samples[-1].memory_bytes) if samples else None

    def _fresh(self, task_id: str, now_ns: int) -> Sequence[UsageSample]:
        samples = self._samples.get(task_id, [])
        return samples if samples and now_ns - samples[-1].received_ns <= FRESH_NS else ()


def usage_measures(
    autoscale: Autoscale, requirements: ResourceRequirements, tasks: Iterable[Task], samples: UsageSamples, now_ns: int
) -> list[Measure]:
    """The CPU and memory use of running tasks, as parts of what each reserves or else may use, beside the targets."""
    running = [task.id for task in tasks]
    reserved, limited = requirements.reservations or Resources(), requirements.limits or Resources()
    measures = []
    if autoscale.cpu_percent:
        base = reserved.nano_cpus or limited.nano_cpus
        found = [samples.cpu_nanos(task_id, now_ns) for task_id in running]
        measures.append(_measure("cpu", autoscale.cpu_percent, base, found))
    if autoscale.memory_percent:
        base = reserved.memory_bytes or limited.memory_bytes
        found = [samples.memory_bytes(task_id, now_ns) for task_id in running]
        measures.append(_measure("memory", autoscale.memory_percent, base, found))
    return measures


def _measure(name: str, target: float, base: int, found: Sequence[float | None]) -> Measure:
    known = [value for value in found if value is not None]
    error = "" if known else f"no task has told its {name} use yet"
    if not base:
        error = f"there is no reservation or limit of {name}"
    total = sum(known) * 100 / base if base else 0.0
    return Measure(name=name, unit=" %", total=total, target=target, known=len(known), error=error)
