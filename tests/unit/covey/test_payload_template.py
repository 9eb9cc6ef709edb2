"""Data of secrets and configs as templates: what a task gets, and what is refused when it is stored or used."""

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import (
    Annotations,
    ConfigReference,
    ContainerSpec,
    Driver,
    FileTarget,
    SecretReference,
    Task,
    TaskSpec,
)
from covey.payload_template import check_payload, check_references, expand_payload
from covey.placeholders import NodeFacts

GOLANG = Driver(name="golang")
NODE = NodeFacts("n" * 25, "east", architecture="amd64", labels={"zone": "a"})
SPEC = ContainerSpec(
    image="i",
    env=("DB=db-{{.Task.Slot}}", "PLAIN=x=y", "NAKED"),
    secrets=(SecretReference(secret_id="s", secret_name="pw-2", file=FileTarget(name="pw")),),
    configs=(ConfigReference(config_id="c", config_name="c", file=FileTarget(name="/etc/c")),),
)
TASK = Task(
    id="t" * 25,
    slot=3,
    service_id="s" * 25,
    node_id=NODE.id,
    spec=TaskSpec(container=SPEC),
    service_annotations=Annotations(name="web", labels={"com.example.tier": "front"}),
)


def expanded(data: bytes, max_bytes: int = 1000, task: Task = TASK) -> bytes:
    payloads = {"pw": b"hush\xff{{.Task.ID}}"}, {"/etc/c": b"conf"}
    return expand_payload("config app", data, task, NODE, secrets=payloads[0], configs=payloads[1], max_bytes=max_bytes)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"{{.Service.Name}}.{{.Task.Slot}} on {{.Node.Hostname}}", b"web.3 on east"),
        (b'{{index .Service.Labels "com.example.tier"}}/{{index .Service.Labels "none"}}', b"front/"),
        (b'{{env "DB"}} {{env "PLAIN"}} {{env "NAKED"}}{{env "NONE"}}', b"db-3 x=y "),
        (b'pw={{secret "pw"}} c={{config "/etc/c"}}\xfe', b"pw=hush\xff{{.Task.ID}} c=conf\xfe"),
        (b'{{join "," .Task.Slot "b"}} {{printf "%q" .Node.Platform.OS}}', b'3,b "linux"'),
        (b'{{if eq .Service.Name "web"}}yes{{else}}no{{end}}', b"yes"),
        (b"a: {{`{{ kept }}`}}", b"a: {{ kept }}"),
    ],
)
def test_a_task_gets_the_data_with_its_template_filled_in(data: bytes, wanted: bytes) -> None:
    assert expanded(data) == wanted


def test_a_task_without_a_slot_has_its_node_in_its_place() -> None:
    assert expanded(b"{{.Task.Slot}}", task=Task(id="t" * 25, node_id=NODE.id)) == NODE.id.encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{{.Service.Labels.none}}", 'config app: .*no entry for key "none"'),
        (b'{{secret (print "o" "ther")}}', "no secret target other"),
        (b'{{printf "%900d" 1}}{{printf "%900d" 1}}', "larger than 1000"),
    ],
)
def test_what_only_the_node_can_see_is_refused_there_with_the_name_of_the_object(data: bytes, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        expanded(data)


@pytest.mark.parametrize(
    ("driver", "data", "words"),
    [
        (Driver(name="jinja"), b"a", 'template driver "jinja" is not supported; use golang'),
        (GOLANG, b"{{.Task.Colour}}", r"config app: the field \.Task\.Colour is unknown; use one of \.Service\.ID"),
        (GOLANG, b"{{if false}}{{.Colour}}{{end}}", r"\.Colour is unknown"),
        (GOLANG, b"{{upper .Task.ID}}", 'function "upper" not defined'),
        (GOLANG, b"{{.Task.ID", "unclosed action"),
    ],
)
def test_data_that_no_task_could_fill_in_is_refused_by_name(driver: Driver, data: bytes, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        check_payload("config app", driver, data)


def test_data_without_a_driver_is_no_template() -> None:
    check_payload("config app", None, b"{{.Task.Colour}} {{")
    check_payload("config app", GOLANG, b"{{secret `a`}} {{env `B`}} {{.Node.Hostname}}")


def test_a_service_must_have_what_its_templates_need() -> None:
    check_references("config app", GOLANG, b'{{secret "pw"}}{{config "/etc/c"}}{{env "none"}}', SPEC)
    with pytest.raises(InvalidArgumentError, match='config app needs the secret target "pw-2"'):
        check_references("config app", GOLANG, b'{{if false}}{{secret "pw-2" | html}}{{end}}', SPEC)
