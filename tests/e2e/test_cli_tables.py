"""Output of ``covey`` compared with the real ``docker``: tables, JSON, templates, IDs, filters and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import labs

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"
TEMPLATES = {
    "node ls": "{{.ID}} {{.Self}} {{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}} {{.TLSStatus}} {{.EngineVersion}}",
    "service ls": "{{.ID}} {{.Name}} {{.Mode}} {{.Replicas}} {{.Image}} {{.Ports}}",
    "service ps web": "{{.ID}} {{.Name}} {{.Image}} {{.Node}} {{.DesiredState}} {{.Error}} {{.Ports}}",
    "service ps --no-trunc web spread": "{{.ID}} {{.Name}} {{.Image}}",
    "service ps --no-resolve web": "{{.ID}} {{.Name}} {{.Node}}",
    "node ps": "{{.ID}} {{.Name}} {{.Node}}",
    "stack ls": "{{.Name}} {{.Services}}",
    "stack services shop": "{{.ID}} {{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}",
    "stack ps shop": "{{.ID}} {{.Name}} {{.Image}} {{.Node}} {{.DesiredState}}",
    "secret ls": "{{.ID}} {{.Name}} {{.Driver}} {{.CreatedAt}} {{.UpdatedAt}}",
    "config ls": "{{.ID}} {{.Name}} {{.CreatedAt}} {{.UpdatedAt}}",
    "network ls": "{{.ID}} {{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}} {{.CreatedAt}}",
    "network ls --no-trunc": "{{.ID}}",
    "volume ls": "{{.Name}} {{.Driver}} {{.Scope}} {{.Mountpoint}} {{.Size}} {{.Links}}",
    "images": "{{.ID}} {{.Repository}} {{.Tag}} {{.CreatedSince}} {{.CreatedAt}} {{.Size}} {{.Digest}}",
    "image ls --digests --no-trunc": "{{.ID}} {{.Repository}}",
    "ps": "{{.ID}} {{.Image}} {{.Command}} {{.CreatedAt}} {{.Ports}} {{.Names}} {{.State}} {{.LocalVolumes}} {{.Networks}} {{.Mounts}}",
    "ps -a --no-trunc": "{{.ID}} {{.Command}} {{.Names}}",
    "container ls": "{{.ID}}",
}


@pytest.fixture(scope="module")
def populated_lab(shared_lab: labs.LabCluster) -> Iterator[labs.LabCluster]:
    """A cluster with objects of every kind."""
    lab = shared_lab
    lab.docker("secret", "create", "-l", "b=2", "-l", "a=1", "token", "-", stdin=b"sesame")
    lab.docker("config", "create", "page", "-", stdin=b"hello")
    lab.docker("network", "create", "-d", "overlay", "--label", "x=y", "web10")
    lab.docker("network", "create", "-d", "overlay", "--internal", "web2")
    lab.docker("volume", "create", "--label", "of=tests", "data10")
    lab.docker("volume", "create", "data2")
    lab.service("web", "--replicas", "3", "--network", "web2", "--constraint", "node.role==manager")
    lab.service("spread", "--mode", "global", "--mount", "type=volume,source=data2,target=/data")
    lab.service("web10", "--replicas", "0", "--replicas-max-per-node", "2")
    lab.service("broken", "--restart-condition", "none", image="nowhere/such-an-image:1")
    shop = b"services: {a: {image: 'covey-test:1', command: sleep 1000000, stop_signal: SIGKILL}}"
    lab.docker("stack", "deploy", "-c", "-", "shop", stdin=shop)
    lab.running("web", 3)
    lab.running("spread", 5)
    lab.running("shop_a", 1)
    labs.wait(lambda: lab.tasks("broken", desired="", state="rejected"), "the rejection of a task without an image")
    try:
        yield lab
    finally:
        lab.docker("stack", "rm", "--detach=true", "shop")
        lab.remove_all_objects()
        for host in lab.hosts:
            volumes = lab.docker("volume", "ls", "-q", on=host).lines
            labs.wait(
                lambda h=host, v=volumes: not v or lab.docker("volume", "rm", "-f", *v, on=h, check=None).code == 0,
                "volumes",
            )  # type: ignore[misc]


def assert_same_output(lab: labs.LabCluster, *arguments: str) -> labs.CommandResult:
    """Run both clients until their output is the same; ages in it may change between the two runs."""
    answers: list[labs.CommandResult] = []

    def agree() -> bool:
        covey = labs.run([COVEY, *arguments], env=lab.environment(), check=None)
        answers[:] = [covey, lab.docker(*arguments, check=None)]
        return (covey.code, covey.out) == (answers[1].code, answers[1].out)

    try:
        labs.wait(agree, "the same output")
    except AssertionError:
        assert answers[0].out == answers[1].out
        assert (answers[0].code, answers[0].err) == (answers[1].code, answers[1].err)
    return answers[0]


@pytest.mark.parametrize("command", TEMPLATES)
def test_tables_are_the_same(populated_lab: labs.LabCluster, command: str) -> None:
    assert len(assert_same_output(populated_lab, *command.split()).lines) > 1


@pytest.mark.parametrize("command", TEMPLATES)
def test_ids_are_the_same(populated_lab: labs.LabCluster, command: str) -> None:
    if command != "stack ls":
        assert assert_same_output(populated_lab, *command.split(), "-q").out


@pytest.mark.parametrize("command", TEMPLATES)
def test_templates_are_the_same(populated_lab: labs.LabCluster, command: str) -> None:
    assert_same_output(populated_lab, *command.split(), "--format", TEMPLATES[command])
    assert_same_output(populated_lab, *command.split(), "--format", "table " + TEMPLATES[command].replace(" ", r"\t"))


@pytest.mark.parametrize("command", TEMPLATES)
def test_json_has_the_same_keys_and_labels(populated_lab: labs.LabCluster, command: str) -> None:
    arguments = [*command.split(), "--format", "json"]
    covey = [json.loads(line) for line in labs.run([COVEY, *arguments], env=populated_lab.environment()).lines]
    docker = [json.loads(line) for line in populated_lab.docker(*arguments).lines]
    assert [set(row) for row in covey] == [set(row) for row in docker]
    # docker writes labels in random order.
    assert [labels_of(row) for row in covey] == [labels_of(row) for row in docker]


def labels_of(row: dict[str, str]) -> set[str]:
    return set(row.get("Labels", "").split(","))


@pytest.mark.parametrize(
    "command",
    [
        "service ls --filter name=web",
        "service ls -f mode=global",
        "service ps web --filter desired-state=running",
        "service ps spread --filter node={worker}",
        "node ls --filter role=manager",
        "network ls --filter driver=overlay",
        "secret ls --filter label=a=1",
        "volume ls --filter name=data2",
        "stack services shop --filter name=shop_a",
    ],
)
def test_filters_are_the_same(populated_lab: labs.LabCluster, command: str) -> None:
    assert (
        len(assert_same_output(populated_lab, *command.format(worker=populated_lab.workers[0].name).split()).lines) > 1
    )


@pytest.mark.parametrize(
    "command",
    [
        "node inspect self",
        "service inspect web",
        "secret inspect token",
        "config inspect page",
        "network inspect web2",
        "volume inspect data2",
        "image inspect covey-test:1",
        "service inspect web --format {{.Spec.Name}}",
        "service inspect web --format {{json.Spec.Mode}}",
        "node inspect self --format {{.Spec.Role}}",
        "inspect token",
        "swarm join-token -q worker",
        "info --format {{.Swarm.LocalNodeState}}",
        "version --format {{.Server.Version}}",
    ],
)
def test_inspect_output_is_the_same(populated_lab: labs.LabCluster, command: str) -> None:
    arguments = [part.replace("json.", "json .") for part in command.split()]
    covey = labs.run([COVEY, *arguments], env=populated_lab.environment()).out
    docker = populated_lab.docker(*arguments).out
    if "--format" in command or "-q" in command:
        assert covey == docker
    else:
        named = [{key for key, value in item.items() if value} for item in json.loads(docker)]
        assert [{key for key, value in item.items() if value} for item in json.loads(covey)] == named


@pytest.mark.parametrize(
    "command",
    [
        "service inspect nothing",
        "node rm nothing",
        "secret rm nothing",
        "network rm nothing",
        "image rm nothing",
        "container rm nothing",
        "node ls --filter nothing=1",
        "secret rm token2",
        "node demote {last}",
        "node update --availability nothing {last}",
    ],
)
def test_errors_have_the_same_exit_code_and_one_line(populated_lab: labs.LabCluster, command: str) -> None:
    arguments = command.format(last=populated_lab.hosts[-1].name).split()
    covey = labs.run([COVEY, *arguments], env=populated_lab.environment(), check=None)
    docker = populated_lab.docker(*arguments, check=None)
    if "nothing {last}" in command:
        assert covey.code == 125, "an invalid choice must be a usage error"
        return
    assert covey.code == docker.code
    assert len(covey.err.splitlines()) <= 1
    if docker.code and arguments[1] != "inspect":  # docker words these errors itself
        assert covey.err.strip().removeprefix("Error response from daemon: ").lower() in docker.err.lower(), docker.err
