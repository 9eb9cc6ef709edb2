"""Requests about published ports of containers outside a swarm: what is shown of those that do not run, and specifications that are refused.

Docker's engine on a lab host translates no ports, so `tests/e2e/test_published_ports.py` alone holds conflicts and what running containers
show.
"""

from typing import Any

from tests.support.request_table.row import Row, delete, filters, get, post

WAIT = {"Image": "covey-test:1", "Cmd": ["sleep", "1000"], "StopSignal": "SIGKILL"}


def made(name: str, note: str, bindings: Any = None, *, message: str = "", **fields: Any) -> Row:
    """A container that is created with these bindings, or refused."""
    host = {"PortBindings": bindings, **fields.pop("host", {})}
    body = {**WAIT, "HostConfig": {key: value for key, value in host.items() if value is not None}, **fields}
    return post("/containers/create", body, note, query={"name": name}, message=message)


def on(port: str, address: str = "") -> list[dict[str, str]]:
    return [{"HostIp": address, "HostPort": port}]


SHOWN = (
    made("open", "published ports", {"80/tcp": on("28180"), "53/udp": on("28153", "127.0.0.1")}, ExposedPorts={"90/tcp": {}}),
    get("/containers/open/json", "published, before its start"),
    get("/containers/json", "published, not running", query=filters(publish=["28180"])),
    get("/containers/json", "published, no port", query=filters(publish=["wrong"])),
    delete("/containers/open", "published ports"),
    made("open", "range", {"80/tcp": on("28180-28182")}),
    get("/containers/open/json", "range"),
    delete("/containers/open", "range"),
    made("open", "all exposed ports", None, host={"PublishAllPorts": True}, ExposedPorts={"80/tcp": {}, "53/udp": {}}),
    get("/containers/open/json", "all exposed ports"),
    delete("/containers/open", "all exposed ports"),
    made("open", "two bindings", {"80/tcp": [*on("28183", "127.0.0.1"), *on("")]}),
    get("/containers/open/json", "two bindings"),
    delete("/containers/open", "two bindings"),
    *(
        row
        for mode in ("host", "none")
        for row in (
            made("open", f"ports on the network {mode}", {"80/tcp": on("28184")}, host={"NetworkMode": mode}),
            post("/containers/open/start", None, f"ports on the network {mode}"),
            get("/containers/open/json", f"ports on the network {mode}"),
            delete("/containers/open", f"ports on the network {mode}", query={"force": "1"}),
        )
    ),
)  # fmt: skip

REFUSED = (
    made("bad-1", "port that is none", {"x/tcp": on("28190")}),
    made("bad-2", "port above 65535", {"70000/tcp": on("28190")}),
    made("bad-3", "port 0", {"0/tcp": on("28190")}),
    made("bad-4", "unknown protocol", {"80/abc": on("28190")}),
    made("odd", "port without a protocol", {"81": on("28190")}),
    delete("/containers/odd", "port without a protocol"),
    made("bad-5", "host port that is none", {"80/tcp": on("abc")}),
    made("bad-6", "host port above 65535", {"80/tcp": on("70000")}),
    made("bad-7", "host range that is none", {"80/tcp": on("28190-28180")}),
    made("bad-8", "address that is none", {"80/tcp": on("28190", "300.1.1.1")}),
    made("bad-9", "exposed port that is none", None, ExposedPorts={"x/tcp": {}}),
    made("bad-10", "exposed unknown protocol", None, ExposedPorts={"80/abc": {}}),
    made("bad-11", "bindings of a wrong type", [1]),
    made("bad-12", "host port as a number", {"80/tcp": [{"HostPort": 80}]}),
    made("bad-13", "ports of another container's network", {"80/tcp": on("28190")}, host={"NetworkMode": "container:bad-9"}),
    made("bad-14", "exposed ports of another container's network", None, host={"NetworkMode": "container:bad-9"}, ExposedPorts={"80/tcp": {}}),
)  # fmt: skip

ACCEPTED_BY_DOCKER = tuple(delete(f"/containers/bad-{number}", "bad port") for number in (3, 4, 8))

ROWS = (*SHOWN, *REFUSED, *ACCEPTED_BY_DOCKER)
