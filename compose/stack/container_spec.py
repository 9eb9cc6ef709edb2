"""The container of a canonical service: the ``ContainerSpec`` of its spec. Pure."""

from collections.abc import Mapping
from typing import Any

from compose.stack.deploy_spec import duration, present
from compose.stack.labels import labelled
from compose.stack.mounts import service_mounts
from covey.capabilities import effective
from covey.errors import InvalidArgumentError

Values = Mapping[str, Any]
DEFAULT_FILE_MODE = 0o444


def container_spec(stack: str, service: Values, top: Values) -> dict[str, Any]:
    """The container, with names of secrets and configs where the daemon needs ids.

    Args:
        stack: the stack's name.
        service: the canonical service.
        top: the canonical stack, for volumes, secrets and configs.

    Raises:
        InvalidArgumentError: values that contradict each other, or an object that is not declared.
    """
    add, drop = effective(service.get("cap_add") or (), service.get("cap_drop") or ())
    values = {
        "Image": service.get("image", ""),
        "Labels": labelled(stack, service.get("labels")),
        "Command": service.get("entrypoint"),
        "Args": service.get("command"),
        "Hostname": service.get("hostname"),
        "Env": _environment(service.get("environment") or {}),
        "Dir": service.get("working_dir"),
        "User": service.get("user"),
        "Privileges": _privileges(stack, service.get("credential_spec"), top),
        "Init": service.get("init"),
        "StopSignal": service.get("stop_signal"),
        "TTY": service.get("tty"),
        "OpenStdin": service.get("stdin_open"),
        "ReadOnly": service.get("read_only"),
        "Mounts": service_mounts(stack, service, top.get("volumes") or {}),
        "StopGracePeriod": duration(service, "stop_grace_period"),
        "Healthcheck": _healthcheck(service.get("healthcheck")),
        "Hosts": [_host(line) for line in service.get("extra_hosts") or ()],
        "DNSConfig": present(
            {
                "Nameservers": service.get("dns"),
                "Search": service.get("dns_search"),
                "Options": service.get("dns_opt"),
            }
        ),
        "Groups": service.get("group_add"),
        "Secrets": file_references(stack, service.get("secrets") or (), top.get("secrets") or {}, "secret"),
        "Configs": file_references(stack, service.get("configs") or (), top.get("configs") or {}, "config"),
        "Isolation": service.get("isolation"),
        "OomScoreAdj": service.get("oom_score_adj"),
        "Sysctls": service.get("sysctls"),
        "CapabilityAdd": add,
        "CapabilityDrop": drop,
        "Ulimits": _ulimits(service.get("ulimits") or {}),
    }
    return {key: value for key, value in values.items() if value is not None and value not in ("", [], {})}


def _environment(variables: Values) -> list[str]:
    return sorted(key if value is None else f"{key}={value}" for key, value in variables.items())


def _host(line: str) -> str:
    """A line of /etc/hosts from ``NAME:ADDRESS``."""
    name, _, address = line.partition(":")
    return f"{address} {name}"


def _healthcheck(check: Values | None) -> dict[str, Any] | None:
    if check is None:
        return None
    if check.get("disable"):
        if check.get("test"):
            raise InvalidArgumentError("test and disable can't be set at the same time")
        return {"Test": ["NONE"]}
    values = {
        "Test": check.get("test"),
        "Interval": duration(check, "interval"),
        "Timeout": duration(check, "timeout"),
        "StartPeriod": duration(check, "start_period"),
        "StartInterval": duration(check, "start_interval"),
        "Retries": check.get("retries"),
    }
    return present(values)


def _ulimits(limits: Values) -> list[dict[str, Any]]:
    result = []
    for name in sorted(limits):
        value = limits[name]
        soft, hard = (value.get("soft", 0), value.get("hard", 0)) if isinstance(value, Mapping) else (value, value)
        result.append({"Name": name, "Soft": soft, "Hard": hard})
    return result


def file_references(stack: str, references: Any, declared: Values, word: str) -> list[dict[str, Any]]:
    """The references to secrets or configs, ordered by name.

    Raises:
        InvalidArgumentError: an object that is not declared.
    """
    kind = word.capitalize()
    result: list[dict[str, Any]] = []
    for item in references:
        source = item.get("source", "")
        name = object_name(stack, source, declared, word)
        file = {
            "Name": item.get("target") or source,
            "UID": item.get("uid") or "0",
            "GID": item.get("gid") or "0",
            "Mode": item.get("mode", DEFAULT_FILE_MODE),
        }
        if any(other["File"]["Name"] == file["Name"] for other in result):
            raise InvalidArgumentError(f"duplicate {word} target for {name} not allowed")
        result.append({"File": file, f"{kind}Name": name})
    return sorted(result, key=lambda reference: str(reference[f"{kind}Name"]))


def object_name(stack: str, key: str, declared: Values, word: str) -> str:
    """The name of a declared secret or config."""
    if key not in declared:
        raise InvalidArgumentError(f'undefined {word} "{key}"')
    name = (declared[key] or {}).get("name")
    return str(name) if name else f"{stack}_{key}"


def _privileges(stack: str, spec: Values | None, top: Values) -> dict[str, Any] | None:
    """The credential specification of Windows containers, which the daemon refuses by name."""
    if not spec:
        return None
    if len(spec) > 1:
        raise InvalidArgumentError("invalid credential spec: cannot specify more than one of config, file and registry")
    values: dict[str, Any] = {"Config": "", "File": "", "Registry": ""}
    for key, value in spec.items():
        values[key.capitalize()] = (
            object_name(stack, value, top.get("configs") or {}, "config") if key == "config" else value
        )
    return {"CredentialSpec": values}
