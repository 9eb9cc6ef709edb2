"""Invalid requests and commands: each gets Docker's status and message and leaves the store unchanged."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

KINDS = ("services", "secrets", "configs", "tasks")


def store_content(lab: LabCluster) -> dict[str, Any]:
    """Everything that a refused request could have changed, read from another manager."""
    on = lab.managers[1]
    found = {kind: lab.get(f"/{kind}", on=on) for kind in KINDS}
    found["networks"] = [n for n in lab.get("/networks", on=on) if n["Scope"] == "swarm"]
    found["nodes"] = {name: node["Spec"] for name, node in lab.nodes(on).items()}
    found["swarm"] = lab.get("/swarm", on=on)["Spec"]
    return found


def spec(**changes: Any) -> dict[str, Any]:
    return {"Name": "fresh", "TaskTemplate": {"ContainerSpec": {"Image": IMAGE, "Args": ["sleep", "9"]}}, **changes}


def with_constraint(constraint: str) -> dict[str, Any]:
    return spec(TaskTemplate={"ContainerSpec": {"Image": IMAGE}, "Placement": {"Constraints": [constraint]}})


def with_container(**fields: Any) -> dict[str, Any]:
    return spec(TaskTemplate={"ContainerSpec": {"Image": IMAGE, **fields}})


def with_subnet(text: str) -> dict[str, Any]:
    return {"Name": "fresh", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": text}]}}


LARGE = base64.b64encode(b"x" * 512_000).decode()
BAD_REQUESTS: list[tuple[str, str, Any, int, str]] = [
    # a malformed body
    ("POST /services/create", "no JSON", b"{", 400, ""),
    ("POST /services/create", "no object", b"[1]", 400, ""),
    ("POST /services/create", "nothing", b"", 400, ""),
    ("POST /secrets/create", "no JSON", b"nonsense", 400, ""),
    ("POST /networks/create", "no JSON", b'{"Name": ', 400, ""),
    ("POST /swarm/update?version=1", "no JSON", b"}", 400, ""),
    ("POST /services/create", "a wrong type", spec(Labels="a=b"), 400, "Labels"),
    ("POST /services/create", "a number for a name", spec(Name=7), 400, "Name"),
    ("POST /services/create", "no task", {"Name": "fresh"}, 400, "give TaskTemplate.ContainerSpec"),
    ("POST /services/create", "no image", with_container(Image=""), 400, "image"),
    ("POST /secrets/create", "data that is no base64", {"Name": "fresh", "Data": "***"}, 400, ""),
    # names
    ("POST /services/create", "a name in use", spec(Name="taken"), 409, "name conflicts with an existing object"),
    ("POST /secrets/create", "a name in use", {"Name": "taken", "Data": "eA=="}, 409, "secret taken already exists"),
    (
        "POST /networks/create",
        "a name in use",
        {"Name": "taken", "Driver": "overlay"},
        409,
        "network with name taken already exists",
    ),
    (
        "POST /services/create",
        "a name that is none",
        spec(Name="no spaces"),
        400,
        "name must be valid as a DNS name component",
    ),
    ("POST /services/create", "a name of 64", spec(Name="a" * 64), 400, "63"),
    ("POST /secrets/create", "no name", {"Name": "", "Data": "eA=="}, 400, "name"),
    ("POST /networks/create", "a predefined name", {"Name": "host", "Driver": "overlay"}, 403, "predefined"),
    # constraints
    ("POST /services/create", "a constraint without operator", with_constraint("node.role=manager"), 400, "constraint"),
    ("POST /services/create", "a constraint without value", with_constraint("node.labels.a=="), 400, "constraint"),
    # subnets
    ("POST /networks/create", "a subnet that overlaps", with_subnet("10.50.7.0/24"), 403, "overlaps"),
    ("POST /networks/create", "a wider subnet", with_subnet("10.0.0.0/8"), 403, "overlaps"),
    ("POST /networks/create", "no subnet at all", with_subnet("10.51.0.0"), 400, "10.51.0.0"),
    # sizes
    ("POST /secrets/create", "a secret over 500 KB", {"Name": "fresh", "Data": LARGE}, 400, "512000"),
    ("POST /secrets/create", "an empty secret", {"Name": "fresh", "Data": ""}, 400, "larger than 0"),
    # values
    ("POST /services/create", "negative replicas", spec(Mode={"Replicated": {"Replicas": -1}}), 400, "eplicas"),
    ("POST /services/create", "two modes", spec(Mode={"Replicated": {}, "Global": {}}), 400, "mode"),
    (
        "POST /services/create",
        "a mount of no type",
        with_container(Mounts=[{"Target": "/v", "Source": "v"}]),
        400,
        "Mounts[0].Type",
    ),
    (
        "POST /services/create",
        "a missing secret",
        with_container(Secrets=[{"SecretID": "none", "SecretName": "none", "File": {"Name": "none"}}]),
        400,
        "none",
    ),
    (
        "POST /services/create",
        "a missing network",
        spec(Networks=[{"Target": "nosuch"}]),
        404,
        "network nosuch not found",
    ),
    # references
    ("GET /services/nobody", "", None, 404, "service nobody not found"),
    ("GET /tasks/nobody", "", None, 404, "task nobody not found"),
    ("GET /nodes/nobody", "", None, 404, "node nobody not found"),
    ("GET /secrets/nobody", "", None, 404, "secret nobody not found"),
    ("GET /networks/nobody", "", None, 404, "network nobody not found"),
    ("GET /containers/nobody/json", "", None, 404, "No such container: nobody"),
    ("GET /images/nobody/json", "", None, 404, "No such image: nobody"),
    ("DELETE /services/nobody", "", None, 404, "service nobody not found"),
    ("DELETE /secrets/taken", "in use", None, 400, "in use"),
    ("POST /services/nobody/update?version=1", "", spec(), 404, "service nobody not found"),
    # versions
    ("POST /services/taken/update?version=1", "a stale version", spec(Name="taken"), 500, "update out of sequence"),
    ("POST /services/taken/update", "no version", spec(Name="taken"), 400, "version"),
    ("POST /services/taken/update?version=x", "a version that is no number", spec(Name="taken"), 400, "version"),
    ("POST /swarm/update?version=999999", "a stale version", {"Name": "default"}, 500, "update out of sequence"),
    # not supported yet
    (
        "POST /services/create",
        "an ingress port with dnsrr",
        spec(EndpointSpec={"Mode": "dnsrr", "Ports": [{"TargetPort": 80}]}),
        400,
        "dnsrr mode",
    ),
    (
        "POST /services/create",
        "a job with an update config",
        spec(Mode={"ReplicatedJob": {}}, UpdateConfig={"Parallelism": 1}),
        400,
        "Jobs may not have an update config",
    ),
    ("POST /services/create", "a field that is not supported", spec(PluginSpec={"Name": "p"}), 501, "PluginSpec"),
    (
        "POST /networks/create",
        "an option of the routing mesh that is neither true nor false",
        {"Name": "fresh", "Driver": "overlay", "Ingress": True, "Options": {"covey.mesh.snat": "1"}},
        400,
        "covey.mesh.snat must be true or false",
    ),
    ("POST /build", "", None, 400, "invalid tar header"),
    ("GET /nothing/at/all", "", None, 404, "page not found"),
    ("PUT /services/create", "a method that is none", None, 404, "page not found"),
    ("GET /services?filters=nonsense", "filters that are none", None, 400, "filter"),
    ("GET /services?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D", "a filter that nobody knows", None, 400, "colour"),
]


@pytest.fixture(scope="module")
def populated_lab(shared_lab: LabCluster) -> Iterator[LabCluster]:
    """The lab with one object of each kind, all named ``taken``."""
    lab = shared_lab
    lab.docker("network", "create", "-d", "overlay", "--subnet", "10.50.0.0/16", "taken")
    lab.docker("secret", "create", "taken", "-", stdin=b"x")
    lab.service("taken", "--secret", "taken")
    lab.running("taken", 1)
    yield lab
    lab.remove_all_objects()


@pytest.mark.parametrize(
    ("request_line", "what", "body", "status", "sentence"),
    BAD_REQUESTS,
    ids=[f"{row[0]} {row[1]}".strip() for row in BAD_REQUESTS],
)
def test_a_bad_request_is_refused_and_changes_nothing(
    populated_lab: LabCluster, request_line: str, what: str, body: Any, status: int, sentence: str
) -> None:
    before = store_content(populated_lab)
    method, _, url = request_line.partition(" ")
    raw = body if isinstance(body, bytes) else None
    # Through a follower: the answer must be the same as the leader's.
    answered, said = populated_lab.request(
        method, url, None if raw is not None else body, raw=raw, on=populated_lab.managers[2]
    )
    assert answered == status, (what, said)
    assert isinstance(said, dict), said
    assert sentence in said["message"], said
    assert len(said["message"]) > 5, said
    assert store_content(populated_lab) == before


BAD_COMMANDS = [
    (("service", "create", "--name", "taken", IMAGE), "name conflicts with an existing object"),
    (("service", "create", "--wings", "2", IMAGE), "unknown flag: --wings"),
    (("service", "create", "-d", "--constraint", "node.role", IMAGE), "constraint"),
    (("service", "create", "-d", "--publish", "80:80", "--endpoint-mode", "dnsrr", IMAGE), "dnsrr mode"),
    (("service", "create", "-d", "--network", "ingress", IMAGE), "cannot be explicitly attached to the ingress network"),
    (("service", "create", "-d", "--network", "none-such", IMAGE), "network none-such not found"),
    (("service", "update", "-d", "--replicas", "2", "nobody"), "service nobody not found"),
    (("service", "inspect", "nobody"), "no such service: nobody"),
    (("service", "rm", "nobody"), "service nobody not found"),
    (("secret", "rm", "taken"), "in use"),
    (("network", "create", "-d", "overlay", "--subnet", "10.50.9.0/24", "over"), "overlaps"),
    (("network", "create", "-d", "overlay", "--opt", "covey.mesh.snat=true", "plain"), "create it with --ingress"),
    (("node", "update", "--availability", "away", "nobody"), "nobody"),
    (("node", "rm", "nobody"), "node nobody not found"),
    (("swarm", "init"), "already part of a swarm"),
    (("swarm", "join", "--token", "x", "192.168.77.1:2377"), "already part of a swarm"),
    (("run", IMAGE), "no command specified"),
    (("pull", "nowhere.invalid/image"), ""),
    (("plugin", "install", "x"), "plugins"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "sentence"), BAD_COMMANDS, ids=[" ".join(row[0]) for row in BAD_COMMANDS])
def test_a_bad_command_fails_with_a_reason_and_changes_nothing(
    populated_lab: LabCluster, command: tuple[str, ...], sentence: str
) -> None:
    before = store_content(populated_lab)
    refused = populated_lab.docker(*command, check=None)
    assert refused.code not in (0, None)
    assert sentence in refused.err, refused.err
    assert "Traceback" not in refused.err
    assert store_content(populated_lab) == before


def test_of_two_updates_of_the_same_version_one_wins(lab: LabCluster) -> None:
    lab.service("web")
    shown = lab.get("/services/web")
    url = f"/services/{shown['ID']}/update?version={shown['Version']['Index']}"
    first = dict(shown["Spec"], Labels={"writer": "first"})
    second = dict(shown["Spec"], Labels={"writer": "second"})
    assert lab.request("POST", url, first, on=lab.managers[1])[0] == 200
    status, said = lab.request("POST", url, second, on=lab.managers[2])
    assert (status, "out of sequence" in said["message"]) == (500, True), said
    assert lab.get("/services/web")["Spec"]["Labels"] == {"writer": "first"}


def test_a_malformed_and_a_too_long_body_are_refused_and_the_daemon_keeps_working(lab: LabCluster) -> None:
    status, said = lab.request("POST", "/services/create", raw=b"[" * 200_000)
    assert status == 400, said
    status, said = lab.request("POST", "/secrets/create", raw=b'{"Name": "' + b"x" * (20 << 20) + b'"}')
    assert status in (400, 413), said
    assert lab.get("/_ping") == "OK"
    assert lab.get("/secrets") == []
