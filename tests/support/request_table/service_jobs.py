"""Requests about services that are jobs."""

from tests.support.request_table.row import get, post
from tests.support.request_table.service_bodies import spec

ROWS = (
    post(
        "/services/create",
        spec(
            "job",
            container={"Image": "{image}", "Command": ["true"]},
            Mode={"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}},
            task={"RestartPolicy": {"Condition": "none", "Delay": 1000000}},
        ),
        "job",
    ),
    get("/services/job", "job", save={"job_version": "Version.Index"}),
    post(
        "/services/job/update",
        spec(
            "job",
            container={"Image": "{image}", "Command": ["true"]},
            Mode={"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 3}},
            task={"RestartPolicy": {"Condition": "none", "Delay": 1000000}, "ForceUpdate": 1},
        ),
        "job",
        query={"version": "{job_version}"},
    ),
    get("/services/job", "job that runs again"),
    post(
        "/services/create",
        spec("each", container={"Image": "{image}", "Command": ["true"]}, Mode={"GlobalJob": {}}),
        "global job",
    ),
    get("/services/each", "global job"),
    get("/services/each", "global job with defaults", query={"insertDefaults": "true"}),
    post("/services/create", spec("count", Mode={"ReplicatedJob": {}}), "job without counts"),
    get("/services/count", "job without counts"),
    post(
        "/services/create",
        spec("never", Mode={"ReplicatedJob": {"MaxConcurrent": 0, "TotalCompletions": 3}}),
        "job that never runs",
    ),
    post(
        "/services/create",
        spec("back", Mode={"GlobalJob": {}}, RollbackConfig={"Parallelism": 1}),
        "job with a rollback config",
    ),
)
