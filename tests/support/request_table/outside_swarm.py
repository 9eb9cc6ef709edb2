"""Requests about the cluster to a host that is in none."""

from tests.support.request_table.row import ANY, delete, get, post

ROWS = (
    get("/swarm"),
    get("/nodes"),
    get("/nodes/none"),
    delete("/nodes/none"),
    get("/services"),
    get("/services/none"),
    post("/services/create", {"Name": "web"}),
    delete("/services/none"),
    get("/tasks"),
    get("/tasks/none"),
    get("/secrets"),
    post("/secrets/create", {"Name": "s", "Data": "YQ=="}),
    get("/configs"),
    post("/configs/create", {"Name": "c", "Data": "YQ=="}),
    get("/swarm/unlockkey"),
    post("/swarm/unlock", {"UnlockKey": "SWMKEY-1-wrong"}),
    post("/swarm/leave", None),
    post("/swarm/update", {}, query={"version": "1"}),
    post("/swarm/update", {}, "no version"),
    post("/swarm/join", {}, "nothing given"),
    post(
        "/swarm/join",
        {"ListenAddr": "0.0.0.0:2377", "RemoteAddrs": ["127.0.0.1:1"], "JoinToken": "wrong"},
        "bad token",
        message=ANY,
    ),
    post("/swarm/init", {"ListenAddr": "300.0.0.1:2377"}, "bad address", message=ANY),
    post(
        "/swarm/init",
        {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "{address}", "Availability": "wrong"},
        "unknown availability",
    ),
    post("/swarm/init", {"AdvertiseAddr": "{address}", "DefaultAddrPool": ["wrong"]}, "bad address pool", message=ANY),
    post("/swarm/init", {"AdvertiseAddr": "{address}", "DataPathPort": 80}, "data path port out of range", message=ANY),
)
