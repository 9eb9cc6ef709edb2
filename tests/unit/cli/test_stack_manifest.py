"""Compose files: YAML types, interpolation, merging, conversion, and the refusal of unsupported keys by path."""

from typing import Any

import pytest

from cli.stack.interpolate import interpolate, substitute
from cli.stack.manifest import read_stack
from cli.stack.merge import merge
from cli.stack.yaml_loader import load_yaml
from compose.env_files import parse_env_file
from compose.stack.model import Stack
from covey.errors import CoveyError, InvalidArgumentError, TooLargeError, UnsupportedError

FILES = {"token.txt": b"sesame", "web.env": b"# comment\nA=file\nB=2\nSHELL_ONLY\nUNSET\n"}
SHELL = {"SHELL_ONLY": "from the shell", "HOME": "/home/me", "EMPTY": "", "SET": "value"}


def read_file(path: str, where: str) -> bytes:
    if path not in FILES:
        raise InvalidArgumentError(f"{where}: cannot read {path}")
    return FILES[path]


def stack(text: str) -> Stack:
    return read_stack("s", interpolate(load_yaml(text, "test"), SHELL), SHELL, read_file, "/folder")


def web(keys: str, rest: str = "") -> dict[str, Any]:
    indented = "".join(f"    {line}\n" for line in keys.splitlines())
    return stack(f"services:\n  web:\n    image: i:1\n{indented}{rest}").services[0].spec


def container(keys: str, rest: str = "") -> dict[str, Any]:
    found: dict[str, Any] = web(keys, rest)["TaskTemplate"]["ContainerSpec"]
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("22:22", "22:22"),
        ("2024-05-01", "2024-05-01"),
        ("0444", 0o444),
        ("0o444", 0o444),
        ("0x1f", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("", None),
    ],
)
def test_yaml_types_follow_compose(text: str, value: object) -> None:
    assert load_yaml(f"key: {text}", "test") == {"key": value}


def test_a_duplicate_key_is_refused_with_its_position() -> None:
    with pytest.raises(InvalidArgumentError, match=r"f\.yaml:3:3: duplicate key 'a'"):
        load_yaml("services:\n  a: 1\n  a: 2\n", "f.yaml")


def test_merge_keys_and_anchors_work() -> None:
    text = "x-a: &a {one: 1, two: 2}\nb:\n  <<: *a\n  two: 3\n"
    assert load_yaml(text, "test")["b"] == {"one": 1, "two": 3}


@pytest.mark.parametrize("text", ["", "- a", "a: [", "a: !!python/object/apply:os.system [id]", "? [a]\n: b"])
def test_a_file_that_is_not_a_compose_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        load_yaml(text, "test")


def test_anchors_cannot_expand_a_small_file_without_limit() -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    with pytest.raises(TooLargeError):
        load_yaml(f"a0: &a0 [x]\n{levels}", "test")
    with pytest.raises(CoveyError):
        load_yaml("a: &a [*a]\n", "test")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$SET", "value"),
        ("${SET}-x", "value-x"),
        ("$UNSET.", "."),
        ("${UNSET:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${SET:+yes}${EMPTY:+no}${EMPTY+yes}", "yesyes"),
        ("$$SET $${SET}", "$SET ${SET}"),
        ("${UNSET:-${EMPTY:-deep}}", "deep"),
        ("${SET:?not reached}", "value"),
        ("no dollar", "no dollar"),
    ],
)
def test_variables_are_interpolated(text: str, value: str) -> None:
    assert substitute(text, SHELL) == value


@pytest.mark.parametrize("text", ["$", "${", "${SET", "$1", "${1}", "${SET!x}", "a $ b"])
def test_an_invalid_interpolation_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="invalid interpolation format"):
        substitute(text, SHELL, "services.web.image")


def test_a_missing_required_variable_is_an_error_with_path_and_reason() -> None:
    with pytest.raises(InvalidArgumentError, match=r"services\.web\.image: the variable TAG is required: say which"):
        stack("services: {web: {image: 'i:${TAG:?say which}'}}")


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ("build: .", "services.web.build is not supported by stack deploy: build the image first"),
        ("ports: [{target: 80, host_ip: 127.0.0.1}]", r"services.web.ports\[0\].host_ip"),
        ("ports: [{target: 80, nonsense: 1}]", r"services.web.ports\[0\].nonsense"),
        ("depends_on: [db]", "services.web.depends_on"),
        ("privileged: true", "services.web.privileged"),
        ("nonsense: 1", "services.web.nonsense"),
        ("deploy: {nonsense: 1}", "services.web.deploy.nonsense"),
        ("deploy: {resources: {limits: {devices: []}}}", "services.web.deploy.resources.limits.devices"),
        ("deploy: {update_config: {nonsense: 1}}", "services.web.deploy.update_config.nonsense"),
        ("healthcheck: {nonsense: 1}", "services.web.healthcheck.nonsense"),
        ("networks: {default: {ipv4_address: 10.0.0.1}}", "services.web.networks.default.ipv4_address"),
        (
            "volumes: [{type: bind, source: /a, target: /b, consistency: cached}]",
            r"services.web.volumes\[0\].consistency",
        ),
    ],
)
def test_an_unsupported_key_is_refused_by_its_path(keys: str, path: str) -> None:
    with pytest.raises(UnsupportedError, match=path.replace(".", r"\.") if "\\" not in path else path):
        web(keys)


@pytest.mark.parametrize(
    "top", ["include: [a.yaml]", "networks: {n: {nonsense: 1}}", "secrets: {s: {file: token.txt, x: 1}}"]
)
def test_an_unsupported_top_level_key_is_refused(top: str) -> None:
    with pytest.raises(UnsupportedError):
        stack(f"services: {{web: {{image: i}}}}\n{top}\n")


def test_extension_keys_are_ignored() -> None:
    web("x-mine: 1\ndeploy: {x-mine: 1}", "x-top: {a: b}\nversion: '3'\nname: n\n")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("deploy: {replicas: -1}", "must not be negative"),
        ("deploy: {replicas: many}", "services.web.deploy.replicas must be a whole number"),
        ("deploy: {mode: global, replicas: 2}", "can only be used with replicated mode"),
        ("deploy: {mode: wrong}", "must be one of"),
        ("environment: {A: true}", "services.web.environment.A is a boolean"),
        ("stop_grace_period: 5", "services.web.stop_grace_period: invalid duration"),
        ("secrets: [nothing]", "refers to 'nothing', which is not under the top-level secrets"),
        ("networks: [nothing]", "there is no such network"),
        ("volumes: ['nothing:/a']", "not under the top-level volumes"),
        ("volumes: ['relative']", "must be an absolute path"),
        ("env_file: nothing.env", "cannot read nothing.env"),
        ('command: "sh -c \'open"', "No closing quotation"),
        ("image: ''", "duplicate key"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_path(keys: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        web(keys)


def test_a_service_gets_the_default_network_and_the_stack_labels() -> None:
    found = stack("services: {web: {image: 'i:1'}}\nnetworks: {unused: {}}\n")
    assert [network.name for network in found.networks] == ["s_default"]
    assert found.services[0].name == "s_web"
    assert found.services[0].spec["Labels"] == {"com.docker.stack.image": "i:1", "com.docker.stack.namespace": "s"}
    assert found.services[0].spec["TaskTemplate"]["Networks"] == [{"Target": "s_default", "Aliases": ["web"]}]


def test_environment_precedence_is_files_then_own_values_then_the_shell() -> None:
    keys = "env_file: [web.env]\nenvironment:\n  A: own\n  SHELL_ONLY:\n  NOWHERE:\n"
    assert container(keys)["Env"] == ["A=own", "B=2", "NOWHERE", "SHELL_ONLY=from the shell"]


def test_an_optional_environment_file_may_be_missing() -> None:
    assert "Env" not in container("env_file: [{path: nothing.env, required: false}]")


def test_environment_files_keep_values_unchanged() -> None:
    text = '\ufeffA="quoted"\n  B=x=y # no comment\n#C=1\n\nSET\nUNSET\n'
    assert parse_env_file(text, SHELL) == {"A": '"quoted"', "B": "x=y # no comment", "SET": "value"}
    with pytest.raises(InvalidArgumentError, match="invalid line"):
        parse_env_file("two words=1", SHELL)


def test_subpaths_images_and_recursion_of_mounts() -> None:
    keys = (
        "volumes:\n"
        "  - {type: volume, source: v, target: /v, volume: {subpath: a}}\n"
        "  - {type: image, source: busybox, target: /i, image: {subpath: etc}}\n"
        "  - {type: bind, source: /b, target: /b, bind: {create_host_path: true, recursive: disabled}}\n"
    )
    volume, image, bind = container(keys, "volumes: {v: {external: true}}\n")["Mounts"]
    assert volume["VolumeOptions"] == {"Subpath": "a"}
    assert image == {"Type": "image", "Source": "busybox", "Target": "/i", "ImageOptions": {"Subpath": "etc"}}
    assert bind["BindOptions"] == {"CreateMountpoint": True, "NonRecursive": True}


def test_paths_become_bind_mounts_and_names_become_stack_volumes() -> None:
    keys = "volumes:\n  - ./data:/a:ro\n  - ~/x:/b\n  - named:/c:nocopy\n  - mine:/d\ntmpfs: /run:size=1m,mode=1770\n"
    mounts = container(keys, "volumes: {named: {}, mine: {external: true}}\n")["Mounts"]
    assert [(mount["Type"], mount.get("Source"), mount["Target"]) for mount in mounts] == [
        ("bind", "/folder/data", "/a"),
        ("bind", "/home/me/x", "/b"),
        ("volume", "s_named", "/c"),
        ("volume", "mine", "/d"),
        ("tmpfs", None, "/run"),
    ]
    assert mounts[0]["ReadOnly"] is True
    assert mounts[2]["VolumeOptions"] == {"NoCopy": True, "Labels": {"com.docker.stack.namespace": "s"}}
    assert mounts[4]["TmpfsOptions"] == {"SizeBytes": 1 << 20, "Mode": 0o1770}


def test_secrets_come_from_files_the_environment_or_are_external() -> None:
    text = (
        "services: {web: {image: i}}\nsecrets:\n  f: {file: token.txt}\n  e: {environment: SET}\n"
        "  x: {external: true, name: real}\n  o: {external: true}\n"
    )
    found = {secret.key: secret for secret in stack(text).secrets}
    assert (found["f"].name, found["f"].data) == ("s_f", b"sesame")
    assert found["e"].data == b"value"
    assert (found["x"].external, found["x"].name, found["x"].data) == (True, "real", None)
    assert found["o"].name == "o"
    for wrong in ("{}", "{file: token.txt, environment: SET}", "{environment: UNSET}", "{file: nothing}"):
        with pytest.raises(InvalidArgumentError, match=r"secrets\.a"):
            stack(f"services: {{web: {{image: i}}}}\nsecrets: {{a: {wrong}}}\n")


def test_later_files_add_to_and_override_earlier_ones() -> None:
    first = {
        "services": {
            "web": {
                "image": "a",
                "command": ["x", "y"],
                "environment": ["A=1", "B=1"],
                "volumes": ["one:/data", "two:/other"],
                "networks": ["front"],
                "dns": ["192.0.2.1"],
            }
        }
    }
    second = {
        "services": {
            "web": {
                "command": ["z"],
                "environment": {"B": "2"},
                "volumes": ["new:/data"],
                "networks": {"back": None},
                "dns": ["192.0.2.2"],
            },
            "more": {"image": "b"},
        }
    }
    assert merge([first, second])["services"] == {
        "web": {
            "image": "a",
            "command": ["z"],
            "environment": {"A": "1", "B": "2"},
            "volumes": ["new:/data", "two:/other"],
            "networks": {"front": None, "back": None},
            "dns": ["192.0.2.1", "192.0.2.2"],
        },
        "more": {"image": "b"},
    }


def test_ports_have_short_and_long_forms_and_ranges() -> None:
    keys = """ports:
  - 90
  - "8080:80"
  - "53:53/udp"
  - "7000-7001:70-71"
  - {target: 443, published: "8443", protocol: tcp, mode: host, name: tls, app_protocol: https}"""
    ports = web(keys)["EndpointSpec"]["Ports"]
    assert [(p.get("PublishedPort"), p["TargetPort"], p["Protocol"], p["PublishMode"]) for p in ports] == [
        (None, 90, "tcp", "ingress"),
        (53, 53, "udp", "ingress"),
        (7000, 70, "tcp", "ingress"),
        (7001, 71, "tcp", "ingress"),
        (8080, 80, "tcp", "ingress"),
        (8443, 443, "tcp", "host"),
    ]


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("'127.0.0.1:80:80'", "a service is published on all addresses of its nodes; leave 127.0.0.1 out"),
        ("'80:80/icmp'", "invalid proto: icmp"),
        ("'80-82:80-81'", "invalid ranges specified"),
        ("'99999:80'", "invalid hostPort: 99999"),
        ("'x'", "invalid containerPort: x"),
        ("{published: 80}", "missing mandatory field 'target'"),
        ("{target: 80, mode: mesh}", "invalid publish mode value"),
    ],
)
def test_a_wrong_port_is_refused_by_its_path(port: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        web(f"ports: [{port}]")
    assert refused.value.message.startswith("services.web.ports[0]: ")
    assert words in refused.value.message


def test_the_log_driver_of_a_service_is_read_with_its_options() -> None:
    spec = web("logging:\n  driver: json-file\n  options: {max-size: 10m, max-file: 3}")
    assert spec["TaskTemplate"]["LogDriver"] == {"Name": "json-file", "Options": {"max-size": "10m", "max-file": "3"}}
    assert "LogDriver" not in web("init: true")["TaskTemplate"]
    with pytest.raises(UnsupportedError, match=r"services\.web\.logging\.level"):
        web("logging: {driver: local, level: high}")
