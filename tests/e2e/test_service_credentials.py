"""Credentials of services, and owners of secrets, through the docker client, on two hosts and a registry with passwords."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.lab_registry import REGISTRY, running_lab_with_registry
from tests.support.labs import IMAGE, OTHER_IMAGE, LabCluster

pytestmark = pytest.mark.root

FIRST, SECOND = f"{REGISTRY}/private:1", f"{REGISTRY}/private:2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def lab(folder: Path, images: Path) -> Iterator[LabCluster]:
    with running_lab_with_registry("auth", 1, 1, folder, archive=images, credentials=("joe", "first")) as running:
        for source, name in ((IMAGE, FIRST), (OTHER_IMAGE, SECOND)):
            running.docker("tag", source, name)
            running.docker("--config", login(folder, "first"), "push", "-q", name)
            for host in running.hosts:
                running.docker("rmi", "-f", name, source, on=host, check=None)
        yield running


def login(folder: Path, password: str) -> str:
    """A client's configuration with credentials, as ``docker login`` writes it."""
    made = folder / password
    made.mkdir(exist_ok=True)
    auth = base64.b64encode(f"joe:{password}".encode()).decode()
    (made / "config.json").write_text(json.dumps({"auths": {REGISTRY: {"auth": auth}}}))
    return str(made)


def create(lab: LabCluster, config: str, name: str, *options: str) -> None:
    lab.docker(
        "--config", config, "service", "create", "--detach", "--no-resolve-image", "--with-registry-auth",
        "--stop-signal", "SIGKILL", "--restart-delay", "500ms", "--name", name, *options, FIRST, *labs.SLEEP,
    )  # fmt: skip


def test_credentials_survive_reschedules_and_can_be_renewed(lab: LabCluster, folder: Path) -> None:
    """The task's host dies, so that no other node has the image; later the password changes."""
    create(lab, login(folder, "first"), "kept", "--constraint", f"node.id=={lab.node_id(lab[2])}")
    (there,) = lab.running("kept", 1)
    lab.docker("service", "update", "--detach", "--constraint-rm", f"node.id=={lab.node_id(lab[2])}", "kept")
    lab.kill(lab[2])
    moved = labs.wait(
        lambda: [task for task in lab.tasks("kept", state="running") if task["NodeID"] != there["NodeID"]], "the move"
    )
    assert not lab.json("service", "inspect", "kept")[0]["Spec"]["TaskTemplate"]["ContainerSpec"].get("PullOptions")

    (folder / "htpasswd").write_text(labs.run(["htpasswd", "-Bbn", "joe", "second"]).out)
    update = ("service", "update", "--detach", "--no-resolve-image")
    lab.docker("--config", login(folder, "second"), *update, "--with-registry-auth", "kept")
    assert [task["ID"] for task in lab.tasks("kept", state="running")] == [moved[0]["ID"]], "nothing is replaced"
    lab.docker(*update, "--image", SECOND, "kept")
    (renewed,) = labs.wait(
        lambda: [task for task in lab.running("kept", 1) if task["ID"] != moved[0]["ID"]], "the renewed task"
    )
    assert renewed["Spec"]["ContainerSpec"]["Image"] == SECOND


def test_old_credentials_reject_a_task_with_the_words_of_the_registry_until_they_are_renewed(
    lab: LabCluster, folder: Path
) -> None:
    (folder / "htpasswd").write_text(labs.run(["htpasswd", "-Bbn", "joe", "third"]).out)
    lab.docker("rmi", "-f", FIRST, check=None)
    create(lab, login(folder, "second"), "late")
    (rejected, *_) = labs.wait(lambda: lab.tasks("late", desired="", state="rejected"), "the rejected task")
    assert "unauthorized" in rejected["Status"]["Err"].lower()
    lab.docker("--config", login(folder, "third"), "service", "update", "--detach", "--no-resolve-image",
               "--with-registry-auth", "late")  # fmt: skip
    lab.running("late", 1)


def test_secrets_and_configs_have_owners_modes_and_labels(lab: LabCluster) -> None:
    for kind in ("secret", "config"):
        lab.docker(kind, "create", "--label", "tier=front", f"a-{kind}", "-", stdin=b"data")
        assert lab.json(kind, "inspect", f"a-{kind}")[0]["Spec"]["Labels"] == {"tier": "front"}
    owner = "uid=7,gid=8,mode=0440"
    lab.service(
        "owned", "--user", "7:8", "--secret", f"source=a-secret,target=key,{owner}",
        "--config", f"source=a-config,target=/etc/app.conf,{owner}", image=SECOND,
    )  # fmt: skip
    (task,) = lab.running("owned", 1)
    script = "for f in /run/secrets/key /etc/app.conf; do stat -c '%u:%g %a' $f; cat $f; echo; done"
    assert lab.execute(task, "sh", "-c", script).lines == ["7:8 440", "data"] * 2
    (shown,) = lab.json("service", "inspect", "owned")
    target = shown["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["File"]
    assert target == {"Name": "key", "UID": "7", "GID": "8", "Mode": 0o440}
