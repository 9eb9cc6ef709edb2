"""Table of the daemon's options: flag, key in the configuration file, field, kind of value, and whether a reload changes it. Pure.

The names are Docker's where Docker has the option. To add one, add a row here and a field to ``EngineSettings`` or ``DaemonOptions``.
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

from covey.log_driver import DRIVER_NAMES
from manager.interface import STORE_FORM
from node import option_values as values


class Option(NamedTuple):
    """``key`` is empty where the file uses the flag's name. ``is_list`` means that the flag can be repeated. ``is_engine`` says that the
    field is one of ``EngineSettings``. ``choices`` is empty for any value.
    """

    flag: str
    field: str
    convert: Callable[[str, Any], Any]
    help: str
    key: str = ""
    short: str = ""
    metavar: str = ""
    is_list: bool = False
    is_engine: bool = False
    is_reloadable: bool = False
    choices: tuple[str, ...] = ()

    @property
    def file_key(self) -> str:
        return self.key or self.flag


LOG_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal")


def _engine(
    flag: str, field: str, convert: Callable[[str, Any], Any], text: str, *, is_reloadable: bool = True, **more: Any
) -> Option:
    """An option of the engine; all but a few apply to the next container after a reload."""
    return Option(flag, field, convert, text, is_engine=True, is_reloadable=is_reloadable, **more)


DAEMON = (
    Option("state-dir", "state_dir", values.path, "persistent state (default /var/lib/covey)", metavar="DIR"),
    Option("run-dir", "run_dir", values.path, "runtime files, on a tmpfs (default /run/covey)", metavar="DIR"),
    Option(
        "host",
        "hosts",
        values.texts,
        "where the Engine API listens: unix://PATH, tcp://HOST:PORT or fd:// (default unix://RUN_DIR/covey.sock); can be repeated",
        key="hosts",
        short="H",
        metavar="URL",
        is_list=True,
    ),
    Option("tls", "tls", values.flag, "use TLS on tcp; implied by --tlsverify"),
    Option("tlsverify", "tls_verify", values.flag, "use TLS on tcp and verify the client's certificate"),
    Option(
        "tlscacert",
        "tls_ca",
        values.path,
        "trust client certificates signed by this CA (default /etc/covey/tls/ca.pem)",
        metavar="FILE",
    ),
    Option(
        "tlscert", "tls_cert", values.path, "the daemon's certificate (default /etc/covey/tls/cert.pem)", metavar="FILE"
    ),
    Option(
        "tlskey", "tls_key", values.path, "the daemon's private key (default /etc/covey/tls/key.pem)", metavar="FILE"
    ),
    Option(
        "insecure-tcp",
        "insecure_tcp",
        values.flag,
        "serve tcp without client certificates: whoever reaches the port is root on this host",
    ),
    Option(
        "advertise-addr",
        "advertise_addr",
        values.text,
        "address that other nodes use, if swarm init or join name none",
        metavar="ADDRESS",
    ),
    Option(
        "join-port",
        "join_port",
        values.port,
        "port where new nodes join, unless swarm init or join name one (default 2377)",
    ),
    Option(
        "mtls-port", "mtls_port", values.port, "port between nodes (default 2378, or the one above another join port)"
    ),
    Option(
        "image-port",
        "image_port",
        values.port_or_zero,
        "port where other nodes fetch images, 0 to serve none (default 7946)",
    ),
    Option(
        "store",
        "store",
        values.text,
        "store the cluster's state in etcd instead of the managers; must be the same on all managers",
        metavar=STORE_FORM,
    ),
    Option("store-ca", "store_ca", values.absolute_path, "CA certificate of etcd; enables TLS", metavar="FILE"),
    Option("store-cert", "store_cert", values.absolute_path, "client certificate for etcd", metavar="FILE"),
    Option("store-key", "store_key", values.absolute_path, "private key of the client certificate", metavar="FILE"),
    Option(
        "log-level",
        "log_level",
        values.text,
        "minimum level of log messages: debug, info, warn, error or fatal (default info)",
        short="l",
        metavar="LEVEL",
        is_reloadable=True,
        choices=LOG_LEVELS,
    ),
)

ENGINE = (
    _engine("debug", "debug", values.flag, "log at level debug and serve /debug on the local socket", short="D"),
    _engine(
        "label",
        "labels",
        values.pairs,
        "label of this host, engine.labels.KEY in constraints; can be repeated",
        key="labels",
        metavar="KEY=VALUE",
        is_list=True,
    ),
    _engine(
        "node-generic-resource",
        "generic_resources",
        values.generic_resources,
        "resource of this host that services can reserve, a number or a name of its kind; can be repeated",
        key="node-generic-resources",
        metavar="KIND=VALUE",
        is_list=True,
    ),
    _engine(
        "cgroup-parent",
        "cgroup_parent",
        values.text,
        "parent cgroup of all containers (default /covey)",
        metavar="PATH",
        is_reloadable=False,
    ),
    _engine(
        "registries-file",
        "registries_file",
        values.path,
        "mirrors, insecure registries and certificates (default /etc/covey/registries.toml)",
        metavar="FILE",
    ),
    _engine(
        "log-driver",
        "log_driver",
        values.text,
        "log driver of containers that name none (default json-file)",
        metavar="DRIVER",
        choices=DRIVER_NAMES,
    ),
    _engine(
        "log-opt",
        "log_options",
        values.pairs,
        "option of the default log driver; can be repeated",
        key="log-opts",
        metavar="KEY=VALUE",
        is_list=True,
    ),
    _engine(
        "default-ulimit",
        "default_ulimits",
        values.ulimits,
        "ulimit of containers; can be repeated",
        key="default-ulimits",
        metavar="NAME=SOFT[:HARD]",
        is_list=True,
    ),
    _engine(
        "default-shm-size",
        "default_shm_size_bytes",
        values.size,
        "size of /dev/shm in containers (default 64m)",
        metavar="SIZE",
    ),
    _engine(
        "default-ipc-mode",
        "default_ipc_mode",
        values.text,
        "IPC namespace of containers: private or shareable (default private)",
        metavar="MODE",
        choices=("private", "shareable"),
    ),
    _engine(
        "add-runtime",
        "runtimes",
        values.runtimes,
        "OCI runtime for docker run --runtime NAME; can be repeated",
        key="runtimes",
        metavar="NAME=PATH",
        is_list=True,
    ),
    _engine(
        "default-runtime",
        "default_runtime",
        values.text,
        "OCI runtime of containers that name none (default runc)",
        metavar="NAME",
    ),
    _engine("init", "init", values.flag, "run an init program as process 1 of containers"),
    _engine("init-path", "init_path", values.text, "the init program (default tini on PATH)", metavar="FILE"),
    _engine("no-new-privileges", "no_new_privileges", values.flag, "set no-new-privileges for all new containers"),
    _engine(
        "dns", "dns", values.addresses, "name server of containers; can be repeated", metavar="ADDRESS", is_list=True
    ),
    _engine(
        "dns-search",
        "dns_search",
        values.texts,
        "search domain of containers; can be repeated",
        metavar="DOMAIN",
        is_list=True,
    ),
    _engine(
        "dns-opt",
        "dns_options",
        values.texts,
        "resolver option of containers; can be repeated",
        key="dns-opts",
        metavar="OPTION",
        is_list=True,
    ),
)

NETWORKS = (
    _engine(
        "manage-firewall",
        "manage_firewall",
        values.flag,
        "keep accept rules for containers in forward chains of the host's firewall that drop (default false)",
    ),
    _engine(
        "default-address-pool",
        "address_pools",
        values.address_pools,
        "addresses from which networks of this host take their subnets (default 172.17.0.0/16 to 172.31.0.0/16 and "
        "192.168.0.0/16); can be repeated",
        key="default-address-pools",
        metavar="base=CIDR,size=PREFIX",
        is_list=True,
        is_reloadable=False,
    ),
)


def _bridge(flag: str, field: str, convert: Callable[[str, Any], Any], text: str, metavar: str = "") -> Option:
    """An option of the network `bridge`, which is made at the start."""
    return _engine(flag, field, convert, text, is_reloadable=False, metavar=metavar)


DEFAULT_BRIDGE = (
    _bridge("bip", "bip", values.bridge_address4, "address of the default bridge", "ADDRESS/PREFIX"),
    _bridge("bip6", "bip6", values.bridge_address6, "IPv6 address of the default bridge", "ADDRESS/PREFIX"),
    _bridge("fixed-cidr", "fixed_cidr", values.cidr4, "range of containers' addresses on the default bridge", "CIDR"),
    _bridge("fixed-cidr-v6", "fixed_cidr6", values.cidr6, "range of containers' IPv6 addresses there", "CIDR"),
    _bridge("default-gateway", "default_gateway", values.address4, "must be the address of --bip", "ADDRESS"),
    _bridge("default-gateway-v6", "default_gateway6", values.address6, "must be the address of --bip6", "ADDRESS"),
    _bridge("ipv6", "bridge_ipv6", values.flag, "IPv6 on the default bridge"),
    _bridge(
        "mtu",
        "bridge_mtu",
        values.mtu,
        "MTU of the default bridge (default that of the way out, at most 1500)",
        "BYTES",
    ),
    _bridge("icc", "bridge_icc", values.flag, "containers on the default bridge reach one another (default true)"),
    _bridge("ip-masq", "bridge_masquerade", values.flag, "masquerade packets from the default bridge (default true)"),
    _bridge(
        "ip", "bridge_binding", values.binding_address, "address of ports published on the default bridge", "ADDRESS"
    ),
)

_OWN_TABLES = "Covey keeps its rules in nftables tables of its own and leaves others alone; remove it"
_OWN_BRIDGE = "the default bridge is covey0; make a network for another one: docker network create -o com.docker.network.bridge.name=NAME"
FIXED = tuple(
    Option(flag, "", values.only(allowed, remedy), argparse.SUPPRESS)
    for flag, allowed, remedy in (
        ("bridge", "covey0", f"{_OWN_BRIDGE}, and use docker run --network none for containers without a network"),
        ("iptables", True, _OWN_TABLES),
        ("ip6tables", True, _OWN_TABLES),
        ("firewall-backend", "nftables", _OWN_TABLES),
        ("ip-forward", True, "containers need forwarding; restrict it by a forward chain of your own, and remove it"),
        ("ip-forward-no-drop", True, "Covey never sets the policy of another forward chain; remove it"),
        ("userland-proxy", False, "published ports need no proxy; remove it"),
        ("userland-proxy-path", "", "published ports need no proxy; remove it"),
        (
            "allow-direct-routing",
            False,
            "create networks with -o com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected",
        ),
        ("bridge-accept-fwmark", "", "accept marked packets in a forward chain of your own, and remove it"),
        ("default-network-opt", "", "give the options to docker network create -o"),
        ("default-network-opts", {}, "give the options to docker network create -o"),
        ("host-gateway-ip", "", "give the address itself: docker run --add-host NAME:ADDRESS"),
        ("host-gateway-ips", [], "give the address itself: docker run --add-host NAME:ADDRESS"),
        ("network-control-plane-mtu", 1500, "nodes speak TCP, which finds the MTU; remove it"),
    )
)
"""Network options of Docker of which the daemon accepts one value, the one that it has anyway."""

OPTIONS = (*DAEMON, *ENGINE, *NETWORKS, *DEFAULT_BRIDGE)
