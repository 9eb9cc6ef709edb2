"""Objects of stack files compared with ``docker stack deploy``: both clients send the same networks and services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from covey.service_dependencies import DEPENDS_ON_LABEL
from tests.support.recording_engine import RecordingEngine, recording
from tests.unit.compose.test_stack_config_oracle import BODIES, DIRECTORY, by_docker, service

EXTERNAL = {"ID": "id-of-x", "Version": {"Index": 1}, "Spec": {"Name": "x", "Labels": {}}}
NETWORKS = [{"Name": name, "Id": f"id-of-{name}", "Scope": "swarm"} for name in ("m", "old")]
TOP = """networks: {n: , q: {driver: overlay, attachable: true, driver_opts: {a: 1}}, m: {external: true}}
volumes: {aa: {driver: d, labels: {l: 1}}, v: , a: , z: {external: true}}
secrets: {a: {external: true, name: x}, nope: {external: true, name: x}}
configs: {a: {external: true, name: x}}
"""
# What docker drops in silence and Covey honours.
BETTER = ("tmpfs:", "oom_score_adj:", "volumes: [{type: volume, target: /b, volume: {nocopy")
# What docker refuses when the service is made.
REFUSED = (
    "secrets: [a, a]",
    "volumes: [{type: foo, target: /x}]",
    "credential_spec: {file: a, registry: b}",
    "credential_spec: {config: a, file: b}",
    'deploy: {resources: {limits: {cpus: "abc", pids: -5}}}',
    "restart: foo",
    "configs: [{x-a: 1}]",
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingEngine]:
    with recording(tmp_path_factory.mktemp("engine")) as made:
        made.answers.update(
            {
                "/info": {"Swarm": {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "n"}},
                "/services": [],
                "/networks": NETWORKS,
                **{f"/networks/{item['Name']}": item for item in NETWORKS},
                **{f"/{kind}": [EXTERNAL] for kind in ("secrets", "configs")},
                **{f"/{kind}/x": EXTERNAL for kind in ("secrets", "configs")},
            }
        )
        yield made


def sent(engine: RecordingEngine, program: str, file: Path) -> dict[str, Any]:
    """What a client creates, by path and name, without empty values."""
    arguments = ["stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", str(file), "t"]
    requests = engine.run(program, arguments)
    created = [request for request in requests if request.method == "POST" and request.path.endswith("/create")]
    return {f"{request.path} {request.body['Name']}": filled(request.body) for request in created}


def filled(value: Any) -> Any:
    if isinstance(value, dict):
        items = {
            key: filled(item) for key, item in value.items() if key not in ("Scope", "Privileges", DEPENDS_ON_LABEL)
        }
        return {key: item for key, item in items.items() if item not in (None, "", [], {}, False, 0)}
    if isinstance(value, list):
        return [filled(item) for item in value]
    return "x" if value == "x:latest" else value


def test_services_are_sent_as_by_docker(engine: RecordingEngine, tmp_path: Path) -> None:
    (tmp_path / "one.env").write_text((DIRECTORY / "one.env").read_text())
    text = 'version: "3.13"\nservices:\n'
    for number, body in enumerate(BODIES):
        skipped = "$" in body or body.startswith(BETTER) or body in REFUSED
        if not skipped and not by_docker([service(body) + TOP], tmp_path).startswith("("):
            text += f"  s{number}:\n    image: x\n    {body}\n"
    file = tmp_path / "stack.yml"
    file.write_text(text + TOP)
    docker, covey = sent(engine, "docker", file), sent(engine, str(engine.covey_program), file)
    assert len(docker) > 100
    assert covey.keys() == docker.keys()
    for name, body in docker.items():
        assert covey[name] == body, name


@pytest.mark.parametrize("body", REFUSED)
def test_what_docker_refuses_at_deployment_is_refused(engine: RecordingEngine, tmp_path: Path, body: str) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(service(body) + TOP)
    for program in ("docker", str(engine.covey_program)):
        code, error, _ = engine.outcome(program, ["stack", "deploy", "--detach=true", "-c", str(file), "t"])
        assert code != 0, program
        assert "service a: " in error, error


def test_keys_without_a_meaning_are_named_once_as_by_docker(engine: RecordingEngine, tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(service("privileged: true\n    expose: [80]\n    links: [b]\n    container_name: c"))
    arguments = ["stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", str(file), "t"]
    errors = [engine.outcome(program, arguments)[1].strip() for program in ("docker", str(engine.covey_program))]
    assert errors[0] == errors[1]
    assert errors[0].startswith("Ignoring unsupported options: links, privileged")
