"""Converts a merged and interpolated Compose file to a ``Stack``. Pure: a function reads files."""

from collections.abc import Callable, Mapping
from typing import Any

from cli.stack.mounts import ManifestPaths
from cli.stack.section import Section
from cli.stack.service_spec import service_spec
from compose.env_files import parse_env_file
from compose.stack.labels import STACK_NAMESPACE_LABEL
from compose.stack.model import Stack, StackFile, StackNetwork, StackService
from covey.errors import InvalidArgumentError

TOP_HINTS = {"include": "give each file with its own -c", "models": "remove it"}
ReadFile = Callable[[str, str], bytes]
"""Reads a file; takes its path as written and the path of the key that names it, for errors."""


def read_stack(
    name: str, content: Mapping[str, Any], environment: Mapping[str, str], read_file: ReadFile, folder: str
) -> Stack:
    """The stack of a Compose file; relative paths start at ``folder``.

    Raises:
        UnsupportedError: a key is not supported; the message has its path.
        InvalidArgumentError: a value is wrong; the message has its path.
    """
    top = Section(content, "")
    top.raw("version"), top.raw("name")
    services = top.section("services")
    if not services.keys():
        raise InvalidArgumentError("services is missing: a stack needs at least one service")
    networks = _networks(name, top.section("networks"))
    volumes = _volumes(name, top.section("volumes"))
    secrets = _file_objects(name, top.section("secrets"), environment, read_file)
    configs = _file_objects(name, top.section("configs"), environment, read_file)
    top.reject_unread(TOP_HINTS)
    read = []
    for key in services.keys():  # noqa: SIM118 — not a dict
        section = services.section(key)
        spec = service_spec(
            name,
            key,
            section,
            networks={network.key: network.name for network in networks},
            volumes=volumes,
            secrets={secret.key: secret.name for secret in secrets},
            configs={config.key: config.name for config in configs},
            environment=service_environment(section, environment, read_file),
            paths=ManifestPaths(directory=folder, home=environment.get("HOME", "/")),
        )
        read.append(StackService(key=key, name=spec["Name"], spec=spec))
    used = {item["Target"] for service in read for item in service.spec["TaskTemplate"].get("Networks", ())}
    return Stack(
        name=name,
        networks=tuple(network for network in networks if network.name in used),
        secrets=secrets,
        configs=configs,
        services=tuple(sorted(read, key=lambda service: service.name)),
    )


def service_environment(service: Section, environment: Mapping[str, str], read_file: ReadFile) -> dict[str, str | None]:
    """The variables of a service: from its files in order, then its own. A name without a value takes the value of ``environment``."""
    result: dict[str, str | None] = {}
    for item in _env_files(service):
        path, required = item.text("path"), item.boolean("required")
        item.reject_unread()
        try:
            text = read_file(path, item.path).decode()
        except UnicodeDecodeError:
            raise InvalidArgumentError(f"{item.path}: {path} is not UTF-8 text") from None
        except InvalidArgumentError:
            if required is False:
                continue
            raise
        result.update(parse_env_file(text, environment))
    for key, value in service.optional_text_map("environment").items():
        result[key] = environment.get(key) if value is None else value
    return result


def _env_files(service: Section) -> list[Section]:
    value = service.raw("env_file")
    listed = Section({"env_file": [value] if isinstance(value, str | dict) else value}, service.path)
    return listed.sections("env_file", lambda text, _: {"path": text})


def _networks(stack: str, section: Section) -> tuple[StackNetwork, ...]:
    keys = section.keys()
    result = [_network(stack, key, section.section(key)) for key in keys]
    if "default" not in keys:
        result.append(_network(stack, "default", Section({}, "networks.default")))
    return tuple(result)


def _network(stack: str, key: str, section: Section) -> StackNetwork:
    external, name = _external(section, key)
    name = name or f"{stack}_{key}"
    if external:
        section.reject_unread(dict.fromkeys(section.keys(), "an external network is used as it is"))
        return StackNetwork(key=key, name=name, external=True)
    ipam = section.section("ipam")
    body: dict[str, Any] = {
        "Name": name,
        "Driver": section.text("driver") or "overlay",
        "Options": section.text_map("driver_opts"),
        "Attachable": section.boolean("attachable") or False,
        "Internal": section.boolean("internal") or False,
        "Labels": {**section.text_map("labels"), STACK_NAMESPACE_LABEL: stack},
        "Scope": "swarm",
    }
    if ipam.keys():
        body["IPAM"] = {"Driver": ipam.text("driver"), "Config": [_subnet(item) for item in _ipam_configs(ipam)]}
        ipam.reject_unread()
    section.reject_unread()
    return StackNetwork(key=key, name=name, body=body)


def _ipam_configs(ipam: Section) -> list[Section]:
    return ipam.sections("config", lambda text, _: {"subnet": text})


def _subnet(item: Section) -> dict[str, str]:
    values = {"Subnet": item.text("subnet"), "Gateway": item.text("gateway"), "IPRange": item.text("ip_range")}
    item.reject_unread()
    return {key: value for key, value in values.items() if value}


def _volumes(stack: str, section: Section) -> dict[str, dict[str, Any]]:
    result = {}
    for key in section.keys():  # noqa: SIM118 — not a dict
        item = section.section(key)
        external, name = _external(item, key)
        result[key] = {
            "name": name or f"{stack}_{key}",
            "external": external,
            "labels": item.text_map("labels"),
            "driver": item.text("driver"),
            "options": item.text_map("driver_opts"),
        }
        item.reject_unread()
    return result


def _file_objects(
    stack: str, section: Section, environment: Mapping[str, str], read_file: ReadFile
) -> tuple[StackFile, ...]:
    """Secrets or configs, ordered by key."""
    return tuple(
        _file_object(stack, key, section.section(key), environment, read_file) for key in sorted(section.keys())
    )


def _file_object(
    stack: str, key: str, section: Section, environment: Mapping[str, str], read_file: ReadFile
) -> StackFile:
    external, name = _external(section, key)
    name = name or f"{stack}_{key}"
    if external:
        section.reject_unread(dict.fromkeys(section.keys(), "an external object is used as it is"))
        return StackFile(key=key, name=name, external=True)
    file, variable, content = section.text("file"), section.text("environment"), section.raw("content")
    driver = section.text("driver")
    sources = [
        word
        for word, value in (("file", file), ("environment", variable), ("content", content), ("driver", driver))
        if value
    ]
    if len(sources) != 1:
        raise InvalidArgumentError(
            f"{section.path} needs exactly one of file, environment, content, driver or external"
        )
    data = None
    if file:
        data = read_file(file, section.key_path("file"))
    elif variable:
        if variable not in environment:
            raise InvalidArgumentError(f"{section.key_path('environment')}: the variable {variable} is not set")
        data = environment[variable].encode()
    elif content:
        data = section.text("content").encode()
    options = section.text_map("driver_opts")
    result = StackFile(
        key=key,
        name=name,
        labels={**section.text_map("labels"), STACK_NAMESPACE_LABEL: stack},
        data=data,
        driver={"Name": driver, "Options": options} if driver else None,
        template_driver=section.text("template_driver"),
    )
    section.reject_unread()
    return result


def _external(section: Section, key: str) -> tuple[bool, str]:
    """Whether an object is external, and its name. ``external: {name: N}`` is the legacy form."""
    name, external = section.text("name"), section.raw("external")
    if isinstance(external, dict):
        inner = section.section("external")
        name = inner.text("name") or name
        inner.reject_unread()
        return True, name or key
    is_external = section.boolean("external") or False
    return is_external, name or (key if is_external else "")
