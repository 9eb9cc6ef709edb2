"""Rows whose difference is not mended yet, by name. Such a row may differ or agree; the list only shrinks."""

NAMES: frozenset[str] = frozenset(
    (
        "system: GET /version",
        "system: GET /v1.24/version (oldest API version)",
        "containers: POST /containers/create (storage option)",
        "containers: GET /containers/life/logs (stdout)",
        "containers: GET /containers/life/stats (once)",
        "containers: GET /containers/life/stats (one shot)",
        "containers: GET /containers/life/stats (stopped)",
        "containers: GET /containers/life/logs (stopped)",
        "outside-swarm: POST /swarm/join (nothing given)",
        "outside-swarm: POST /swarm/join (bad token)",
        "outside-swarm: POST /swarm/init (unknown availability)",
        "outside-swarm: POST /swarm/init (data path port out of range)",
        "swarm: POST /swarm/update (bad ticks)",
        "services: GET /services/full (every field)",
        "services: GET /services/full (every field, defaults)",
    )
)
