"""The ports of a container as ``docker ps`` and ``docker inspect`` show them. Pure."""

from typing import Any

from agent.container.model import Container, ContainerConfig


def requested(config: ContainerConfig) -> dict[str, Any]:
    """``HostConfig.PortBindings``: what the user asked for."""
    return {
        port: None
        if bindings is None
        else [{"HostIp": item.host_address, "HostPort": item.host_port} for item in bindings]
        for port, bindings in config.port_bindings.items()
    }


def published(container: Container) -> dict[str, Any]:
    """``NetworkSettings.Ports`` of a running container: null for a port that is exposed only."""
    config = container.config
    if not container.state.running or config.netns_path == "host" or config.network_mode in {"host", "none"}:
        return {}
    result: dict[str, Any] = dict.fromkeys(sorted(config.exposed_ports))
    for item in config.published:
        entry = {"HostIp": item.host_address, "HostPort": str(item.host_port)}
        result[item.port] = [*(result.get(item.port) or ()), entry]
    return result


def summary(container: Container) -> list[dict[str, Any]]:
    """``Ports`` of a listed container."""
    result = []
    for port, bindings in published(container).items():
        number, _, protocol = port.partition("/")
        private, kind = {"PrivatePort": int(number.partition("-")[0])}, {"Type": protocol or "tcp"}
        result += [
            {"IP": item["HostIp"], **private, "PublicPort": int(item["HostPort"]), **kind} for item in bindings or ()
        ] or [private | kind]
    return result


def container_ports(config: ContainerConfig) -> set[str]:
    """The container's ports that were asked to be published, as the filter `publish` compares them."""
    return {port for port, bindings in config.port_bindings.items() if bindings}
