"""Defaults that a container takes from the daemon's settings when it is created. Pure.

Invariant: what the container says itself stays. The defaults become part of its configuration, so a reload changes later containers only.
"""

import msgspec

from agent.container.model import ContainerConfig, ContainerUlimit, LogConfig
from covey.engine_settings import EngineSettings


def with_daemon_defaults(config: ContainerConfig, settings: EngineSettings) -> ContainerConfig:
    """The configuration with the daemon's log driver, runtime, ulimits, size of /dev/shm, IPC mode, privileges and name servers."""
    own = {limit.name for limit in config.ulimits}
    ulimits = tuple(
        ContainerUlimit(name=name, soft=limit.soft, hard=limit.hard)
        for name, limit in sorted(settings.default_ulimits.items())
        if name not in own
    )
    joins_network = config.network_mode.startswith("container:")
    return msgspec.structs.replace(
        config,
        log=_log_config(config.log, settings),
        runtime=config.runtime or settings.default_runtime,
        ulimits=(*config.ulimits, *ulimits),
        shm_size_bytes=config.shm_size_bytes or settings.default_shm_size_bytes,
        ipc_mode=config.ipc_mode or ("shareable" if settings.default_ipc_mode == "shareable" else ""),
        no_new_privileges=config.no_new_privileges or settings.no_new_privileges,
        dns=config.dns if joins_network else config.dns or settings.dns,
        dns_search=config.dns_search if joins_network else config.dns_search or settings.dns_search,
        dns_options=config.dns_options if joins_network else config.dns_options or settings.dns_options,
    )


def _log_config(own: LogConfig, settings: EngineSettings) -> LogConfig:
    """The daemon's options apply only with its driver, because drivers do not know each other's options."""
    driver = own.driver or settings.log_driver
    defaults = settings.log_options if driver == settings.log_driver else {}
    return LogConfig(driver=driver, options={**defaults, **own.options})
