"""Affinity, skew and priorities on three hosts in two zones, through the docker client; and every block of ``docs/guides/placement.md``."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.guide_run import GUIDES, GuideHosts
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

CPUS = str(os.cpu_count())
BLOCK = re.compile(
    r"^```(?P<kind>sh|text)(?: (?P<option>\w+)=(?P<value>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("near", 1, 2, archive=images) as found:
        for host, zone in zip(found.hosts, ("east", "east", "west"), strict=True):
            found.docker("node", "update", "--label-add", f"zone={zone}", host.name)
        yield found


@pytest.fixture(autouse=True)
def _empty(lab: LabCluster) -> Iterator[None]:
    yield
    lab.remove_all_objects()


def where(lab: LabCluster, service: str, count: int) -> Counter[int]:
    """How many tasks run on each host, by its number."""
    names = {host.name: number for number, host in enumerate(lab.hosts, start=1)}
    return Counter(names[host.name] for host in lab.hosts_of(lab.running(service, count)))


def shown(line: str) -> str:
    """A shown line as a regular expression: columns may be wider, and … stands for any words."""
    return r"\s+".join(re.escape(word).replace("…", ".+") for word in line.split())


def test_every_block_of_the_guide_works_as_described(lab: LabCluster) -> None:
    page = GuideHosts(lab).for_lab((GUIDES / "placement.md").read_text())
    page = page.replace("busybox", IMAGE).replace("--reserve-cpu 2", f"--reserve-cpu {CPUS}")
    blocks = list(BLOCK.finditer(page))
    assert len([block for block in blocks if block["kind"] == "sh"]) == page.count("```sh") == 13
    environment = lab.environment()
    environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block["kind"] == "text":
            continue
        lines = following["body"].splitlines() if following is not None and following["kind"] == "text" else []

        def run(block: re.Match[str] = block, lines: list[str] = lines) -> bool:
            code = int(block["value"]) if block["option"] == "exit" else 0
            done = labs.run(["sh", "-ec", block["body"]], env=environment, check=code)
            missing = [line for line in lines if not re.search(shown(line), done.out + done.err)]
            assert not missing or block["option"] == "retry", (missing, done.out + done.err)
            return not missing

        labs.wait(run, block["body"])
    labs.wait(lambda: not lab.get("/services"), "the removal of everything")


def test_what_must_be_near_follows_when_the_other_service_moves_with_its_host(lab: LabCluster) -> None:
    """A running task stays where it is; only a start is decided by its neighbours."""
    lab.service("db", "--constraint", f"node.hostname!={lab[3].name}")
    (first,) = where(lab, "db", 1)
    lab.service("web", "--replicas", "2", "--label", "covey.affinity=db")
    assert where(lab, "web", 2) == {first: 2}
    lab.docker("node", "update", "--availability", "drain", lab[first].name)
    other = 3 - first
    labs.wait(lambda: where(lab, "web", 2) == {other: 2}, "both tasks where the other service went")
    lab.docker("node", "update", "--availability", "active", lab[first].name)
    before = {task["ID"] for task in lab.running("web", 2)}
    lab.docker("service", "update", "--detach", "--label-add", "covey.affinity=db@node.labels.zone", "web")
    lab.docker("service", "scale", "--detach", "web=4")
    assert where(lab, "web", 4) == {first: 2, other: 2}
    assert before <= {task["ID"] for task in lab.running("web", 4)}, "a change of the label alone replaces no task"


def test_a_global_service_and_typing_errors_are_refused_by_the_label(lab: LabCluster) -> None:
    for label, flags, words in (
        ("covey.affinity=db", ("--mode", "global"), "label covey.affinity: a global service has a task on each node"),
        ("covey.afinity=db", (), "label covey.afinity is not known: did you mean covey.affinity?"),
        ("covey.priority=high", (), "label covey.priority: 'high' is not a whole number from -1000 to 1000"),
        ("covey.spread.max-skew=1@zone", (), "label covey.spread.max-skew: 'zone' is no label of nodes"),
    ):
        said = lab.docker("service", "create", "--detach", "--label", label, *flags, IMAGE, check=1).err
        assert words in said, said
    assert not lab.get("/services")


def test_the_preempted_are_placed_first_and_a_preemption_that_gains_nothing_is_not_done(lab: LabCluster) -> None:
    full = ("--reserve-cpu", CPUS)
    lab.service("batch", "--replicas", "3", *full, "--label", "covey.priority=-1")
    before = {task["ID"] for task in lab.running("batch", 3)}
    lab.service("later", *full, "--label", "covey.priority=-1")
    lab.service("nowhere", *full, "--constraint", "node.labels.zone==north")
    lab.service("huge", "--reserve-cpu", str(int(CPUS) + 1))
    for name in ("nowhere", "huge", "later"):
        labs.wait(lambda: lab.tasks(name, state="pending")[0]["Status"].get("Err"), f"the reason why {name} waits")  # noqa: B023
    assert {task["ID"] for task in lab.running("batch", 3)} == before
    lab.service("shop", *full, "--label", "covey.priority=5")
    lab.running("shop", 1)
    (rejected,) = lab.tasks("batch", desired="shutdown")
    assert rejected["Status"]["State"] == "rejected"
    assert rejected["Status"]["Err"] == "preempted by shop.1, whose priority 5 is higher than -1"
    assert len(lab.tasks("batch", state="running")) == 2
    lab.docker("service", "rm", "shop")
    assert len(lab.running("batch", 3)) == 3, "the one that was preempted comes before the older one that waits"
    assert lab.tasks("later", state="pending")


def test_a_dry_run_names_the_tasks_that_would_end(lab: LabCluster) -> None:
    lab.service("batch", "--replicas", "3", "--reserve-cpu", CPUS, "--label", "covey.priority=-1")
    before = {task["ID"] for task in lab.running("batch", 3)}
    command = [
        labs.PYTHON_BIN / "covey",
        "service",
        "create",
        "--dry-run",
        "--name",
        "shop",
        "--reserve-cpu",
        CPUS,
        IMAGE,
    ]
    said = labs.run(command, env=lab.environment()).out
    assert re.search(r": 1 task \(1 new\)", said), said
    assert "1 task of service batch would end for it" in said, said
    assert {task["ID"] for task in lab.running("batch", 3)} == before


def test_a_node_on_which_a_service_keeps_failing_is_avoided(lab: LabCluster) -> None:
    """The node that attracts the task most, as it has the fewest, cannot run it."""
    lab.service("others", "--replicas", "2", "--constraint", f"node.hostname!={lab[2].name}")
    lab.running("others", 2)
    script = f'[ "$HOST" != {lab[2].name} ] || exit 7; exec sleep 1000000'
    where_it_is = ("--env", "HOST={{.Node.Hostname}}", "--restart-delay", "10ms")
    lab.service("picky", *where_it_is, command=("sh", "-c", script))
    labs.wait(lambda: [host for host in lab.hosts_of(lab.running("picky", 1)) if host != lab[2]], "it on another host")
    failed = [item for item in lab.tasks("picky", desired="shutdown") if item["Status"]["State"] == "failed"]
    assert {lab.host_of(item).name for item in failed} == {lab[2].name}
    assert len(failed) == 3


def test_a_global_job_without_an_eligible_node_runs_as_soon_as_there_is_one(lab: LabCluster) -> None:
    flags = ("--detach", "--mode", "global-job", "--no-resolve-image", "--constraint", "node.labels.disk==ssd")
    lab.docker("service", "create", *flags, "--name", "scan", IMAGE, "true")
    assert lab.docker("service", "ls", "--format", "{{.Replicas}}").out == "0/0 (0/0 completed)\n"
    assert not lab.tasks("scan")
    lab.docker("node", "update", "--label-add", "disk=ssd", lab[3].name)
    done = labs.wait(lambda: lab.tasks("scan", desired="complete", state="complete"), "the job on the new node")
    assert [lab.host_of(task) for task in done] == [lab[3]]
    lab.docker("node", "update", "--label-rm", "disk", lab[3].name)
