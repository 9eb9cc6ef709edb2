"""The text of ``inspect --pretty`` for nodes, secrets and configs. Pure."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from cli.format.units import go_time, human_binary_size
from cli.pretty.lines import Line, label_lines, text

Item = Mapping[str, Any]


def secret(item: Item) -> str:
    """A secret, without its content."""
    spec = item["Spec"]
    return text(
        [
            (0, "ID", item["ID"]),
            (0, "Name", spec["Name"]),
            *label_lines(spec.get("Labels")),
            (0, "Created at", go_time(item["CreatedAt"])),
            (0, "Updated at", go_time(item["UpdatedAt"])),
        ]
    )


def config(item: Item) -> str:
    """A config with its content; bytes that are no UTF-8 are replaced."""
    data = base64.b64decode(item["Spec"].get("Data") or "").decode(errors="replace")
    return f"{secret(item)}Data:\n{data}\n"


def node(item: Item) -> str:
    spec, status, about = item["Spec"], item["Status"], item["Description"]
    manager, platform, resources = item.get("ManagerStatus"), about.get("Platform") or {}, about.get("Resources") or {}
    engine = about.get("Engine") or {}
    lines: list[Line] = [
        (0, "ID", item["ID"]),
        (0, "Name", spec.get("Name")),
        *label_lines(spec.get("Labels")),
        (0, "Hostname", about.get("Hostname")),
        (0, "Joined at", go_time(item["CreatedAt"])),
        (0, "Status:", None),
        (1, "State", status.get("State", "").capitalize()),
        (1, "Message", status.get("Message")),
        (1, "Availability", spec["Availability"].capitalize()),
        (1, "Address", status.get("Addr")),
    ]
    if manager:
        lines += [
            (0, "Manager Status:", None),
            (1, "Address", manager.get("Addr")),
            (1, "Raft Status", manager.get("Reachability", "").capitalize()),
            (1, "Leader", "Yes" if manager.get("Leader") else "No"),
        ]
    lines += [
        (0, "Platform:", None),
        (1, "Operating System", platform.get("OS")),
        (1, "Architecture", platform.get("Architecture")),
        (0, "Resources:", None),
        (1, "CPUs", resources.get("NanoCPUs", 0) // 1_000_000_000),
        (1, "Memory", human_binary_size(resources.get("MemoryBytes", 0))),
        *_plugins(engine.get("Plugins") or []),
        (0, "Engine Version", engine.get("EngineVersion")),
        *label_lines(engine.get("Labels"), title="Engine Labels:"),
        *_tls(about.get("TLSInfo") or {}),
    ]
    return text(lines)


def _plugins(plugins: Iterable[Item]) -> list[Line]:
    by_kind: dict[str, list[str]] = {}
    for plugin in plugins:
        by_kind.setdefault(plugin["Type"], []).append(plugin["Name"])
    lines: list[Line] = [(1, kind, ", ".join(names)) for kind, names in sorted(by_kind.items())]
    return ["Plugins:", *lines] if lines else []


def _tls(tls: Item) -> list[Line]:
    if not tls.get("TrustRoot"):
        return []
    return [
        "TLS Info:",
        " TrustRoot:",
        tls["TrustRoot"],
        (1, "Issuer Subject", tls.get("CertIssuerSubject")),
        (1, "Issuer Public Key", tls.get("CertIssuerPublicKey")),
    ]
