"""Filters on what the host itself offers: plugins, platform, encryption. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from covey.image_platform import architecture_name
from covey.objects import Node, Platform, replace
from covey.objects.node import WireGuardDescription
from manager.constraints import platform_matches
from manager.scheduler.filter import Change, Filter, WaitingTask, node_name
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.request import PlacementRequest


class PluginFilter(Filter):
    """The node has the drivers of the task's log, networks and volumes; a node that does not say what it has passes."""

    name = "plugins"
    sentence = "missing plugin on {}"

    def passes(self, request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
        plugins = node.description.engine.plugins
        return not plugins or request.plugins <= set(plugins)

    def detail(self, request: PlacementRequest, refused: Sequence[NodeLoad]) -> str:
        missing = {name for load in refused if load.node is not None for name in _missing(request, load.node)}
        return ", ".join(sorted(missing))

    def changes(self, waiting: WaitingTask, refused: Sequence[NodeLoad]) -> Iterable[Change]:
        for node in (load.node for load in refused if load.node is not None):
            missing = _missing(waiting.request, node)
            engine = replace(node.description.engine, plugins=(*node.description.engine.plugins, *missing))
            yield Change(
                text=f"provide {', '.join(missing)} on node {node_name(node)}",
                node=replace(node, description=replace(node.description, engine=engine)),
            )


class PlatformFilter(Filter):
    name = "platform"
    sentence = "unsupported platform on {}"

    def passes(self, request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
        return platform_matches(request.placement.platforms, node)

    def detail(self, request: PlacementRequest, refused: Sequence[NodeLoad]) -> str:
        found = sorted({_platform(load.node.description.platform) for load in refused if load.node is not None})
        wanted = dict.fromkeys(map(_platform, request.placement.platforms))
        return f"the image is for {', '.join(wanted)}, nodes are {', '.join(found)}"

    def changes(self, waiting: WaitingTask, refused: Sequence[NodeLoad]) -> Iterable[Change]:
        placement = waiting.request.placement
        platforms = {_platform(load.node.description.platform): load.node for load in refused if load.node is not None}
        for name, node in platforms.items():
            wider = replace(placement, platforms=(*placement.platforms, node.description.platform))
            yield Change(
                text=f"provide the image for {name}",
                task=replace(waiting.task, spec=replace(waiting.task.spec, placement=wider)),
            )


class EncryptionFilter(Filter):
    """None of the task's networks is encrypted, or the node can encrypt."""

    name = "encryption"
    sentence = "no WireGuard for encrypted networks on {}"

    def passes(self, request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
        return not request.encrypted or node.description.wireguard is not None

    def changes(self, _waiting: WaitingTask, refused: Sequence[NodeLoad]) -> Iterable[Change]:
        for node in (load.node for load in refused if load.node is not None):
            able = replace(node.description, wireguard=WireGuardDescription())
            yield Change(text=f"install wireguard-go on node {node_name(node)}", node=replace(node, description=able))


def _missing(request: PlacementRequest, node: Node) -> list[str]:
    return sorted(request.plugins - set(node.description.engine.plugins))


def _platform(platform: Platform) -> str:
    return f"{platform.os or 'any system'}/{architecture_name(platform.architecture) or 'any architecture'}"
