"""Requests that name drivers which do not exist. Docker looks for them for 15 s each, so these rows are replayed beside the others."""

from tests.support.request_table.row import post

VOLUMES = (post("/volumes/create", {"Name": "plugged", "Driver": "none"}, "unknown volume driver"),)
NETWORKS = (post("/networks/create", {"Name": "plugged", "Driver": "missing"}, "unknown network driver"),)
CONTAINERS = (
    post(
        "/containers/create",
        {"Image": "covey-test:1", "Cmd": ["true"], "HostConfig": {"LogConfig": {"Type": "wrong"}}},
        "unknown log driver",
        query={"name": "unlogged"},
    ),
)
