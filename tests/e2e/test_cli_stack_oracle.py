"""``covey stack`` compared with the real ``docker stack``: the same file gives the same objects."""

from __future__ import annotations

import difflib
import json
import re
import resource
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs

pytestmark = pytest.mark.root

MANIFESTS = Path(__file__).parent / "manifests"
COVEY = labs.PYTHON_BIN / "covey"
VERSION = re.compile(r"(?<=[a-z])_[0-9a-f]{8}(?=\")")
"""The end of a secret's or config's name that follows from its content; docker's names have none."""
ENVIRONMENT = {"PASSED_ON": "from the shell"}


def covey(
    lab: labs.LabCluster, *arguments: str, check: int | None = 0, env: dict[str, str] = ENVIRONMENT
) -> labs.CommandResult:
    return labs.run([COVEY, *arguments], check=check, env={**lab.environment(), **env}, cwd=MANIFESTS)


def deploy(lab: labs.LabCluster, client: str, stack: str, *files: str, env: dict[str, str] = ENVIRONMENT) -> None:
    options = [part for file in files for part in ("-c", str(MANIFESTS / file))]
    if client == "docker":
        command = ["docker", "stack", "deploy", "--detach=true", "--resolve-image", "never", *options, stack]
        labs.run(command, env={**lab.environment(), **env})
    else:
        covey(lab, "stack", "deploy", "--detach", *options, stack, env=env)


def stack_objects(lab: labs.LabCluster, stack: str) -> dict[str, Any]:
    """All objects of a stack, without the IDs and the stack's name."""
    label = [f"com.docker.stack.namespace={stack}"]
    names = {network["Id"]: network["Name"] for network in lab.get("/networks")}
    services = {item["Spec"]["Name"]: item["Spec"] for item in lab.get("/services", label=label)}
    for spec in services.values():
        for kind in ("Secret", "Config"):
            for reference in spec["TaskTemplate"]["ContainerSpec"].get(f"{kind}s", []):
                del reference[f"{kind}ID"]
        for network in spec["TaskTemplate"].get("Networks", []):
            network["Target"] = names[network["Target"]]
        spec["TaskTemplate"].get("Networks", []).sort(key=lambda network: network["Target"])
    networks = {
        item["Name"]: {key: item[key] for key in ("Driver", "Internal", "Attachable", "Labels")}
        | {"Subnet": [pool["Subnet"] for pool in item["IPAM"]["Config"] or []] if "77" in str(item["IPAM"]) else []}
        for item in lab.get("/networks", label=label)
    }
    secrets = {item["Spec"]["Name"]: item["Spec"].get("Labels") for item in lab.get("/secrets", label=label)}
    configs = {
        item["Spec"]["Name"]: (item["Spec"].get("Labels"), item["Spec"]["Data"])
        for item in lab.get("/configs", label=label)
    }
    whole = {"services": services, "networks": networks, "secrets": secrets, "configs": configs}
    for labels in (*secrets.values(), *(labels for labels, _ in configs.values())):
        labels.pop("covey.stack.key", None)
    return json.loads(VERSION.sub("", json.dumps(whole)).replace(stack, "STACK"))


@pytest.mark.parametrize(
    "files", [("plain.yaml",), ("rich.yaml",), ("every.yaml",), ("ports.yaml",), ("plain.yaml", "over.yaml")]
)
def test_both_clients_deploy_the_same_objects(lab: labs.LabCluster, files: tuple[str, ...]) -> None:
    if "every.yaml" in files:
        lab.docker("network", "create", "-d", "overlay", "shared-outside")
    results = {}
    for client in ("docker", "covey"):
        stack = f"by{client}"
        deploy(lab, client, stack, *files, env={**ENVIRONMENT, "OCTET": "77"})
        results[client] = stack_objects(lab, stack)
        covey(lab, "stack", "rm", stack)
    assert results["docker"]["services"], "the stack has no services"
    by_docker, by_covey = (json.dumps(results[client], indent=1, sort_keys=True).splitlines() for client in results)
    difference = "\n".join(difflib.unified_diff(by_docker, by_covey, "docker", "covey", n=4, lineterm=""))
    assert not difference, difference


def test_deploying_again_changes_only_what_the_manifest_changed(lab: labs.LabCluster, tmp_path: Path) -> None:
    covey(lab, "stack", "deploy", "--detach", "-c", "rich.yaml", "again")
    before = {item["Spec"]["Name"]: item["Version"]["Index"] for item in lab.get("/services")}
    said = covey(lab, "stack", "deploy", "--detach", "-c", "rich.yaml", "again").out
    assert "Updating" not in said
    assert "Creating" not in said
    after = {item["Spec"]["Name"]: item["Version"]["Index"] for item in lab.get("/services")}
    assert {name: lab.get(f"/services/{name}")["Spec"] for name in after} == {
        name: lab.get(f"/services/{name}")["Spec"] for name in before
    }
    said = covey(lab, "stack", "deploy", "--detach", "-c", "rich.yaml", "again", env={"ALPHA_VALUE": "other"}).out
    assert "Updating service again_rich" in said
    assert "ALPHA=other" in lab.get("/services/again_rich")["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]


@pytest.mark.parametrize(("first", "second"), [("docker", "covey"), ("covey", "docker")])
def test_each_client_can_update_and_remove_a_stack_of_the_other(lab: labs.LabCluster, first: str, second: str) -> None:
    deploy(lab, first, "mixed", "plain.yaml")
    ids = {item["ID"] for item in lab.get("/services")}
    deploy(lab, second, "mixed", "plain.yaml")
    assert {item["ID"] for item in lab.get("/services")} == ids
    for command in ("ls", "services", "ps"):
        arguments = ["stack", command, *([] if command == "ls" else ["mixed"]), "--format", "{{.Name}}"]

        def both_agree(arguments: list[str] = arguments) -> bool:
            by_docker = sorted(lab.docker(*arguments).lines)
            return bool(by_docker) and sorted(covey(lab, *arguments).lines) == by_docker

        labs.wait(both_agree, f"both clients to list the same by stack {command}")  # tasks may be replaced meanwhile
    lab.running("mixed_web", 2)
    if second == "docker":
        lab.docker("stack", "rm", "--detach=false", "mixed")
    else:
        covey(lab, "stack", "rm", "mixed")
        assert not lab.get("/networks", label=["com.docker.stack.namespace=mixed"])
    assert not lab.get("/services")


def test_a_service_removed_from_the_manifest_is_deleted_with_prune(lab: labs.LabCluster) -> None:
    covey(lab, "stack", "deploy", "--detach", "-c", "plain.yaml", "pruned")
    both = "services: {web: {image: 'covey-test:1', command: sleep 1000000, stop_signal: SIGKILL}}"
    for options, left in (([], 2), (["--prune"], 1)):
        command = [COVEY, "stack", "deploy", "--detach", *options, "-c", "-", "pruned"]
        labs.run(command, env=lab.environment(), stdin=both.encode())
        assert len(lab.get("/services")) == left


def test_changed_content_of_a_named_secret_or_config_is_refused_with_a_remedy(
    lab: labs.LabCluster, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.yaml"
    manifest.write_text(
        "services: {web: {image: 'covey-test:1', command: sleep 1000000, stop_signal: SIGKILL, secrets: [s], configs: [c]}}\n"
        "secrets: {s: {file: s, name: kept-s}}\nconfigs: {c: {file: c, name: kept-c}}\n"
    )
    (tmp_path / "s").write_text("one")
    (tmp_path / "c").write_text("one")
    covey(lab, "stack", "deploy", "--detach", "-c", str(manifest), "kept")
    for name in ("s", "c"):
        (tmp_path / name).write_text("two")
        said = covey(lab, "stack", "deploy", "--detach", "-c", str(manifest), "kept", check=1).err
        assert "give the new one another name" in said, said
        assert len(said.splitlines()) == 1
        (tmp_path / name).write_text("one")


VERSIONED = f"""services:
  web: {{image: '{labs.IMAGE}', command: sleep 1000000, stop_signal: SIGKILL, secrets: [s], configs: [{{source: c, target: /c}}]}}
  other: {{image: '{labs.IMAGE}', command: sleep 1000000, stop_signal: SIGKILL}}
secrets: {{s: {{file: s}}}}
configs: {{c: {{file: c}}}}
"""


@pytest.mark.parametrize("first", ["docker", "covey"])
def test_a_changed_file_rolls_the_services_that_use_it(lab: labs.LabCluster, tmp_path: Path, first: str) -> None:
    """A stack of docker keeps its names as long as nothing changed. Old versions go once no rollback needs them."""
    manifest = tmp_path / "m.yaml"
    manifest.write_text(VERSIONED)
    for name in ("s", "c"):
        (tmp_path / name).write_text("one")
    deploy(lab, first, "rolled", str(manifest))
    before = {name: lab.running(f"rolled_{name}", 1)[0]["ID"] for name in ("web", "other")}
    again = ("stack", "deploy", "-c", str(manifest), "rolled")
    assert "Updating" not in covey(lab, *again).out
    assert covey(lab, "stack", "diff", "-c", str(manifest), "rolled").out == ""
    for content in ("two", "three"):
        (tmp_path / "s").write_text(content)
        said = covey(lab, *again[:2], "--dry-run", *again[2:])
        if first == "covey" or content == "three":
            assert "+ secret rolled_s_" in said.out
            assert "~ service rolled_web: restarts its tasks: Secrets changed" in said.out
        else:
            assert "rolled_s" in said.err, "the content of docker's secret cannot be read before the deployment"
        said = covey(lab, *again)
        assert "Updating service rolled_web" in said.out
        assert "Updating service rolled_other" not in said.out
        task = lab.running("rolled_web", 1)[0]
        assert task["ID"] != before["web"]
        assert lab.execute(task, "cat", "/run/secrets/s", "/c").out == f"{content}one"
        assert lab.running("rolled_other", 1)[0]["ID"] == before["other"]
        assert len(lab.get("/secrets")) == 2, "the present version and that of a rollback"
    covey(lab, "stack", "rm", "rolled")
    assert (lab.get("/secrets"), lab.get("/configs")) == ([], [])


def test_diff_and_dry_run_show_fields_and_restarts_and_change_nothing(lab: labs.LabCluster, tmp_path: Path) -> None:
    manifest = tmp_path / "m.yaml"
    text = f"""services:
  web: {{image: '{labs.IMAGE}', command: sleep 1000000, stop_signal: SIGKILL, environment: {{A: one}}}}
  size: {{image: '{labs.IMAGE}', command: sleep 1000000, stop_signal: SIGKILL, deploy: {{replicas: 1}}}}
"""
    manifest.write_text(text)
    options = ("-c", str(manifest), "shown")
    assert "+ service shown_web: 1 task\n" in covey(lab, "stack", "deploy", "--dry-run", *options).out
    assert lab.get("/services") == []
    covey(lab, "stack", "deploy", *options)
    assert covey(lab, "stack", "diff", *options).out == ""
    assert covey(lab, "stack", "deploy", "--dry-run", *options).lines == ["Nothing would change."]
    manifest.write_text(text.replace("A: one", "A: two").replace("replicas: 1", "replicas: 2"))
    versions = {item["ID"]: item["Version"]["Index"] for item in lab.get("/services")}
    shown = [
        "~ service shown_size: restarts no task",
        "    Mode.Replicated.Replicas: 1 -> 2",
        "~ service shown_web: restarts its tasks: Env changed",
        '    TaskTemplate.ContainerSpec.Env.A: "A=one" -> "A=two"',
    ]
    assert covey(lab, "stack", "diff", *options, check=1).lines == shown
    assert covey(lab, "stack", "deploy", "--dry-run", *options).lines == shown
    lab.docker("service", "create", "-d", "--name", "extra", "--label", "com.docker.stack.namespace=shown", labs.IMAGE)
    assert covey(lab, "stack", "diff", *options, check=1).lines[-1].startswith("! service extra is not in the files")
    assert covey(lab, "stack", "diff", "--prune", *options, check=1).lines[-1] == "- service extra"
    assert {item["ID"]: item["Version"]["Index"] for item in lab.get("/services") if item["ID"] in versions} == versions


def test_a_second_deployment_of_30_services_takes_half_a_second_and_restarts_nothing(
    lab: labs.LabCluster, tmp_path: Path
) -> None:
    """The time of the processor: the machine of the tests has other work."""
    service = f"{{image: '{labs.IMAGE}', command: sleep 1000000, stop_signal: SIGKILL, deploy: {{replicas: %d}}}}\n"
    manifest = tmp_path / "m.yaml"
    manifest.write_text("services:\n" + "".join(f"  s{n}: {service % (n == 0)}" for n in range(30)))
    arguments = ("stack", "deploy", "-c", str(manifest), "quick")
    covey(lab, *arguments)
    (task,) = lab.tasks("quick_s0")
    versions = {item["ID"]: item["Version"] for item in lab.get("/services")}
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = covey(lab, *arguments).out
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert said.count(" is unchanged") == 30
    assert {item["ID"]: item["Version"] for item in lab.get("/services")} == versions
    assert [item["ID"] for item in lab.tasks("quick_s0")] == [task["ID"]]
    assert end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime <= 0.5
    covey(lab, "stack", "rm", "quick")


def test_stack_rm_waits_for_tasks_unless_detached(lab: labs.LabCluster, tmp_path: Path) -> None:
    """The program ignores TERM for the three seconds that it gets, and is on no network that waits for it."""
    manifest = tmp_path / "m.yaml"
    manifest.write_text(f"""services:
  slow: {{image: '{labs.IMAGE}', command: sleep 1000000, stop_grace_period: 3s, networks: [outside]}}
networks: {{outside: {{external: true, name: host}}}}
""")
    label = ["com.docker.stack.namespace=slow"]
    for options, left in ((("--detach",), 1), ((), 0)):
        labs.wait(lambda: not lab.get("/tasks", label=label), "the end of the earlier tasks")
        covey(lab, "stack", "deploy", "-c", str(manifest), "slow")
        assert covey(lab, "stack", "rm", *options, "slow").out == "Removing service slow_slow\n"
        assert len(lab.get("/tasks", label=label)) == left


def test_a_deployment_that_fails_in_the_middle_says_what_was_done(lab: labs.LabCluster, tmp_path: Path) -> None:
    manifest = tmp_path / "m.yaml"
    text = f"""services:
  a: {{image: '{labs.IMAGE}', command: sleep 1000000, stop_signal: SIGKILL}}
  b: {{image: '{labs.IMAGE}', command: sleep 1000000, stop_signal: SIGKILL, ports: ['7777:80']}}
"""
    manifest.write_text(text)
    lab.docker("service", "create", "-d", "--name", "taken", "-p", "7777:80", labs.IMAGE, "sleep", "1000000")
    said = covey(lab, "stack", "deploy", "-c", str(manifest), "part", check=1).err
    assert "stopped at service part_b. Done before: network part_default, service part_a." in said
    lab.docker("service", "rm", "taken")
    said = covey(lab, "stack", "deploy", "-c", str(manifest), "part").out
    assert "Service part_a is unchanged" in said
    assert "Creating service part_b" in said


def test_stack_deploy_returns_when_all_tasks_run(lab: labs.LabCluster) -> None:
    said = covey(lab, "stack", "deploy", "-c", "plain.yaml", "waited").out
    assert len(lab.tasks("waited_web", state="running")) == 2
    assert "waited_web: 2 of 2 tasks running" in said


def test_stack_deploy_returns_when_one_shot_services_have_ended(lab: labs.LabCluster) -> None:
    """The first deployment may still see the task running; the second one finds that it has ended."""
    content = """services:
  web: {image: 'covey-test:1', command: sleep 1000000, stop_signal: SIGKILL}
  once: {image: 'covey-test:1', command: 'true', deploy: {restart_policy: {condition: on-failure}}}
"""
    failing = content.replace("'true'", "'false'").replace("on-failure", "none")
    command = [COVEY, "stack", "deploy", "--resolve-image", "never", "-c", "-", "ending"]
    labs.run(command, env=lab.environment(), stdin=content.encode())
    _wait_for_state(lab, "complete")
    said = labs.run(command, env=lab.environment(), stdin=content.encode()).out
    assert "ending_once: 0 of 1 tasks running; 1 complete" in said
    labs.run([*command, "--detach"], env=lab.environment(), stdin=failing.encode())
    _wait_for_state(lab, "failed")
    said = labs.run(command, env=lab.environment(), stdin=failing.encode(), check=1).err
    assert "service ending_once: a task failed and is not started again" in said


def _wait_for_state(lab: labs.LabCluster, state: str) -> None:
    def reached() -> bool:
        tasks = lab.get("/tasks", service=["ending_once"])
        return any(task["Status"]["State"] == state for task in tasks)

    labs.wait(reached, f"a task that is {state}")


def test_a_stack_with_an_error_is_refused_before_anything_is_created(lab: labs.LabCluster) -> None:
    content = "services:\n  web: {image: 'covey-test:1', volumes: [lost:/data]}\nnetworks: {n: {}}\n"
    command = [COVEY, "stack", "deploy", "-c", "-", "refused"]
    said = labs.run(command, env=lab.environment(), stdin=content.encode(), check=1).err
    assert 'service web: undefined volume "lost"' in said
    assert not lab.get("/networks", label=["com.docker.stack.namespace=refused"])


def test_services_run_on_the_predefined_networks(lab: labs.LabCluster) -> None:
    content = """services:
  web: {image: 'covey-test:1', command: sleep 1000000, stop_signal: SIGKILL, networks: [outside]}
networks:
  outside: {external: true, name: host}
"""
    command = [COVEY, "stack", "deploy", "-c", "-", "predefined"]
    labs.run(command, env=lab.environment(), stdin=content.encode())
    lab.running("predefined_web", 1)
    covey(lab, "stack", "rm", "predefined")
