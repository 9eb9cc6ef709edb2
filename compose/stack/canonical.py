"""One stack file in canonical form, with absolute paths and the resolved environment. Pure.

Keys are in the order of the format's tables, and what is empty is left out, as in the docker client's output.
"""

import posixpath
from collections.abc import Callable, Mapping

import msgspec

from compose.conversion import TableConverter, as_mapping, extensions, list_items, named_source, without_extensions
from compose.errors import ComposeFileError
from compose.nodes import ListNode, MappingNode, Node, ScalarNode, child_path, is_null, node_of, plain
from compose.schema import Table
from compose.stack import format as stack_format
from compose.stack import forms
from compose.stack.ports import is_port_text, port_count

MAX_PUBLISHED = 32_768
"""Published ports of one file."""
EnvironmentFile = Callable[[Node], Mapping[str, str | None]]


class StackPaths(msgspec.Struct, frozen=True):
    """The directory of relative paths in a stack file, and the value of ``~``."""

    directory: str
    home: str

    def absolute(self, path: str) -> str:
        return path if path.startswith("/") else posixpath.normpath(posixpath.join(self.directory, path))

    def expanded(self, path: str) -> str:
        """An absolute path, with ``~`` replaced; a Windows path is kept."""
        if path == "~" or path.startswith("~/"):
            return posixpath.normpath(self.home + path[1:])
        if (path[1:2] == ":" and path[:1].isalpha()) or path.startswith("\\\\"):
            return path
        return self.absolute(path)


class CanonicalStack:
    """Converts validated stack files.

    Args:
        paths: where relative paths begin.
        variables: values for environment entries without one.
        read_environment: the variables of an ``env_file`` entry.
    """

    def __init__(self, paths: StackPaths, variables: Mapping[str, str], read_environment: EnvironmentFile) -> None:
        self._paths = paths
        self._variables = variables
        self._read_environment = read_environment
        self._published = 0
        self._tables = TableConverter(
            {
                **forms.FORMS,
                "build": self._build,
                "ports": self._ports,
                "volumes": self._volumes,
                "attachments": self._attachments,
                "references": self._references,
                "external": lambda node, _: node,
            }
        )

    def convert(self, root: MappingNode) -> MappingNode:
        """The canonical file: the five sections that it has, and the top-level extensions."""
        items: dict[str, Node] = {}
        for section, convert in _SECTIONS.items():
            found = root.get(section)
            if isinstance(found, MappingNode):
                items[section] = found.with_items({key: convert(self, item, key) for key, item in found.items.items()})
        return root.with_items(items | extensions(root))

    def service(self, node: Node, key: str) -> Node:
        node = as_mapping(node)
        service = self._tables.table(node, f"services.{key}", stack_format.SERVICE)
        items = dict(service.items)
        if environment := self._environment(service):
            items["environment"] = environment
        ordered = {name: items[name] for name in stack_format.SERVICE.fields if name in items}
        return service.with_items(ordered | extensions(node))

    def network(self, node: Node, key: str) -> Node:
        return without_extensions(self._named(node, "network", key, stack_format.NETWORK))

    def volume(self, node: Node, key: str) -> Node:
        section = self._named(node, "volume", key, stack_format.VOLUME)
        if "external" in section.items:
            check_external_volume(f"volume {key}", section)
        return without_extensions(section)

    def secret(self, node: Node, key: str) -> Node:
        return self._file_object(self._named(node, "secret", key, stack_format.SECRET))

    def config(self, node: Node, key: str) -> Node:
        return self._file_object(self._named(node, "config", key, stack_format.CONFIG))

    def _environment(self, service: MappingNode) -> MappingNode | None:
        """The variables of the files, then those of the service; one without a value has that of the client's environment."""
        values: dict[str, Node] = {}
        files = service.get("env_file")
        for item in files.items if isinstance(files, ListNode) else ():
            values |= {key: node_of(value, item.location) for key, value in self._read_environment(item).items()}
        own = service.get("environment")
        values |= own.items if isinstance(own, MappingNode) else {}
        resolved = {
            key: node_of(self._variables[key], item.location) if is_null(item) and key in self._variables else item
            for key, item in values.items()
        }
        return MappingNode(resolved, (own or service).location) if values else None

    def _build(self, node: Node, path: str) -> Node:
        if isinstance(node, MappingNode):
            return self._tables.table(node, path, stack_format.BUILD)
        return node_of({"context": plain(node)}, node.location)

    def _ports(self, node: Node, path: str) -> Node:
        ports: list[Node] = []
        for index, item in enumerate(list_items(node)):
            where = child_path(path, index)
            self._published += port_count(item.text) if isinstance(item, ScalarNode) and is_port_text(item.text) else 1
            check_published(self._published, item, where)
            listed = forms.short_ports(item, where) if isinstance(item, ScalarNode) else [item]
            ports += [self._tables.table(as_mapping(port), where, stack_format.LONG_PORT) for port in listed]
        return ListNode(tuple(ports), node.location)

    def _volumes(self, node: Node, path: str) -> Node:
        items = (self._volume(item, child_path(path, index)) for index, item in enumerate(list_items(node)))
        return ListNode(tuple(items), node.location)

    def _volume(self, node: Node, path: str) -> Node:
        long = forms.short_volume(node, path) if isinstance(node, ScalarNode) else node
        volume = self._tables.table(as_mapping(long), path, stack_format.LONG_VOLUME)
        source = volume.get("source")
        kind = volume.get("type")
        if kind is None or plain(kind) != "bind":
            return volume
        if source is None:
            reason = 'invalid mount config for type "bind": field Source must not be empty'
            raise ComposeFileError(reason, location=node.location)
        path = self._paths.expanded(str(plain(source)))
        return volume.with_items({**volume.items, "source": node_of(path, source.location)})

    def _attachments(self, node: Node, path: str) -> Node:
        return self._tables.named_tables(node, path, stack_format.ATTACHMENT)

    def _references(self, node: Node, path: str) -> Node:
        return self._tables.listed_tables(node, path, stack_format.FILE_REFERENCE, named_source)

    def _named(self, node: Node, word: str, key: str, table: Table) -> MappingNode:
        """A network, volume, secret or config; an external one has its name, and ``external`` is true or left out."""
        if not isinstance(node, MappingNode):
            return MappingNode({}, node.location)
        section = self._tables.table(node, f"{word}s.{key}", table)
        items = dict(section.items)
        external = items.pop("external", None) or (node.get("external") if "external" in node.items else None)
        if external is not None and (isinstance(external, MappingNode) or plain(external) is True):
            named = external.get("name") if isinstance(external, MappingNode) else None
            if named is not None and "name" in items:
                reason = f"{word} {key}: {word}.external.name and {word}.name conflict; only use {word}.name"
                raise ComposeFileError(reason, location=named.location)
            items["name"] = items.get("name") or named or node_of(key, node.location)
            items["external"] = node_of(value=True, location=external.location)
        ordered = {name: items[name] for name in table.fields if name in items}
        return section.with_items(ordered | extensions(node))

    def _file_object(self, section: MappingNode) -> MappingNode:
        """A secret or config with the absolute path of its file, unless it is external or has a driver."""
        if "external" in section.items or "driver" in section.items:
            return section
        file = section.get("file")
        path = self._paths.absolute(str(plain(file)) if file else "")
        items = {**section.items, "file": node_of(path, (file or section).location)}
        order = [*stack_format.SECRET.fields, *items]
        return section.with_items({name: items[name] for name in order if name in items})


_SECTIONS: Mapping[str, Callable[[CanonicalStack, Node, str], Node]] = {
    "services": CanonicalStack.service,
    "networks": CanonicalStack.network,
    "volumes": CanonicalStack.volume,
    "secrets": CanonicalStack.secret,
    "configs": CanonicalStack.config,
}


def check_published(number: int, node: Node, path: str) -> None:
    """Refuse a file whose ranges publish too many ports.

    Raises:
        ComposeFileError: with the place of the range.
    """
    if number > MAX_PUBLISHED:
        raise ComposeFileError(f"more than {MAX_PUBLISHED} ports are published", location=node.location, path=path)


def check_external_volume(path: str, volume: MappingNode) -> None:
    """Refuse keys of a volume that Covey makes.

    Raises:
        ComposeFileError: with the place of the key.
    """
    for other in ("driver", "driver_opts", "labels"):
        if other in volume.items:
            reason = f'{path}: conflicting parameters "external" and "{other}" specified'
            raise ComposeFileError(reason, location=volume.items[other].location)
