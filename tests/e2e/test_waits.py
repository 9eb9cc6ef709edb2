"""Waits of ``covey service`` and ``covey stack deploy``: their limit, when they stop by themselves, and the cause that they tell."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, SLEEP, LabCluster

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"
CREATE = ("service", "create", "--no-resolve-image", "--stop-signal", "SIGKILL", "--name")


@pytest.fixture(scope="module")
def pair(images: Path) -> Iterator[LabCluster]:
    """A manager and a worker."""
    with labs.running_lab("waits", 1, 1, archive=images) as found:
        yield found


@pytest.fixture(autouse=True)
def _empty(pair: LabCluster) -> Iterator[None]:
    yield
    pair.remove_all_objects()


def covey(lab: LabCluster, *arguments: str, check: int = 0, stdin: bytes = b"") -> labs.CommandResult:
    return labs.run([COVEY, *arguments], env=lab.environment(), check=check, stdin=stdin)


def test_a_wait_ends_at_its_limit_with_the_state_and_the_cause(pair: LabCluster) -> None:
    began = time.monotonic()
    said = covey(pair, *CREATE, "web", "--constraint", "node.labels.zone==a", "--timeout", "1s", IMAGE, *SLEEP, check=1)
    assert time.monotonic() - began < 15
    assert "service web: has not converged within 1s: 0 of 1 tasks running; 1 pending" in said.err
    assert "no suitable node" in said.err
    assert "See its tasks with: covey service ps web" in said.err
    assert covey(pair, "service", "update", "--constraint-rm", "node.labels.zone==a", "--timeout", "30s", "web").out
    refused = covey(pair, "service", "scale", "-d", "--timeout", "1s", "web=2", check=1)
    assert "--timeout is incompatible with --detach" in refused.err


def test_used_up_attempts_end_the_wait_with_the_last_lines_of_the_log(pair: LabCluster) -> None:
    policy = ("--restart-condition", "on-failure", "--restart-max-attempts", "1", "--restart-delay", "0s")
    never_runs = ("--health-cmd", "true", "--health-interval", "1m")
    program = ("sh", "-c", "for i in $(seq 20); do echo line $i; done; echo no database >&2; exit 3")
    said = covey(pair, *CREATE, "web", *policy, *never_runs, IMAGE, *program, check=1)
    assert "a task failed and is not started again: task: non-zero exit (3)" in said.err
    lines = said.err.splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith("last lines of task web.1 (")]
    told = lines[first + 1 : -1]
    assert len(told) == 10
    assert "  no database" in told
    assert "  line 20" in told


def test_a_health_check_tells_its_output(pair: LabCluster) -> None:
    check = ("--health-cmd", "echo no route to db; exit 1", "--health-interval", "100ms", "--health-retries", "1")
    said = covey(pair, *CREATE, "web", *check, "--restart-condition", "none", IMAGE, *SLEEP, check=1)
    assert "task: unhealthy container: no route to db" in said.err


@pytest.mark.parametrize(
    ("options", "image", "error"),
    [
        ((), "127.0.0.1:9/none:1", "No such image: 127.0.0.1:9/none:1"),
        (
            ("--mount", "type=bind,source=/nosuch,target=/x"),
            IMAGE,
            'invalid mount config for type "bind": bind source path does not exist: /nosuch',
        ),
    ],
)
def test_what_every_node_refuses_is_rejected_while_preparing_and_ends_the_wait(
    pair: LabCluster, options: tuple[str, ...], image: str, error: str
) -> None:
    """Docker 20.10 rejects both while it prepares the task; the words are its own."""
    placed = ("--mode", "global", "--restart-delay", "60s")
    said = covey(pair, *CREATE, "web", *placed, *options, image, *SLEEP, check=1)
    assert f"its tasks are rejected again and again: {error}" in said.err
    assert "(on every node)" in said.err
    status = pair.tasks("web", desired="", state="rejected")[0]["Status"]
    assert (status["Message"], error in status["Err"]) == ("preparing", True)
    shown = covey(
        pair, "node", "ps", "--no-trunc", "--format", "{{.Name}} {{.DesiredState}} {{.CurrentState}} {{.Error}}"
    )
    assert any("Shutdown Rejected" in line and error in line for line in shown.lines), shown.out


def test_a_global_job_without_a_node_ends_the_wait(pair: LabCluster) -> None:
    job = ("--mode", "global-job", "--constraint", "node.labels.zone==a")
    said = covey(pair, *CREATE, "job", *job, IMAGE, "true", check=1)
    assert "service job: no node is eligible for the job (node.labels.zone==a)" in said.err


def test_an_update_that_fails_tells_why_it_was_paused_or_rolled_back(pair: LabCluster) -> None:
    quick = ("--update-monitor", "200ms", "--rollback-monitor", "100ms", "--restart-delay", "0s")
    covey(pair, *CREATE, "web", *quick, IMAGE, *SLEEP)
    broken = ("service", "update", "--args", "sh -c 'echo cannot start; exit 4'")
    said = covey(pair, *broken, "--update-failure-action", "rollback", "web", check=1)
    assert "service web: rolled back: rollback completed: update rolled back due to failure" in said.err
    assert "task: non-zero exit (4)" in said.err
    assert "  cannot start" in said.err.splitlines()
    status = json.loads(pair.docker("service", "inspect", "web", "--format", "{{json .UpdateStatus}}").out)
    assert status["State"] == "rollback_completed"
    assert status["Message"].endswith("task: non-zero exit (4)")
    said = covey(pair, *broken, "--update-failure-action", "pause", "web", check=1)
    assert "service web: update paused: update paused due to failure or early termination of task" in said.err
    assert "task: non-zero exit (4)" in said.err


def test_old_tasks_that_still_serve_are_counted_during_a_start_first_update(pair: LabCluster) -> None:
    covey(
        pair,
        *CREATE,
        "web",
        "--replicas",
        "2",
        "--update-order",
        "start-first",
        "--update-monitor",
        "0s",
        IMAGE,
        *SLEEP,
    )
    slow = ("--health-cmd", "test -e /tmp/ready || { sleep 1; touch /tmp/ready; }", "--health-interval", "200ms")
    said = covey(pair, "service", "update", *slow, "--update-parallelism", "1", "web")
    shown = [line for line in said.lines if line.startswith("web: ")]
    assert all(line.startswith("web: 2 of 2 tasks running") for line in shown), shown
    assert any("of them updated" in line for line in shown), shown


def test_a_stack_has_one_limit_for_all_its_services(pair: LabCluster) -> None:
    file = {
        "services": {
            "good": {"image": IMAGE, "command": ["sleep", "1000000"], "stop_signal": "SIGKILL"},
            "bad": {
                "image": IMAGE,
                "command": ["sleep", "1000000"],
                "deploy": {"placement": {"constraints": ["node.labels.zone==a"]}},
            },
        }
    }
    deploy = ("stack", "deploy", "--resolve-image", "never", "--timeout", "2s", "-c", "-", "shop")
    said = covey(pair, *deploy, check=1, stdin=json.dumps(file).encode())
    assert "service shop_bad: has not converged within 2s" in said.err
