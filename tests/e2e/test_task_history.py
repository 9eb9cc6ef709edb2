"""The history of tasks in ``service ps``: as many tasks of a slot as Docker 20.10 shows after the same commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root

UPDATES = 6
KEPT = {
    0: {"Running Running": 1},
    1: {"Running Running": 1},
    2: {"Running Running": 1, "Shutdown Shutdown": 1},
    5: {"Running Running": 1, "Shutdown Shutdown": 4},
}
"""By the task history limit: desired and present states of the tasks of a slot after six updates, as Docker shows them."""


@pytest.fixture
def limited(lab: LabCluster) -> Iterator[LabCluster]:
    yield lab
    lab.docker("swarm", "update", "--task-history-limit", "5")


def states(lab: LabCluster, name: str) -> Counter[str]:
    shown = lab.docker("service", "ps", "--format", "{{.DesiredState}} {{.CurrentState}}", name).lines
    return Counter(" ".join(line.split()[:2]) for line in shown)


def shows(lab: LabCluster, name: str, wanted: dict[str, int]) -> None:
    try:
        labs.wait(lambda: states(lab, name) == wanted, f"{name} to show {wanted}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {states(lab, name)}") from None


@pytest.mark.parametrize("limit", KEPT)
def test_a_slot_keeps_as_many_tasks_as_the_limit_says(limited: LabCluster, limit: int) -> None:
    limited.docker("swarm", "update", "--task-history-limit", str(limit))
    limited.service("web", "--update-monitor", "0s")
    limited.running("web", 1)
    for _ in range(UPDATES):
        before = limited.running("web", 1)[0]["ID"]
        limited.docker("service", "update", "-d", "--force", "web")
        labs.wait(lambda old=before: limited.running("web", 1)[0]["ID"] != old, "the next task")
    shows(limited, "web", KEPT[limit])


def test_all_attempts_of_a_restart_policy_are_kept_whatever_the_limit(limited: LabCluster) -> None:
    limited.docker("swarm", "update", "--task-history-limit", "0")
    limited.service("tried", "--restart-delay", "0s", "--restart-max-attempts", "4", command=("false",))
    shows(limited, "tried", {"Shutdown Failed": 5})


def test_a_slot_that_is_scaled_away_leaves_nothing(limited: LabCluster) -> None:
    limited.service("web", "--replicas", "2")
    limited.running("web", 2)
    limited.docker("service", "scale", "-d", "web=1")
    shows(limited, "web", {"Running Running": 1})
