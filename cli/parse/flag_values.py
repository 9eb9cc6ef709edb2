"""Parsers of list flags of services: secrets, configs, mounts, networks, ports, hosts, ulimits. Pure."""

from typing import Any

from cli.parse.key_values import parse_bool, parse_fields
from cli.parse.quantities import parse_bytes
from covey.errors import InvalidArgumentError

SpecPart = dict[str, Any]
_FILE = {name: name for name in ("target", "uid", "gid", "mode")} | {"source": "source", "src": "source"}
_MOUNT = {
    **dict.fromkeys(("source", "src"), "source"),
    **dict.fromkeys(("target", "dst", "destination"), "target"),
    **dict.fromkeys(("readonly", "ro"), "readonly"),
    **{
        name: name
        for name in ("type", "bind-propagation", "volume-driver", "volume-label", "volume-opt", "volume-nocopy")
    },
    **{name: name for name in ("tmpfs-size", "tmpfs-mode", "consistency")},
}
_REPEATED = ("volume-label", "volume-opt")


def parse_file_reference(text: str, kind: str, identifier: dict[str, str]) -> SpecPart:
    """A secret or config reference from ``NAME`` or ``source=,target=,uid=,gid=,mode=``; ``identifier`` maps names to ids.

    Raises:
        InvalidArgumentError: a field is wrong, or the object does not exist.
    """
    given = parse_fields(text, kind.lower(), _FILE, bare="source")
    source = given.get("source", "")
    if not source:
        raise InvalidArgumentError(f"--{kind.lower()} {text}: source is required")
    if source not in identifier:
        raise InvalidArgumentError(f"{kind.lower()} not found: {source}")
    try:
        mode = int(given.get("mode", "0444"), 8)
    except ValueError:
        raise InvalidArgumentError(f"--{kind.lower()} {text}: mode must be octal, such as 0440") from None
    file = {
        "Name": given.get("target", source),
        "UID": given.get("uid", "0"),
        "GID": given.get("gid", "0"),
        "Mode": mode,
    }
    return {"File": file, f"{kind}ID": identifier[source], f"{kind}Name": source}


def parse_network(text: str, identifier: dict[str, str]) -> SpecPart:
    """A network attachment from ``NAME`` or ``name=,alias=,driver-opt=``. The daemon refuses unknown names."""
    target = ""
    aliases: list[str] = []
    options: dict[str, str] = {}
    if "=" not in text:
        target = text
    else:
        for part in text.split(","):
            key, _, value = part.partition("=")
            if key == "name":
                target = value
            elif key == "alias":
                aliases.append(value)
            elif key == "driver-opt":
                options.update([value.partition("=")[::2]])
            else:
                raise InvalidArgumentError(f"--network {text}: unknown field {key!r}; use name, alias, driver-opt")
    if not target:
        raise InvalidArgumentError(f"--network {text}: name is required")
    result: SpecPart = {"Target": identifier.get(target, target)}
    if aliases:
        result["Aliases"] = aliases
    if options:
        result["DriverOpts"] = options
    return result


def parse_mount(text: str) -> SpecPart:
    """A mount from ``type=bind,source=/a,target=/b,readonly``."""
    given, repeated = _mount_fields(text)
    kind, target = given.get("type", "volume"), given.get("target", "")
    if not target:
        raise InvalidArgumentError(f"--mount {text}: target is required")
    result: SpecPart = {"Type": kind, "Target": target}
    if given.get("source"):
        result["Source"] = given["source"]
    elif kind == "bind":
        raise InvalidArgumentError(f"--mount {text}: a bind mount needs a source, a path on the host")
    if parse_bool(given.get("readonly", "false"), "readonly"):
        result["ReadOnly"] = True
    if given.get("consistency"):
        result["Consistency"] = given["consistency"]
    result.update(_mount_options(text, kind, given, repeated))
    return result


def _mount_fields(text: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    given: dict[str, str] = {}
    repeated: dict[str, dict[str, str]] = {name: {} for name in _REPEATED}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        name = _MOUNT.get(key.lower())
        if name is None:
            raise InvalidArgumentError(f"--mount {text}: unknown field {key!r}; use {', '.join(sorted(set(_MOUNT)))}")
        if name in _REPEATED:
            inner, _, rest = value.partition("=")
            repeated[name][inner] = rest
        else:
            given[name] = value if separator else "true"
    return given, repeated


def _mount_options(text: str, kind: str, given: dict[str, str], repeated: dict[str, dict[str, str]]) -> SpecPart:
    for prefix in ("bind", "volume", "tmpfs"):
        wrong = [name for name in (*given, *(n for n, v in repeated.items() if v)) if name.startswith(f"{prefix}-")]
        if wrong and kind != prefix:
            raise InvalidArgumentError(
                f"--mount {text}: {wrong[0]} is only valid with type={prefix}, not with type={kind}"
            )
    if "bind-propagation" in given:
        return {"BindOptions": {"Propagation": given["bind-propagation"]}}
    volume: SpecPart = {}
    if parse_bool(given.get("volume-nocopy", "false"), "volume-nocopy"):
        volume["NoCopy"] = True
    if repeated["volume-label"]:
        volume["Labels"] = repeated["volume-label"]
    driver = {"Name": given.get("volume-driver", ""), "Options": repeated["volume-opt"]}
    if any(driver.values()):
        volume["DriverConfig"] = {key: value for key, value in driver.items() if value}
    tmpfs: SpecPart = {}
    if "tmpfs-size" in given:
        tmpfs["SizeBytes"] = parse_bytes(given["tmpfs-size"])
    if "tmpfs-mode" in given:
        tmpfs["Mode"] = int(given["tmpfs-mode"], 8)
    return {**({"VolumeOptions": volume} if volume else {}), **({"TmpfsOptions": tmpfs} if tmpfs else {})}


def parse_port(text: str) -> SpecPart:
    """A published port from ``8080:80/tcp``, ``80`` or ``published=,target=,protocol=,mode=``."""
    if "=" in text:
        known = {name: name for name in ("published", "target", "protocol", "mode")}
        given = parse_fields(text, "publish", known)
    else:
        numbers, _, protocol = text.partition("/")
        published, _, target = numbers.rpartition(":")
        given = {"published": published, "target": target, "protocol": protocol or "tcp"}
    try:
        result: SpecPart = {
            "TargetPort": int(given["target"]),
            "Protocol": given.get("protocol", "tcp"),
            "PublishMode": given.get("mode", "ingress"),
        }
        if given.get("published"):
            result["PublishedPort"] = int(given["published"])
    except (KeyError, ValueError):
        raise InvalidArgumentError(f"--publish {text}: write PUBLISHED:TARGET[/PROTOCOL], such as 8080:80") from None
    return result


def parse_placement_preference(text: str) -> SpecPart:
    strategy, _, descriptor = text.partition("=")
    if strategy.lower() != "spread" or not descriptor:
        raise InvalidArgumentError(f"--placement-pref {text}: write spread=LABEL, the only strategy")
    return {"Spread": {"SpreadDescriptor": descriptor}}


def parse_host(text: str) -> str:
    """A line of /etc/hosts from ``HOST:IP``."""
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name or not address:
        raise InvalidArgumentError(f"--host {text}: write HOST:IP")
    return f"{address.strip('[]')} {name}"


def parse_ulimit(text: str) -> SpecPart:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise InvalidArgumentError(f"--ulimit {text}: write NAME=SOFT[:HARD]") from None


def parse_generic_resource(text: str) -> SpecPart:
    kind, _, count = text.partition("=")
    try:
        return {"DiscreteResourceSpec": {"Kind": kind, "Value": int(count)}}
    except ValueError:
        raise InvalidArgumentError(f"--generic-resource {text}: write KIND=COUNT") from None
