"""Requests about volumes."""

from tests.support.request_table.row import delete, filters, get, post

ROWS = (
    get("/volumes", "none yet"),
    post("/volumes/create", {"Name": "vol-a", "Labels": {"tier": "data"}}),
    post("/volumes/create", {"Name": "vol-a"}, "again: the same volume"),
    post("/volumes/create", {}, "a name is made", save={"anonymous": "Name"}),
    post(
        "/volumes/create",
        {"Name": "vol-b", "Driver": "local", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}},
    ),
    post(
        "/volumes/create",
        {"Name": "vol-b", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=2m"}},
        "other options",
    ),
    post("/volumes/create", {"Name": "vol-c", "DriverOpts": {"wrong": "x"}}, "unknown option"),
    post("/volumes/create", {"Name": "vol-c", "DriverOpts": {"type": "nfs"}}, "type without device"),
    post("/volumes/create", {"Name": "vol-c", "DriverOpts": {"o": "x"}}, "o without device"),
    post("/volumes/create", {"Name": "a/b"}, "bad name"),
    post("/volumes/create", {"Name": "x"}, "name of one letter"),
    post("/volumes/create", {"Name": 3}, "name of a wrong type"),
    get("/volumes"),
    get("/volumes", "name", query=filters(name=["vol-a"])),
    get("/volumes", "label", query=filters(label=["tier=data"])),
    get("/volumes", "driver", query=filters(driver=["none"])),
    get("/volumes", "dangling", query=filters(dangling=["true"])),
    get("/volumes", "dangling that is no boolean", query=filters(dangling=["maybe"])),
    get("/volumes", "unknown filter", query=filters(wrong=["a"])),
    get("/volumes/vol-a"),
    get("/volumes/vol-b"),
    get("/volumes/none"),
    delete("/volumes/none"),
    delete("/volumes/none", "force", query={"force": "1"}),
    delete("/volumes/vol-b"),
    delete("/volumes/{anonymous}"),
    post("/volumes/prune", None, "label", query=filters(label=["none"])),
    post("/volumes/prune", None, "label!", query=filters(**{"label!": ["tier=data"]})),
    post("/volumes/prune", None, "unknown filter", query=filters(wrong=["a"])),
    post("/volumes/prune", None, "named volumes too, before API 1.42"),
    get("/volumes/vol-a", "pruned"),
)
