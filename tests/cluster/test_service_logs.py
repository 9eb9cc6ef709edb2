"""`service logs` across nodes: in order of time, and followed through a change of leader without an error, a lost or a repeated line.
Of tasks on a host that died, the leader's own included, the end of the output is kept.
"""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
COUNT = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"


@pytest.fixture(scope="module")
def trio(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("logs", 3, archive=images) as found:
        yield found


@pytest.fixture
def managers(trio: LabCluster) -> Iterator[LabCluster]:
    trio.restore_all_hosts()
    yield trio
    trio.restore_all_hosts()
    trio.remove_all_objects()


class FollowedLogs:
    """`docker service logs --follow` on a host, read line by line."""

    def __init__(self, lab: LabCluster, service: str, *, on: object) -> None:
        command = ["docker", "service", "logs", "--follow", "--raw", "--details", service]
        self._process = subprocess.Popen(
            command,
            env=lab.environment(on),  # type: ignore[arg-type]
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(iter(self._process.stdout.readline, ""))

    def numbers(self) -> dict[str, list[int]]:
        """The numbers that each task has counted so far."""
        found: dict[str, list[int]] = {}
        for details, _, text in (line.strip().partition(" line ") for line in list(self.lines)):
            found.setdefault(details, []).append(int(text))
        return found

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> str:
        """Ends the client and returns its errors."""
        self._process.terminate()
        self._thread.join(10)
        assert self._process.stderr is not None
        return self._process.stderr.read()


def test_lines_of_tasks_on_several_nodes_are_in_order_of_time(managers: LabCluster) -> None:
    managers.service("count", "--replicas", "4", command=("sh", "-c", COUNT))
    managers.running("count", 4)
    shown: list[str] = []

    def enough() -> bool:
        shown[:] = managers.docker("service", "logs", "--timestamps", "--raw", "count").lines
        return len(shown) > 120

    labs.wait(enough, "120 lines")
    times = [line.split(" ")[0] for line in shown]
    assert times == sorted(times)
    assert sorted({int(line.rpartition(" ")[2]) for line in shown})[:3] == [1, 2, 3]


def test_followed_logs_go_on_through_a_change_of_leader(managers: LabCluster) -> None:
    leader = managers.wait_leader()
    reader = next(host for host in managers.managers if host != leader)
    # Its replicas stay off the leader's host, which is killed, so that every line must arrive.
    managers.service(
        "count", "--replicas", "3", "--constraint", f"node.hostname!={leader.name}", command=("sh", "-c", COUNT)
    )
    managers.running("count", 3)
    followed = FollowedLogs(managers, "count", on=reader)
    try:
        labs.wait(lambda: len(followed.numbers()) == 3, "lines of three tasks")
        before = {task: numbers[-1] for task, numbers in followed.numbers().items()}
        managers.kill(leader)

        def went_on() -> bool:
            return all(followed.numbers()[task][-1] > last + 60 for task, last in before.items())

        labs.wait(went_on, "lines of every task after the change of leader")
        assert followed.is_running
    finally:
        errors = followed.end()
    assert not errors
    for task, numbers in followed.numbers().items():
        assert numbers == list(range(1, len(numbers) + 1)), f"{task} lost or repeated lines"


def test_the_end_of_the_output_of_a_dead_host_is_kept_also_if_it_led(managers: LabCluster) -> None:
    leader = managers.wait_leader()
    reader = next(host for host in managers.managers if host != leader)
    managers.service("count", "--mode", "global", command=("sh", "-c", COUNT))
    task = next(task for task in managers.running("count", 3) if managers.host_of(task) == leader)

    def shown(*options: str, check: int | None = 0) -> list[int]:
        lines = managers.docker("service", "logs", "--raw", *options, task["ID"], on=reader, check=check).lines
        return [int(line.removeprefix("line ")) for line in lines]

    labs.wait(lambda: shown("--tail", "1")[-1] > 130, "6 s of output, which is longer than a copy takes")
    managers.kill(leader)

    def is_down() -> bool:
        status, nodes = managers.request("GET", "/nodes", on=reader)
        return status == 200 and any(node["Status"]["State"] == "down" for node in nodes)

    labs.wait(is_down, "the dead host shown as down")
    kept = shown(check=1)  # the client ends with the error that lines are missing
    assert kept == list(range(kept[0], kept[-1] + 1))
    assert len(kept) >= 20
    assert shown("--tail", "2", check=1) == kept[-2:]
    error = managers.docker("service", "logs", task["ID"], on=reader, check=1).err
    assert f"error from node {leader.name} for count.{task['NodeID']}" in error
    assert "only the kept end of the output is shown" in error
