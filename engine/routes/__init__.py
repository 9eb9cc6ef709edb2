"""Route table of the Engine API, one module per concept. The first match wins, so narrow patterns stand before wide ones."""

from engine.routes import (
    commit,
    container_create,
    container_files,
    container_lifecycle,
    container_streams,
    container_update,
    containers,
    events,
    execs,
    images,
    networks,
    node_images,
    nodes,
    registries,
    secrets,
    services,
    swarm,
    swarm_recovery,
    system,
    tasks,
    unsupported,
    volumes,
)
from engine.routing import RouteTable

TABLE = RouteTable(
    [
        *system.ROUTES,
        *events.ROUTES,
        *swarm.ROUTES,
        *swarm_recovery.ROUTES,
        *nodes.ROUTES,
        *node_images.ROUTES,
        *services.ROUTES,
        *tasks.ROUTES,
        *secrets.ROUTES,
        *networks.ROUTES,
        *volumes.ROUTES,
        *registries.ROUTES,
        *images.ROUTES,
        *commit.ROUTES,
        *container_create.ROUTES,
        *container_files.ROUTES,
        *container_update.ROUTES,
        *containers.ROUTES,
        *container_lifecycle.ROUTES,
        *container_streams.ROUTES,
        *execs.ROUTES,
        *unsupported.ROUTES,
    ]
)
