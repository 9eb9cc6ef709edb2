"""Requests about networks, outside a swarm."""

from typing import Any

from tests.support.request_table.row import Row, delete, filters, get, post

LABEL = {"table": "networks"}


def made(name: str, note: str, **fields: Any) -> Row:
    """A network of the host that is created, or refused."""
    labels = {} if "ConfigFrom" in fields else {"Labels": LABEL}
    return post("/networks/create", {"Name": name, "CheckDuplicate": True, **labels, **fields}, note)


def subnets(*configs: dict[str, Any]) -> dict[str, Any]:
    return {"IPAM": {"Config": list(configs)}}


def option(name: str, value: str) -> dict[str, Any]:
    return {"Options": {f"com.docker.network.{name}": value}}


def endpoint(**fields: Any) -> dict[str, Any]:
    return {"Container": "net-one", "EndpointConfig": fields}


CREATION = (
    made("fixed", "subnet, range, gateway, auxiliary address", **subnets({"Subnet": "10.91.0.0/24", "IPRange": "10.91.0.128/25", "Gateway": "10.91.0.1", "AuxiliaryAddresses": {"router": "10.91.0.9"}})),
    get("/networks/fixed", save={"fixed": "Id"}),
    get("/networks/{fixed}", "by ID"),
    made("fixed", "name in use"),
    made("other", "subnet in use", **subnets({"Subnet": "10.91.0.0/16"}) ),
    made("other", "host driver", Driver="host"),
    made("other", "null driver", Driver="null"),
    made("other", "ingress", Ingress=True),
    made("other", "scope of a swarm", Scope="swarm"),
    made("other", "bad subnet", **subnets({"Subnet": "bad"})),
    made("other", "gateway without a subnet", **subnets({"Gateway": "10.92.0.1"})),
    made("other", "gateway outside of its subnet", **subnets({"Subnet": "10.92.0.0/24", "Gateway": "10.93.0.1"})),
    made("other", "gateway that is none", **subnets({"Subnet": "10.92.0.0/24", "Gateway": "bad"})),
    made("other", "flag that is none", **option("bridge.enable_icc", "maybe")),
    made("other", "MTU that is none", **option("driver.mtu", "maybe")),
    made("other", "negative MTU", **option("driver.mtu", "-5")),
    made("other", "host binding that is none", **option("bridge.host_binding_ipv4", "abc")),
    made("other", "configuration that is not there", ConfigFrom={"Network": "missing"}),
    made("other", "configuration of a network that has none", ConfigFrom={"Network": "fixed"}),
    made("settings", "config only", ConfigOnly=True, Options={"a": "b"}, **subnets({"Subnet": "10.94.0.0/24"})),
    get("/networks/settings"),
    made("other", "options and a configuration", ConfigFrom={"Network": "settings"}, Options={"a": "b"}),
    made("other", "subnet and a configuration", ConfigFrom={"Network": "settings"}, **subnets({"Subnet": "10.95.0.0/24"})),
    made("other", "configuration of a configuration", ConfigFrom={"Network": "settings"}, ConfigOnly=True),
    made("other", "label and a configuration", ConfigFrom={"Network": "settings"}, Labels=LABEL),
    made("derived", "configuration", ConfigFrom={"Network": "settings"}),
    get("/networks/derived"),
    delete("/networks/settings", "in use"),
    delete("/networks/derived"),
    delete("/networks/settings"),
    made("unknown-option", "unknown option", Options={"x": "y"}, Internal=True, Attachable=True),
    get("/networks/unknown-option"),
    get("/networks", "label", query=filters(label=["table=networks"])),
    get("/networks", "driver of users", query=filters(driver=["bridge"], type=["custom"])),
    get("/networks", "ID", query=filters(id=["{fixed}"])),
    get("/networks", "dangling with some", query=filters(dangling=["1"])),
)  # fmt: skip

CONNECTION = (
    post("/containers/create", {"Image": "covey-test:1", "Cmd": ["sleep", "1000"], "StopSignal": "SIGKILL", "HostConfig": {"NetworkMode": "fixed"}, "NetworkingConfig": {"EndpointsConfig": {"fixed": {"IPAMConfig": {"IPv4Address": "10.91.0.200"}, "Aliases": ["db"]}}}}, "on a network", query={"name": "net-one"}),
    get("/containers/net-one/json", "before its start"),
    post("/networks/unknown-option/connect", endpoint(IPAMConfig={"IPv4Address": "10.99.0.9"}), "address without a subnet of the user"),
    post("/networks/bridge/connect", endpoint(Aliases=["x"]), "alias on the default bridge"),
    post("/networks/host/connect", {"Container": "net-one"}, "host"),
    post("/networks/none/connect", {"Container": "net-one"}, "none"),
    post("/containers/net-one/start", None, "on a network"),
    get("/containers/net-one/json", "on a network"),
    get("/networks/fixed", "with a container"),
    delete("/networks/fixed", "with a container"),
    post("/networks/fixed/connect", {"Container": "net-one"}, "again"),
    post("/networks/unknown-option/connect", endpoint(IPAMConfig={"IPv4Address": "10.99.0.9"}), "address without a subnet, running"),
    post("/networks/unknown-option/connect", endpoint(Aliases=["x"], Links=["net-one:zz"], DriverOpts={"a": "b"}), "running"),
    get("/containers/net-one/json", "on two networks"),
    post("/networks/unknown-option/disconnect", {"Container": "net-one"}, "running"),
    post("/networks/unknown-option/disconnect", {"Container": "net-one"}, "again"),
    post("/networks/unknown-option/disconnect", {"Container": "net-one", "Force": True}, "again by force"),
    post("/containers/create", {"Image": "covey-test:1", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "fixed"}, "NetworkingConfig": {"EndpointsConfig": {"fixed": {"IPAMConfig": {"IPv4Address": "10.91.0.200"}}}}}, "with an address in use", query={"name": "net-two"}),
    post("/containers/net-two/start", None, "with an address in use"),
    delete("/containers/net-two", "never started"),
    post("/containers/create", {"Image": "covey-test:1", "Cmd": ["true"], "HostConfig": {"NetworkMode": "fixed"}, "NetworkingConfig": {"EndpointsConfig": {"fixed": {"IPAMConfig": {"IPv4Address": "10.99.0.9"}}}}}, "with an address outside", query={"name": "net-two"}),
    post("/containers/net-two/start", None, "with an address outside"),
    delete("/containers/net-two", "never started with an address outside"),
    post("/networks/prune", None, "of a label", query=filters(label=["table=networks"])),
    delete("/containers/net-one", "on a network", query={"force": "1"}),
    delete("/networks/fixed"),
    delete("/networks/fixed", "again"),
)  # fmt: skip

ROWS = (
    get("/networks"),
    get("/networks", "driver", query=filters(driver=["bridge"])),
    get("/networks", "name", query=filters(name=["bri"])),
    get("/networks", "type", query=filters(type=["builtin"])),
    get("/networks", "type that is none", query=filters(type=["wrong"])),
    get("/networks", "scope", query=filters(scope=["swarm"])),
    get("/networks", "dangling", query=filters(dangling=["true"])),
    get("/networks", "dangling that is no boolean", query=filters(dangling=["maybe"])),
    get("/networks", "unknown filter", query=filters(wrong=["a"])),
    get("/networks/bridge", save={"bridge": "Id"}),
    get("/networks/{bridge}", "by ID"),
    get("/networks/host"),
    get("/networks/none"),
    get("/networks/bridge", "verbose", query={"verbose": "1"}),
    get("/networks/bridge", "scope", query={"scope": "swarm"}),
    get("/networks/missing"),
    delete("/networks/bridge", "predefined"),
    delete("/networks/host", "predefined"),
    delete("/networks/missing"),
    post("/networks/create", {"Name": "ov", "Driver": "overlay"}, "overlay outside a swarm"),
    post("/networks/create", {"Name": "bridge", "Driver": "bridge"}, "predefined name"),
    post("/networks/create", {"Name": "a b", "Driver": "bridge"}, "name with a blank"),
    post("/networks/create", {"Name": "", "Driver": "bridge"}, "no name"),
    delete("/networks/a%20b"),
    post("/networks/missing/connect", {"Container": "none"}),
    post("/networks/bridge/connect", {"Container": "none"}, "no such container"),
    post("/networks/missing/disconnect", {"Container": "none"}),
    post("/networks/bridge/disconnect", {"Container": "none"}, "no such container"),
    post("/networks/prune", None, shape=False),
    post("/networks/prune", None, "until", query=filters(until=["24h"])),
    post("/networks/prune", None, "label", query=filters(label=["none"])),
    post("/networks/prune", None, "unknown filter", query=filters(wrong=["a"])),
    post("/networks/prune", None, "until that is no time", query=filters(until=["then"])),
    *CREATION,
    *CONNECTION,
)
