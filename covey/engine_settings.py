"""Settings of one host's engine: what the daemon's options and configuration file say about containers, images and logs.

Invariant: `EngineSettings` never changes; a reload replaces the whole of it in `LiveSettings`. Read `LiveSettings.current` when a value
is needed and do not keep it, so that a reload reaches the next container. Built by `node.options`, read by the engine and the agent.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from covey.container_runtime import RUNC, RuntimeProgram
from covey.default_bridge import DefaultBridge
from covey.network_pools import AddressPool
from covey.objects.node import Resources

REGISTRIES_FILE = Path("/etc/covey/registries.toml")
DEFAULT_SHM_BYTES = 64 << 20


class Ulimit(msgspec.Struct, frozen=True):
    """A resource limit of a process; -1 means no limit."""

    soft: int
    hard: int


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``labels`` and ``generic_resources`` are the host's. Everything called default applies to containers that do not say otherwise, when
    they are created. ``runtimes`` are those beside runc. ``address_pools`` replace the default ones of networks of this host.
    ``manage_firewall`` allows accept rules of ours in forward chains of the host's firewall.
    An empty ``init_path`` means ``tini`` on the PATH.
    """

    debug: bool = False
    labels: Mapping[str, str] = {}
    generic_resources: Resources = Resources()
    cgroup_parent: str = "/covey"
    registries_file: Path = REGISTRIES_FILE
    log_driver: str = "json-file"
    log_options: Mapping[str, str] = {}
    default_ulimits: Mapping[str, Ulimit] = {}
    default_shm_size_bytes: int = DEFAULT_SHM_BYTES
    default_ipc_mode: str = "private"
    init: bool = False
    init_path: str = ""
    no_new_privileges: bool = False
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    runtimes: Mapping[str, RuntimeProgram] = {}
    default_runtime: str = RUNC
    address_pools: tuple[AddressPool, ...] = ()
    manage_firewall: bool = False
    bip: str = ""
    bip6: str = ""
    fixed_cidr: str = ""
    fixed_cidr6: str = ""
    default_gateway: str = ""
    default_gateway6: str = ""
    bridge_ipv6: bool = False
    bridge_mtu: int = 0
    bridge_icc: bool = True
    bridge_masquerade: bool = True
    bridge_binding: str = ""

    @property
    def default_bridge(self) -> DefaultBridge:
        """The settings of the network `bridge`."""
        return DefaultBridge(
            bip=self.bip,
            bip6=self.bip6,
            fixed_cidr=self.fixed_cidr,
            fixed_cidr6=self.fixed_cidr6,
            gateway=self.default_gateway,
            gateway6=self.default_gateway6,
            ipv6=self.bridge_ipv6,
            mtu=self.bridge_mtu,
            icc=self.bridge_icc,
            masquerade=self.bridge_masquerade,
            binding=self.bridge_binding,
        )


class LiveSettings:
    """The settings in force. One per daemon."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self._current = settings or EngineSettings()

    @property
    def current(self) -> EngineSettings:
        return self._current

    def replace(self, settings: EngineSettings) -> None:
        """Use other settings from now on."""
        self._current = settings
