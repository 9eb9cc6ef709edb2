"""One service of a manifest as a ServiceSpec, as Docker's own conversion makes it. Pure."""

import shlex
from collections.abc import Mapping
from typing import Any

from cli.service.capabilities import effective
from cli.stack.deployment import deployment, restart_policy
from cli.stack.model import IMAGE_LABEL, NAMESPACE_LABEL
from cli.stack.mounts import Paths, mounts
from cli.stack.section import Section
from covey.errors import InvalidArgumentError

DEFAULT_FILE_MODE = 0o444
HINTS = {
    "build": "build the image first, then name it with image",
    "depends_on": "services start together; let them retry, and remove it",
    "ports": "published ports are not there yet; remove it and reach the service by its name on an overlay network",
    "container_name": "tasks get their names from the service; remove it",
    "network_mode": "attach the service to networks instead",
    "links": "services on one network reach each other by name; remove it",
    "external_links": "attach the service to an external network instead",
    "privileged": "services run without extra privileges; use cap_add",
    "devices": "devices are not there yet; remove it",
    "security_opt": "services run with the default profiles; remove it",
    "logging": "containers log to json files; remove it",
    "restart": "use deploy.restart_policy",
    "profiles": "all services of a stack are deployed; remove it",
    "extends": "write the service out",
    "volumes_from": "name the volumes",
    "scale": "use deploy.replicas",
    "mem_limit": "use deploy.resources.limits.memory",
    "cpus": "use deploy.resources.limits.cpus",
    "pids_limit": "use deploy.resources.limits.pids",
}
Values = dict[str, Any]


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
    paths: Paths,
) -> dict[str, Any]:
    """The spec; networks, secrets and configs map the manifest's keys to real names.

    ``environment`` holds the service's variables with those of its files; None is a name without a value.

    Raises:
        UnsupportedError: a key without a meaning here, by its path.
        InvalidArgumentError: a wrong value, by its path.
    """
    image = service.text("image")
    if not image:
        raise InvalidArgumentError(f"{service.where('image')} is missing: a service runs an image")
    deploy = deployment(service.section("deploy"))
    namespace = {NAMESPACE_LABEL: stack}
    container = {
        "Image": image,
        "Command": command(service, "entrypoint"),
        "Args": command(service, "command"),
        "Env": sorted(key if value is None else f"{key}={value}" for key, value in environment.items()),
        "Labels": {**service.text_map("labels"), **namespace},
        "Mounts": mounts(stack, service, volumes, paths),
        "Secrets": file_references(service, "secrets", secrets),
        "Configs": file_references(service, "configs", configs),
        **_process(service),
        **_limits(service),
    }
    for key in ("environment", "env_file", "expose"):
        service.raw(key)  # read by the caller; ports within a network are open to it anyway
    attachments = attach(service, name, networks)
    policy = deploy.restart or restart_policy(service)
    service.done(HINTS)
    return {
        "Name": f"{stack}_{name}",
        "Labels": {**deploy.labels, IMAGE_LABEL: image, **namespace},
        "TaskTemplate": {
            "ContainerSpec": clean(container),
            "Resources": deploy.resources or {},
            "Placement": deploy.placement or {},
            **clean({"RestartPolicy": policy, "Networks": attachments}),
        },
        **clean({"UpdateConfig": deploy.update, "RollbackConfig": deploy.rollback}),
        "EndpointSpec": clean({"Mode": deploy.endpoint_mode}),
        "Mode": deploy.mode,
    }


def clean(values: Values) -> Values:
    """Without what says nothing: None, and empty texts, lists and mappings."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", [], {})}


def command(service: Section, key: str) -> list[str]:
    """A list of words, or a text split as a shell would."""
    value = service.raw(key)
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError as error:
            raise InvalidArgumentError(f"{service.where(key)}: {error}") from error
    return service.texts(key)


def _process(service: Section) -> Values:
    """How the process runs: who, where, with what terminal, and how it ends."""
    return {
        "Hostname": service.text("hostname"),
        "Dir": service.text("working_dir"),
        "User": service.text("user"),
        "TTY": service.flag("tty") or None,
        "OpenStdin": service.flag("stdin_open") or None,
        "ReadOnly": service.flag("read_only") or None,
        "Init": service.flag("init"),
        "StopSignal": service.text("stop_signal"),
        "StopGracePeriod": service.span("stop_grace_period"),
        "Healthcheck": health(service.section("healthcheck")) if service.has("healthcheck") else None,
        "Hosts": hosts(service),
        "DNSConfig": clean(
            {
                "Nameservers": service.texts("dns", one=True),
                "Search": service.texts("dns_search", one=True),
                "Options": service.texts("dns_opt"),
            }
        ),
    }


def _limits(service: Section) -> Values:
    add, drop = effective(service.texts("cap_add"), service.texts("cap_drop"))
    return {
        "CapabilityAdd": add,
        "CapabilityDrop": drop,
        "Ulimits": ulimits(service.section("ulimits")),
        "Sysctls": service.text_map("sysctls"),
    }


def hosts(service: Section) -> list[str]:
    """``name:address``, or a mapping, as the lines of a hosts file."""
    if isinstance(service.raw("extra_hosts"), dict):
        listed = sorted(f"{name}:{address}" for name, address in service.text_map("extra_hosts").items())
    else:
        listed = service.texts("extra_hosts")
    result = []
    for item in listed:
        name, separator, address = item.partition("=" if "=" in item else ":")
        if not separator or not name or not address:
            raise InvalidArgumentError(f"{service.where('extra_hosts')}: {item!r} must be NAME:ADDRESS")
        result.append(f"{address.strip('[]')} {name}")
    return result


def health(section: Section) -> Values:
    """The check; ``disable`` turns off the image's own."""
    test = section.raw("test")
    words = ["CMD-SHELL", test] if isinstance(test, str) else section.texts("test")
    disabled = section.flag("disable")
    result = clean(
        {
            "Test": words,
            "Interval": section.span("interval"),
            "Timeout": section.span("timeout"),
            "Retries": section.number("retries"),
            "StartPeriod": section.span("start_period"),
            "StartInterval": section.span("start_interval"),
        }
    )
    section.done()
    if not disabled:
        return result
    if words:
        raise InvalidArgumentError(f"{section.path}: test and disable cannot be used together")
    return {"Test": ["NONE"]}


def ulimits(section: Section) -> list[Values]:
    result = []
    for name in sorted(section.keys()):
        if isinstance(section.raw(name), dict):
            both = section.section(name)
            soft, hard = both.number("soft"), both.number("hard")
            both.done()
            if soft is None or hard is None:
                raise InvalidArgumentError(f"{both.path} needs soft and hard")
        else:
            soft = hard = section.number(name)
        result.append({"Name": name, "Soft": soft, "Hard": hard})
    return result


def file_references(service: Section, kind: str, known: Mapping[str, str]) -> list[Values]:
    """References of a service to secrets or configs, by real name; ids are put in when the cluster is asked."""
    word = kind.removesuffix("s").capitalize()
    result = []
    for item in service.sections(kind, lambda text, _: {"source": text}):
        source = item.text("source")
        if source not in known:
            raise InvalidArgumentError(f"{item.path} refers to {source!r}, which is not under the top-level {kind}")
        mode = item.number("mode")
        result.append(
            {
                "File": {
                    "Name": item.text("target") or source,
                    "UID": item.text("uid") or "0",
                    "GID": item.text("gid") or "0",
                    "Mode": DEFAULT_FILE_MODE if mode is None else mode,
                },
                f"{word}Name": known[source],
            }
        )
        item.done()
    return sorted(result, key=lambda reference: str(reference[f"{word}Name"]))


def attach(service: Section, name: str, networks: Mapping[str, str]) -> list[Values]:
    """The networks of a service, the stack's default one when it names none; its own name is always an alias."""
    value = service.raw("networks")
    wanted: dict[str, Any] = dict.fromkeys(service.texts("networks")) if isinstance(value, list) else dict(value or {})
    result = []
    for key, options in (wanted or {"default": None}).items():
        section = Section(options, f"{service.where('networks')}.{key}")
        if key not in networks:
            raise InvalidArgumentError(f"{section.path}: there is no such network under the top-level networks")
        aliases = section.texts("aliases")
        section.done({"ipv4_address": "addresses come from the cluster; remove it"})
        result.append({"Target": networks[key], "Aliases": [*aliases, name]})
    return sorted(result, key=lambda item: str(item["Target"]))
