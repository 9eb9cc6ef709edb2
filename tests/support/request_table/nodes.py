"""Requests about nodes."""

from tests.support.request_table.row import delete, filters, get, post

SPEC = {"Role": "manager", "Availability": "active"}

ROWS = (
    get("/nodes"),
    get("/nodes", "role", query=filters(role=["manager"])),
    get("/nodes", "unknown role", query=filters(role=["wrong"])),
    get("/nodes", "membership", query=filters(membership=["accepted"])),
    get("/nodes", "unknown membership", query=filters(membership=["wrong"])),
    get("/nodes", "label", query=filters(label=["none"])),
    get("/nodes", "unknown filter", query=filters(wrong=["a"])),
    get("/nodes/self"),
    get("/nodes/{node}", save={"node_version": "Version.Index"}),
    get("/nodes/none"),
    post("/nodes/{node}/update", {**SPEC, "Labels": {"disk": "ssd"}}, query={"version": "{node_version}"}),
    get("/nodes/{node}", "with a label", save={"node_version": "Version.Index"}),
    post("/nodes/{node}/update", {**SPEC, "Labels": {}}, "labels removed", query={"version": "{node_version}"}),
    get("/nodes/{node}", "without labels", save={"node_version": "Version.Index"}),
    post(
        "/nodes/{node}/update",
        {"Role": "worker", "Availability": "active"},
        "demotion of the last manager",
        query={"version": "{node_version}"},
    ),
    post("/nodes/{node}/update", SPEC, "old version", query={"version": "1"}),
    post("/nodes/{node}/update", SPEC, "no version"),
    post(
        "/nodes/{node}/update",
        {"Role": "wrong", "Availability": "active"},
        "unknown role",
        query={"version": "{node_version}"},
    ),
    post(
        "/nodes/{node}/update",
        {"Role": "manager", "Availability": "wrong"},
        "unknown availability",
        query={"version": "{node_version}"},
    ),
    post("/nodes/{node}/update", {}, "no role", query={"version": "{node_version}"}),
    post("/nodes/none/update", SPEC, query={"version": "1"}),
    delete("/nodes/{node}", "ready"),
    delete("/nodes/{node}", "ready manager, force", query={"force": "1"}),
    delete("/nodes/none"),
)
