"""Table rows of secrets and configs."""

from collections.abc import Mapping
from typing import Any

from cli.format.table import Row
from cli.format.units import ago, parse_time

HEADERS = {
    "ID": "ID",
    "Name": "NAME",
    "Version": "VERSION",
    "Driver": "DRIVER",
    "CreatedAt": "CREATED",
    "UpdatedAt": "UPDATED",
    "Labels": "LABELS",
}
SECRET_TABLE = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}"  # noqa: S105
CONFIG_TABLE = "{{.ID}}\t{{.Name}}\t{{.CreatedAt}}\t{{.UpdatedAt}}"
CONFIG_HEADERS = {key: value for key, value in HEADERS.items() if key != "Driver"}


def with_versions(table: str) -> str:
    """The table with a column of versions."""
    return table.replace("{{.Name}}", "{{.Name}}\t{{.Version}}")


def secret_row(secret: Mapping[str, Any], now_ns: int) -> Row:
    return {**config_row(secret, now_ns), "Driver": (secret["Spec"].get("Driver") or {}).get("Name", "")}


def config_row(item: Mapping[str, Any], now_ns: int) -> Row:
    return {
        "ID": item["ID"],
        "Name": item["Spec"]["Name"],
        "Version": str((item.get("Rotation") or {"Version": 1})["Version"]),
        "CreatedAt": ago(parse_time(item["CreatedAt"]), now_ns),
        "UpdatedAt": ago(parse_time(item["UpdatedAt"]), now_ns),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted((item["Spec"].get("Labels") or {}).items())),
    }
