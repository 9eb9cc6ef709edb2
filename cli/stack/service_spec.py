"""Converts a Compose service to a service spec, as ``docker stack deploy`` does. Pure."""

import shlex
from collections.abc import Mapping
from typing import Any

from cli.parse.param_types import BYTES, DURATION
from cli.parse.service_flags import FLAGS, Flag
from cli.stack.deploy_section import legacy_restart_policy, read_deploy_section
from cli.stack.mounts import ManifestPaths, service_mounts
from cli.stack.ports import published_ports
from cli.stack.section import Section
from compose.stack.labels import STACK_IMAGE_LABEL, STACK_NAMESPACE_LABEL
from covey.capabilities import effective
from covey.errors import InvalidArgumentError

DEFAULT_FILE_MODE = 0o444
HINTS = {
    "build": "build the image first, then name it with image",
    "depends_on": "services start together; let them retry, and remove it",
    "container_name": "tasks get their names from the service; remove it",
    "network_mode": "attach the service to networks instead",
    "links": "services on one network reach each other by name; remove it",
    "external_links": "attach the service to an external network instead",
    "privileged": "services run without extra privileges; use cap_add",
    "devices": "devices are not supported yet; remove it",
    "security_opt": "services run with the default profiles; remove it",
    "restart": "use deploy.restart_policy",
    "profiles": "all services of a stack are deployed; remove it",
    "extends": "write the service in full",
    "volumes_from": "list the volumes in the service",
    "scale": "use deploy.replicas",
    "mem_limit": "use deploy.resources.limits.memory",
    "cpus": "use deploy.resources.limits.cpus",
    "pids_limit": "use deploy.resources.limits.pids",
}
SpecPart = dict[str, Any]


def service_spec(
    stack: str,
    name: str,
    service: Section,
    *,
    networks: Mapping[str, str],
    volumes: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, str],
    configs: Mapping[str, str],
    environment: Mapping[str, str | None],
    paths: ManifestPaths,
) -> dict[str, Any]:
    """The service spec. ``networks``, ``secrets`` and ``configs`` map keys of the Compose file to names.

    ``environment`` has the service's variables including those of its files; None is a name without a value.

    Raises:
        UnsupportedError: a key is not supported; the message has its path.
        InvalidArgumentError: a value is wrong; the message has its path.
    """
    image = service.text("image")
    if not image:
        raise InvalidArgumentError(f"{service.key_path('image')} is missing: a service runs an image")
    deploy = read_deploy_section(service.section("deploy"))
    namespace = {STACK_NAMESPACE_LABEL: stack}
    container = {
        "Image": image,
        "Command": command_words(service, "entrypoint"),
        "Args": command_words(service, "command"),
        "Env": sorted(key if value is None else f"{key}={value}" for key, value in environment.items()),
        "Labels": {**service.text_map("labels"), **namespace},
        "Mounts": service_mounts(stack, service, volumes, paths),
        "Secrets": file_references(service, "secrets", secrets),
        "Configs": file_references(service, "configs", configs),
        **_process(service),
        **_limits(service),
    }
    for key in ("environment", "env_file", "expose"):
        service.raw(
            key
        )  # the caller reads the first two; expose has no effect because all ports are open within a network
    attachments = network_attachments(service, name, networks)
    ports = published_ports(service)
    log_driver = _log_driver(service.section("logging"))
    policy = deploy.restart or legacy_restart_policy(service)
    service.reject_unread(HINTS)
    return {
        "Name": f"{stack}_{name}",
        "Labels": {**deploy.labels, STACK_IMAGE_LABEL: image, **namespace},
        "TaskTemplate": {
            "ContainerSpec": without_empty(container),
            "Resources": deploy.resources or {},
            "Placement": deploy.placement or {},
            **without_empty({"RestartPolicy": policy, "Networks": attachments, "LogDriver": log_driver}),
        },
        **without_empty({"UpdateConfig": deploy.update, "RollbackConfig": deploy.rollback}),
        "EndpointSpec": without_empty({"Mode": deploy.endpoint_mode, "Ports": ports}),
        "Mode": deploy.mode,
    }


def without_empty(values: SpecPart) -> SpecPart:
    """The mapping without None and empty texts, lists and mappings."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", [], {})}


def command_words(service: Section, key: str) -> list[str]:
    """A list of words, or a text split as a shell does."""
    value = service.raw(key)
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError as error:
            raise InvalidArgumentError(f"{service.key_path(key)}: {error}") from error
    return service.text_list(key)


def _log_driver(logging: Section) -> SpecPart:
    """The driver and its options; empty for the node's default."""
    parts = {"Name": logging.text("driver"), "Options": logging.text_map("options")}
    logging.reject_unread()
    return without_empty(parts)


def _process(service: Section) -> SpecPart:
    """The process settings: user, directory, terminal, stop signal, health check, names."""
    return {
        **{flag.path[-1]: _scalar(service, flag) for flag in FLAGS if flag.stack_key},
        "OpenStdin": service.boolean("stdin_open") or None,
        "Healthcheck": healthcheck(service.section("healthcheck")) if service.has("healthcheck") else None,
        "Hosts": extra_hosts(service),
        "DNSConfig": without_empty(
            {
                "Nameservers": service.text_list("dns", one=True),
                "Search": service.text_list("dns_search", one=True),
                "Options": service.text_list("dns_opt"),
            }
        ),
    }


def _scalar(service: Section, flag: Flag) -> Any:
    """The value of a key that sets the same field as a flag of ``service create``."""
    if flag.switch:
        return service.boolean(flag.stack_key)
    if flag.type is DURATION:
        return service.duration(flag.stack_key)
    if flag.type is BYTES:
        return service.size(flag.stack_key)
    return service.text(flag.stack_key) if flag.type is None else service.integer(flag.stack_key)


def _limits(service: Section) -> SpecPart:
    add, drop = effective(service.text_list("cap_add"), service.text_list("cap_drop"))
    return {
        "CapabilityAdd": add,
        "CapabilityDrop": drop,
        "Ulimits": ulimits(service.section("ulimits")),
        "Sysctls": service.text_map("sysctls"),
    }


def extra_hosts(service: Section) -> list[str]:
    """Lines of /etc/hosts from ``name:address`` entries or a mapping."""
    if isinstance(service.raw("extra_hosts"), dict):
        listed = sorted(f"{name}:{address}" for name, address in service.text_map("extra_hosts").items())
    else:
        listed = service.text_list("extra_hosts")
    result = []
    for item in listed:
        name, separator, address = item.partition("=" if "=" in item else ":")
        if not separator or not name or not address:
            raise InvalidArgumentError(f"{service.key_path('extra_hosts')}: {item!r} must be NAME:ADDRESS")
        result.append(f"{address.strip('[]')} {name}")
    return result


def healthcheck(section: Section) -> SpecPart:
    """The health check; ``disable`` turns off that of the image."""
    test = section.raw("test")
    words = ["CMD-SHELL", test] if isinstance(test, str) else section.text_list("test")
    disabled = section.boolean("disable")
    result = without_empty(
        {
            "Test": words,
            "Interval": section.duration("interval"),
            "Timeout": section.duration("timeout"),
            "Retries": section.integer("retries"),
            "StartPeriod": section.duration("start_period"),
            "StartInterval": section.duration("start_interval"),
        }
    )
    section.reject_unread()
    if not disabled:
        return result
    if words:
        raise InvalidArgumentError(f"{section.path}: test and disable cannot be used together")
    return {"Test": ["NONE"]}


def ulimits(section: Section) -> list[SpecPart]:
    result = []
    for name in sorted(section.keys()):
        if isinstance(section.raw(name), dict):
            both = section.section(name)
            soft, hard = both.integer("soft"), both.integer("hard")
            both.reject_unread()
            if soft is None or hard is None:
                raise InvalidArgumentError(f"{both.path} needs soft and hard")
        else:
            soft = hard = section.integer(name)
        result.append({"Name": name, "Soft": soft, "Hard": hard})
    return result


def file_references(service: Section, kind: str, names: Mapping[str, str]) -> list[SpecPart]:
    """The secret or config references of a service by name; ``plan.resolve_ids`` adds the ids."""
    word = kind.removesuffix("s").capitalize()
    result = []
    for item in service.sections(kind, lambda text, _: {"source": text}):
        source = item.text("source")
        if source not in names:
            raise InvalidArgumentError(f"{item.path} refers to {source!r}, which is not under the top-level {kind}")
        mode = item.integer("mode")
        result.append(
            {
                "File": {
                    "Name": item.text("target") or source,
                    "UID": item.text("uid") or "0",
                    "GID": item.text("gid") or "0",
                    "Mode": DEFAULT_FILE_MODE if mode is None else mode,
                },
                f"{word}Name": names[source],
            }
        )
        item.reject_unread()
    return sorted(result, key=lambda reference: str(reference[f"{word}Name"]))


def network_attachments(service: Section, name: str, networks: Mapping[str, str]) -> list[SpecPart]:
    """The network attachments of a service; without networks the stack's default network. The service's key is always an alias."""
    value = service.raw("networks")
    attachments: dict[str, Any] = (
        dict.fromkeys(service.text_list("networks")) if isinstance(value, list) else dict(value or {})
    )
    result = []
    for key, options in (attachments or {"default": None}).items():
        section = Section(options, f"{service.key_path('networks')}.{key}")
        if key not in networks:
            raise InvalidArgumentError(f"{section.path}: there is no such network under the top-level networks")
        aliases = section.text_list("aliases")
        section.reject_unread({"ipv4_address": "addresses come from the cluster; remove it"})
        result.append({"Target": networks[key], "Aliases": [*aliases, name]})
    return sorted(result, key=lambda item: str(item["Target"]))
