"""Stacks from Compose files: docker's format first, else the Compose Specification; keys without a meaning are named."""

from pathlib import Path
from typing import Any

import pytest

from cli.stack.loader import check_stack, load_stack, stack_config
from compose.env_files import parse_env_file
from compose.errors import ComposeFileError
from compose.stack.model import Stack
from covey.errors import InvalidArgumentError

SHELL = {"SET": "value", "SHELL_ONLY": "from the shell", "HOME": "/home/me"}


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web.env").write_text("A=1\nB=2\n")
    (tmp_path / "token.txt").write_text("sesame")
    monkeypatch.chdir(tmp_path)


def stack(text: str) -> Stack:
    Path("stack.yaml").write_text(text)
    return load_stack("s", ("stack.yaml",), SHELL)


def spec(keys: str, more: str = "") -> dict[str, Any]:
    lines = "".join(f"    {line}\n" for line in keys.splitlines())
    return stack(f"services:\n  web:\n    image: i\n{lines}{more}").services[0].spec


def container(keys: str, more: str = "") -> dict[str, Any]:
    found: dict[str, Any] = spec(keys, more)["TaskTemplate"]["ContainerSpec"]
    return found


def test_environment_precedence_is_files_then_own_values_then_the_shell() -> None:
    keys = "env_file: [web.env]\nenvironment:\n  A: own\n  SHELL_ONLY:\n  NOWHERE:\n"
    assert container(keys)["Env"] == ["A=own", "B=2", "NOWHERE", "SHELL_ONLY=from the shell"]
    assert "Env" not in container("env_file: [{path: nothing.env, required: false}]")


def test_a_dotenv_file_beside_the_stack_gives_variables_that_the_shell_has_not() -> None:
    Path("sub").mkdir()
    Path("sub/.env").write_text("TAG='2'\nSET=from the file\n")
    Path("sub/stack.yaml").write_text("services: {web: {image: 'i:${TAG}', labels: {set: '${SET}'}}}\n")
    found = load_stack("s", ("sub/stack.yaml",), SHELL).services[0].spec["TaskTemplate"]["ContainerSpec"]
    assert (found["Image"], found["Labels"]["set"]) == ("i:2", "value")
    assert "image: i:2" in stack_config(("sub/stack.yaml",), SHELL, interpolated=True)


def test_environment_files_keep_values_unchanged() -> None:
    text = '﻿A="quoted"\n  B=x=y # no comment\n#C=1\n\nSET\nUNSET\n'
    assert parse_env_file(text, SHELL) == {"A": '"quoted"', "B": "x=y # no comment", "SET": "value"}
    with pytest.raises(InvalidArgumentError, match="invalid line"):
        parse_env_file("two words=1", SHELL)


def test_subpaths_images_and_recursion_of_mounts_of_the_newer_format() -> None:
    keys = (
        "volumes:\n"
        "  - {type: volume, source: v, target: /v, volume: {subpath: a}}\n"
        "  - {type: image, source: busybox, target: /i, image: {subpath: etc}}\n"
        "  - {type: bind, source: /b, target: /b, bind: {create_host_path: true, recursive: disabled}}\n"
        "  - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}\n"
    )
    volume, image, bind, tmpfs = container(keys, "name: n\nvolumes: {v: {external: true}}\n")["Mounts"]
    assert volume["VolumeOptions"] == {"Subpath": "a"}
    assert image == {"Type": "image", "Source": "busybox", "Target": "/i", "ImageOptions": {"Subpath": "etc"}}
    assert bind["BindOptions"] == {"CreateMountpoint": True, "NonRecursive": True}
    assert tmpfs["TmpfsOptions"] == {"SizeBytes": 1 << 20, "Mode": 0o700}


def test_volumes_and_tmpfs_have_short_forms() -> None:
    keys = "volumes:\n  - ./data:/a:ro\n  - named:/c:nocopy\ntmpfs: /run:size=1m,mode=1770\n"
    mounts = container(keys, "volumes: {named: {}}\n")["Mounts"]
    assert [(mount["Type"], mount.get("Source"), mount["Target"]) for mount in mounts] == [
        ("bind", str(Path.cwd() / "data"), "/a"),
        ("volume", "s_named", "/c"),
        ("tmpfs", None, "/run"),
    ]
    assert mounts[2]["TmpfsOptions"] == {"SizeBytes": 1 << 20, "Mode": 0o1770}


def test_secrets_come_from_files_the_environment_the_file_itself_or_are_external() -> None:
    text = (
        "services: {web: {image: i, secrets: [f, e, x, o], configs: [c]}}\nsecrets:\n  f: {file: token.txt}\n"
        "  e: {environment: SET}\n  x: {external: true, name: real}\n  o: {external: true}\n"
        "configs: {c: {content: 'hello $SET'}}\n"
    )
    found = stack(text)
    secrets = {secret.key: secret for secret in found.secrets}
    assert (secrets["f"].name, secrets["f"].data) == ("s_f", b"sesame")
    assert secrets["e"].data == b"value"
    assert (secrets["x"].external, secrets["x"].name, secrets["x"].data) == (True, "real", None)
    assert secrets["o"].name == "o"
    assert found.configs[0].data == b"hello value"
    names = [item["File"]["Name"] for item in found.services[0].spec["TaskTemplate"]["ContainerSpec"]["Secrets"]]
    assert sorted(names) == ["e", "f", "o", "x"]


@pytest.mark.parametrize("wrong", ["{file: token.txt, environment: SET}", "{environment: UNSET}", "{file: nothing}"])
def test_a_secret_without_one_readable_source_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgumentError):
        stack(f"services: {{web: {{image: i, secrets: [a]}}}}\nsecrets: {{a: {wrong}}}\n")


def test_newer_keys_have_their_meaning_on_a_cluster() -> None:
    found = spec(
        "scale: 3\ncpus: 0.5\nmem_limit: 64m\npids_limit: 9\nmem_reservation: 8m\ndns_opt: [ndots:1]\ngroup_add: [20]\n"
        'ports: [{target: 80, published: "8080", name: web}]\nrestart: on-failure:2\nextra_hosts: {a: 192.0.2.1}'
    )
    task = found["TaskTemplate"]
    assert found["Mode"] == {"Replicated": {"Replicas": 3}}
    assert task["Resources"]["Limits"] == {"NanoCPUs": 500_000_000, "MemoryBytes": 64 << 20, "Pids": 9}
    assert task["Resources"]["Reservations"] == {"MemoryBytes": 8 << 20}
    assert task["ContainerSpec"]["DNSConfig"] == {"Options": ["ndots:1"]}
    assert task["ContainerSpec"]["Groups"] == ["20"]
    assert task["ContainerSpec"]["Hosts"] == ["192.0.2.1 a"]
    assert task["RestartPolicy"] == {"Condition": "on-failure", "MaxAttempts": 2}
    assert found["EndpointSpec"]["Ports"] == [
        {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"}
    ]


def test_extends_and_include_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    Path("more.yaml").write_text("services: {db: {image: d}}")
    text = (
        "include: [more.yaml]\nservices:\n  web: {extends: base, pull_policy: always, gpus: all}\n  base: {image: b}\n"
    )
    found = stack(text)
    assert [service.name for service in found.services] == ["s_base", "s_db", "s_web"]
    assert found.services[2].spec["TaskTemplate"]["ContainerSpec"]["Image"] == "b"
    assert "Ignoring unsupported options: gpus, pull_policy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "services:\n  web:\n    image: i\n    foo: 1\n",
            "stack.yaml:4:5: services.web Additional property foo is not allowed",
        ),
        ("services:\n  web:\n    image: i\n    ports: 80\n", "stack.yaml:4:12: services.web.ports must be a list"),
        ("services:\n  web:\n    image: ${\n", "stack.yaml:3:12: invalid interpolation format for services.web.image"),
        ("name: n\nservices:\n  web:\n    image: i\n    networks: [x]\n", "refers to undefined network x"),
    ],
)
def test_an_error_names_the_place(text: str, message: str) -> None:
    with pytest.raises(ComposeFileError) as caught:
        stack(text)
    assert message in caught.value.message


def test_config_prints_files_of_the_newer_format_so_that_they_can_be_read_again() -> None:
    Path("stack.yaml").write_text("services: {web: {image: i, environment: {A: $$X}, pull_policy: always}}\nname: n\n")
    printed = stack_config(("stack.yaml",), SHELL, interpolated=True)
    Path("again.yaml").write_text(printed)
    assert stack_config(("again.yaml",), SHELL, interpolated=True) == printed
    assert "A: $$X" in printed


def test_addresses_of_published_ports_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    spec("ports: ['127.0.0.1:80:81']")
    said = capsys.readouterr().err
    assert said.strip() == "ignoring IP-address (127.0.0.1:80:81/tcp) service will listen on '0.0.0.0'"


def test_check_lists_every_key_without_a_meaning_with_its_place() -> None:
    Path("old.yaml").write_text(
        "services:\n  a:\n    image: i\n    privileged: true\n    ipc: host\n  b:\n    image: i\n"
        "    container_name: x\n    restart: always\n    ports: ['127.0.0.1:80:80']\n"
    )
    found = [line.partition(": services.") for line in check_stack("s", ("old.yaml",), SHELL)]
    assert [(place.rpartition("/")[2].split(":")[:2], rest.partition(":")[0]) for place, _, rest in found] == [
        (["old.yaml", "5"], "a.ipc"),
        (["old.yaml", "4"], "a.privileged"),
        (["old.yaml", "8"], "b.container_name"),
        (["old.yaml", "9"], "b.restart"),
        (["old.yaml", "10"], "b.ports.0.host_ip"),
    ]
    Path("new.yaml").write_text("name: n\nservices:\n  a:\n    image: i\n    scale: 2\n    pull_policy: always\n")
    pull_policy, name = check_stack("s", ("new.yaml",), SHELL)
    assert "new.yaml:6:" in pull_policy
    assert "services.a.pull_policy" in pull_policy
    assert "new.yaml:1:1: name" in name
    Path("good.yaml").write_text("services: {a: {image: i}}")
    assert check_stack("s", ("good.yaml",), SHELL) == []


def test_check_lists_keys_of_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    Path("all.yaml").write_text(
        "services:\n  a:\n    image: i\n    build: .\n    networks: {n: {ipv4_address: 10.9.0.2, priority: 5, aliases: [b]}}\n"
        "    ports: [{target: 80, app_protocol: http}]\n"
        "    volumes: [{type: bind, source: /a, target: /b, consistency: cached, bind: {selinux: z, propagation: shared}}]\n"
        "    deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}\n"
        "networks:\n  n:\n    enable_ipv6: true\n    enable_ipv4: false\n    attachable: true\n"
        "    ipam: {options: {a: b}, config: [{subnet: 10.9.0.0/24, gateway: 10.9.0.1}]}\n"
        "  e: {external: true, driver: overlay}\n"
        "secrets: {s: {external: true, file: token.txt, name: t}}\n"
    )
    found = [line.partition("all.yaml:")[2].split(": ")[:2] for line in check_stack("s", ("all.yaml",), SHELL)]
    assert [(place.split(":")[0], path) for place, path in found] == [
        ("4", "services.a.build"),
        ("5", "services.a.networks.n.ipv4_address"),
        ("5", "services.a.networks.n.priority"),
        ("6", "services.a.ports.0.app_protocol"),
        ("7", "services.a.volumes.0.consistency"),
        ("7", "services.a.volumes.0.bind.selinux"),
        ("8", "services.a.deploy.resources.reservations.devices"),
        ("11", "networks.n.enable_ipv6"),
        ("12", "networks.n.enable_ipv4"),
        ("14", "networks.n.ipam.options"),
        ("14", "networks.n.ipam.config.0.gateway"),
        ("15", "networks.e.driver"),
        ("16", "secrets.s.file"),
    ]
    load_stack("s", ("all.yaml",), SHELL)
    assert (
        "Ignoring keys without a meaning on a cluster: services.a.networks.n.ipv4_address, " in capsys.readouterr().err
    )
