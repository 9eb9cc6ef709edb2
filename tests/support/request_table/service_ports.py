"""Requests about published ports of services: modes, protocols, numbers, conflicts, updates."""

from typing import Any

from tests.support.request_table.row import Row, delete, get, post

NONE_RUN = {"Mode": {"Replicated": {"Replicas": 0}}}


def spec(name: str, *ports: Any, **endpoint: Any) -> dict[str, Any]:
    container = {"Image": "{image}", "Command": ["sleep", "1000000"]}
    fields = {"Ports": list(ports), **endpoint}
    return {"Name": name, "TaskTemplate": {"ContainerSpec": container}, "EndpointSpec": fields, **NONE_RUN}


def made(
    name: str, note: str, *ports: Any, message: str = "", save: dict[str, str] | None = None, **endpoint: Any
) -> Row:
    return post("/services/create", spec(name, *ports, **endpoint), note, message=message, save=save or {})


def port(
    target: Any = None, published: Any = None, protocol: Any = None, mode: Any = None, **more: Any
) -> dict[str, Any]:
    fields = {"TargetPort": target, "PublishedPort": published, "Protocol": protocol, "PublishMode": mode, **more}
    return {name: value for name, value in fields.items() if value is not None}


OWNED = r"port '28280' is already in use by service 'shop' \(\S+\) as an ingress port$"

ROWS = (
    made("shop", "ports in both modes", port(80, 28280), port(81, 28281, mode="host"), port(82, protocol="udp")),
    get("/services/shop", "ports in both modes", until=("Endpoint.Ports.0.PublishedPort", 28280), save={"shop": "Version.Index"}),
    made("twin", "ingress port in use", port(80, 28280), message=OWNED),
    made("twin", "same port, another protocol", port(80, 28280, "udp")),
    delete("/services/twin", "same port, another protocol"),
    made("twin", "host port in use by ingress", port(80, 28280, mode="host"), message=OWNED),
    made("twin", "host port of another service in mode host", port(81, 28281, mode="host")),
    delete("/services/twin", "host port of another service in mode host"),
    made("twin", "port in both modes of one service", port(80, 28290), port(80, 28290, mode="host")),
    delete("/services/twin", "port in both modes of one service"),
    made("twin", "one target at two ports", port(80, 28290), port(80, 28291)),
    delete("/services/twin", "one target at two ports"),
    made("bad-1", "unknown protocol", port(80, 28301, "abc")),
    made("bad-2", "unknown publish mode", port(80, 28302, mode="abc")),
    made("bad-3", "no target", port(None, 28303)),
    made("bad-4", "target of zero", port(0, 28304)),
    made("bad-5", "target above 65535", port(70000, 28305)),
    made("bad-9", "published above 65535", port(80, 70000)),
    made("bad-6", "negative port", port(-1, 28306)),
    made("bad-7", "port as a string", port("80", 28307)),
    made("bad-10", "ports of a wrong type", 80),
    made("bad-8", "ingress ports with dnsrr", port(80, 28308), Mode="dnsrr"),
    made("direct", "host ports with dnsrr", port(80, 28290, mode="host"), Mode="dnsrr"),
    get("/services/direct", "host ports with dnsrr", until=("Endpoint.Spec.Mode", "dnsrr")),
    delete("/services/direct"),
    made("named", "name of a port", port(80, 28292, Name="front")),
    get("/services/named", "name of a port", until=("Endpoint.Ports.0.PublishedPort", 28292)),
    delete("/services/named"),
    made("web2", "to be updated", port(80, 28293)),
    get("/services/web2", "to be updated", until=("Endpoint.Ports.0.PublishedPort", 28293), save={"web2": "Version.Index"}),
    post("/services/web2/update", spec("web2", port(80, 28280)), "port of another service", query={"version": "{web2}"}, message=OWNED),
    post("/services/web2/update", spec("web2", port(80, 28294)), "another port", query={"version": "{web2}"}),
    get("/services/web2", "another port", until=("Endpoint.Ports.0.PublishedPort", 28294)),
    delete("/services/web2"),
    delete("/services/shop"),
    *(delete(f"/services/bad-{number}", "bad port") for number in (1, 2, 3, 4, 5, 9)),
)  # fmt: skip
