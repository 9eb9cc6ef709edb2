"""Parsers of list flags of services: secrets, configs, networks, ports, hosts, ulimits. Pure."""

from typing import Any

from cli.parse.key_values import parse_fields
from covey.errors import InvalidArgumentError

SpecPart = dict[str, Any]
_FILE = {name: name for name in ("target", "uid", "gid", "mode")} | {"source": "source", "src": "source"}


def parse_file_reference(text: str, kind: str, identifier: dict[str, str]) -> SpecPart:
    """A secret or config reference from ``NAME`` or ``source=,target=,uid=,gid=,mode=``; ``identifier`` maps names to ids.

    Raises:
        InvalidArgumentError: a field is misplaced, or the object does not exist.
    """
    values = parse_fields(text, kind.lower(), _FILE, bare="source")
    source = values.get("source", "")
    if not source:
        raise InvalidArgumentError(f"--{kind.lower()} {text}: source is required")
    if source not in identifier:
        raise InvalidArgumentError(f"{kind.lower()} not found: {source}")
    try:
        mode = int(values.get("mode", "0444"), 8)
    except ValueError:
        raise InvalidArgumentError(f"--{kind.lower()} {text}: mode must be octal, such as 0440") from None
    file = {
        "Name": values.get("target", source),
        "UID": values.get("uid", "0"),
        "GID": values.get("gid", "0"),
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


def parse_placement_preference(text: str) -> SpecPart:
    """A placement preference from ``spread=LABEL``."""
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
    """A ulimit from ``NAME=SOFT[:HARD]``."""
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise InvalidArgumentError(f"--ulimit {text}: write NAME=SOFT[:HARD]") from None


def parse_generic_resource(text: str) -> SpecPart:
    """A generic resource from ``KIND=COUNT``."""
    kind, _, count = text.partition("=")
    try:
        return {"DiscreteResourceSpec": {"Kind": kind, "Value": int(count)}}
    except ValueError:
        raise InvalidArgumentError(f"--generic-resource {text}: write KIND=COUNT") from None
