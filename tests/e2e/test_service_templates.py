"""Templates of services, secrets and configs, through the docker client, on two hosts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root

PAYLOAD = (
    b'{{.Service.Name}} {{.Task.Slot}} {{.Node.Hostname}} {{index .Service.Labels "tier"}} '
    b'{{env "ROLE"}} {{secret "pw"}} {{config "/plain"}}{{if eq .Service.Name "web"}} yes{{end}}'
)  # fmt: skip


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("templ", 1, 1, archive=images) as running:
        running.docker("secret", "create", "pw", "-", stdin=b"hush")
        running.docker("config", "create", "plain", "-", stdin=b"{{.Kept}}")
        for kind in ("secret", "config"):
            running.docker(kind, "create", "--template-driver", "golang", f"templated-{kind}", "-", stdin=PAYLOAD)
        yield running


def test_each_task_gets_its_own_values(lab: LabCluster) -> None:
    """Hostname, environment, the volume and its target, and the data of a secret and a config."""
    lab.service(
        "web", "--replicas", "2", "--replicas-max-per-node", "1", "--label", "tier=front",
        "--hostname", "{{.Service.Name}}-{{.Task.Slot}}", "--env", "ROLE=role-{{.Task.Slot}}",
        "--env", 'FACTS={{.Node.Platform.OS}},{{.Task.Name}},{{printf "%s!" .Service.ID}}',
        "--mount", "type=volume,source=data-{{.Task.Slot}},target=/{{.Service.Name}},volume-label=of={{.Task.ID}}",
        "--secret", "pw", "--secret", "templated-secret",
        "--config", "source=plain,target=/plain", "--config", "source=templated-config,target=/conf",
    )  # fmt: skip
    for task in lab.running("web", 2):
        host, slot = lab.host_of(task), task["Slot"]
        payload = f"web {slot} {host.name} front role-{slot} hush {{{{.Kept}}}} yes"
        script = "hostname; echo $FACTS; cat /conf; echo; cat /run/secrets/templated-secret; echo; ls -d /web"
        facts = f"linux,web.{slot}.{task['ID']},{task['ServiceID']}!"
        assert lab.execute(task, "sh", "-c", script).lines == [f"web-{slot}", facts, payload, payload, "/web"]
        (volume,) = lab.json("volume", "inspect", f"data-{slot}", on=host)
        assert volume["Labels"]["of"] == task["ID"]
    for kind in ("secret", "config"):
        (shown,) = lab.json(kind, "inspect", f"templated-{kind}")
        assert shown["Spec"]["Templating"]["Name"] == "golang"


def test_a_task_of_a_global_service_has_its_node_as_slot(lab: LabCluster) -> None:
    lab.service("everywhere", "--mode", "global", "--env", "SLOT={{.Task.Slot}}")
    for task in lab.running("everywhere", 2):
        assert lab.execute(task, "sh", "-c", "echo $SLOT").out.strip() == task["NodeID"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--env", "A={{.Task.Colour}}"), ("Env", "the field .Task.Colour is unknown; use one of .Service.ID")),
        (("--hostname", "{{.Service.Labels.none}}"), ("Hostname", 'map has no entry for key "none"')),
        (("--mount", "type=volume,target=/{{upper .Task.ID}}"), ("Mounts.Target", 'function "upper" not defined')),
        (("--env", "A={{.Node.ID"), ("Env", "unclosed action")),
        (
            ("--config", "source=plain,target=/plain", "--config", "source=templated-config,target=/c"),
            ("templated-config", 'needs the secret target "pw"'),
        ),
    ],
)
def test_a_template_that_no_task_could_fill_in_is_refused_at_create(
    lab: LabCluster, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused = lab.docker("service", "create", "--detach", "--name", "wrong", *options, labs.IMAGE, check=1)
    assert all(word in refused.err for word in words), refused.err
    assert lab.docker("service", "inspect", "wrong", check=1)


@pytest.mark.parametrize(
    ("driver", "payload", "words"),
    [
        ("golang", b"{{.Colour}}", "wrong: the field .Colour is unknown"),
        ("golang", b"{{nope}}", 'wrong: template parsing error: function "nope" not defined'),
        ("jinja", b"a", 'the template driver "jinja" is not supported; use golang'),
    ],
)
def test_data_that_no_task_could_fill_in_is_refused_at_create(
    lab: LabCluster, driver: str, payload: bytes, words: str
) -> None:
    create = ("create", "--template-driver", driver, "wrong", "-")
    for kind in ("secret", "config"):
        assert words in lab.docker(kind, *create, stdin=payload, check=1).err


def test_a_payload_that_its_node_cannot_fill_in_rejects_the_task_with_the_reason(lab: LabCluster) -> None:
    lab.docker("config", "create", "--template-driver", "golang", "late", "-", stdin=b"{{.Service.Labels.none}}")
    lab.service("late", "--restart-condition", "none", "--config", "late")
    (task,) = labs.wait(lambda: lab.tasks("late", desired="", state="rejected"), "the rejected task")
    assert 'config late: template: map has no entry for key "none"' in task["Status"]["Err"]
