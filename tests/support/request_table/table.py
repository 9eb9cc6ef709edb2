"""The whole request table: its files in the order in which they are replayed."""

from collections.abc import Iterator

from tests.support.request_table import (
    bad_input,
    container_ports,
    containers,
    containers_missing,
    images,
    networks,
    nodes,
    outside_swarm,
    secrets,
    service_ports,
    services,
    swarm,
    system,
    unknown_drivers,
    volumes,
)
from tests.support.request_table.row import Row

TABLE: dict[str, tuple[Row, ...]] = {
    "system": system.ROWS,
    "images": images.ROWS,
    "containers-missing": containers_missing.ROWS,
    "containers": containers.ROWS,
    "container-ports": container_ports.ROWS,
    "volumes": volumes.ROWS,
    "networks": networks.ROWS,
    "bad-input": bad_input.OUTSIDE_SWARM,
    "outside-swarm": outside_swarm.ROWS,
    "swarm": swarm.ROWS,
    "nodes": nodes.ROWS,
    "secrets": secrets.ROWS,
    "bad-input-in-a-swarm": bad_input.INSIDE_SWARM,
    "service-ports": service_ports.ROWS,
    "services": services.ROWS,
}

BESIDE: dict[str, tuple[Row, ...]] = {
    "unknown-volume-driver": unknown_drivers.VOLUMES,
    "unknown-network-driver": unknown_drivers.NETWORKS,
    "unknown-log-driver": unknown_drivers.CONTAINERS,
}
"""Rows that take long and change nothing, each file replayed at the same time as the table."""


def name_of(concept: str, row: Row) -> str:
    """The row's name in the list of differences."""
    return f"{concept}: {row.title}"


def named_rows() -> list[tuple[str, Row]]:
    """Every row with its name, in the order of ``titled_rows``."""
    return [(name_of(concept, row), row) for concept, rows in (TABLE | BESIDE).items() for row in rows]


def titled_rows() -> Iterator[tuple[str, Row]]:
    """Every row with a unique title for its test."""
    for concept, rows in (TABLE | BESIDE).items():
        for number, row in enumerate(rows, 1):
            yield f"{concept}-{number:03} {row.title}", row
