"""Hooks, devices and privileged containers of services, set by labels through the API, on a real host."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("hooks", 1, archive=images) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_services(lab: LabCluster) -> Iterator[None]:
    yield
    lab.remove_all_objects()


def create(lab: LabCluster, name: str, *options: str, check: int | None = 0) -> CommandResult:
    create = ("service", "create", "--detach", "--no-resolve-image", "--name", name, "--restart-condition", "none")
    return lab.docker(*create, "--stop-grace-period", "5s", *options, IMAGE, *labs.SLEEP, check=check)


def covey(lab: LabCluster, *arguments: str) -> CommandResult:
    return labs.run([labs.PYTHON_BIN / "covey", *arguments], env=lab.environment())


def test_a_task_runs_once_its_post_start_hook_has_ended(lab: LabCluster) -> None:
    create(
        lab,
        "slow",
        "--label",
        "covey.hook.post-start=until [ -e /go ]; do sleep 0.05; done; echo $A >/said",
        "-e",
        "A=b",
    )
    (container,) = labs.wait(lambda: lab.covey_containers(lab[0]), "the container runs")
    assert lab.tasks("slow", state="starting")
    lab.docker("exec", container, "touch", "/go")
    (task,) = lab.running("slow", 1)
    assert lab.docker("exec", container, "cat", "/said").out == "b\n"
    assert task["Status"]["State"] == "running"


def test_a_failed_post_start_hook_ends_the_task_with_its_last_line(lab: LabCluster) -> None:
    create(lab, "broken", "--label", "covey.hook.post-start=echo no database; exit 3")
    (task,) = labs.wait(lambda: lab.tasks("broken", desired="", state="failed"), "the task fails")
    assert (
        "post-start hook exited with status 3: /bin/sh -c echo no database; exit 3: no database"
        in task["Status"]["Err"]
    )


def test_a_pre_stop_hook_runs_before_the_container_is_stopped(lab: LabCluster) -> None:
    lab.docker("volume", "create", "words")
    create(lab, "leaving", "--label", "covey.hook.pre-stop=echo bye >/v/word", "--mount", "source=words,target=/v")
    lab.running("leaving", 1)
    lab.docker("service", "scale", "-d", "leaving=0")
    labs.wait(lambda: not lab.docker("ps", "-q", "--filter", "name=leaving").out, "the container has ended")
    assert lab.docker("run", "--rm", "-v", "words:/v", IMAGE, "cat", "/v/word").out == "bye\n"


def test_a_service_gets_a_device_once_the_cluster_allows_it(lab: LabCluster) -> None:
    wish = ("--label", "covey.devices=/dev/fuse:/dev/fuse2:rw")
    refused = create(lab, "mounter", *wish, check=1)
    assert "label covey.devices: the cluster's policy does not allow it to service mounter" in refused.err
    covey(lab, "swarm", "update", "--allow-devices", "service=mount*")
    create(lab, "mounter", *wish)
    (task,) = lab.running("mounter", 1)
    assert "fuse2" in lab.execute(task, "ls", "/dev").out
    update = lab.docker("service", "update", "-d", "--label-add", "covey.privileged=true", "mounter", check=1)
    assert "label covey.privileged: the cluster's policy does not allow it to service mounter" in update.err


def test_a_privileged_service_has_all_capabilities(lab: LabCluster) -> None:
    covey(lab, "swarm", "update", "--allow-privileged", f"image={IMAGE.split(':')[0]}*")
    create(lab, "root", "--label", "covey.privileged=true")
    (task,) = lab.running("root", 1)
    own = Path("/proc/self/status").read_text().split("CapBnd:\t")[1].split()[0]
    assert f"CapEff:\t{own}" in lab.execute(task, "cat", "/proc/1/status").out


def test_a_mistyped_label_is_refused(lab: LabCluster) -> None:
    refused = create(lab, "typo", "--label", "covey.hook.poststart=true", check=1)
    assert "label covey.hook.poststart is not known: did you mean covey.hook.post-start?" in refused.err
