"""Sections of a Compose file in canonical form: long forms, typed values, absolute paths. Pure."""

from compose.conversion import TableConverter, as_mapping, extensions, list_items, named_source
from compose.errors import ComposeFileError
from compose.nodes import ListNode, MappingNode, Node, ScalarNode, child_path, is_null, node_of, plain
from compose.project import format as project_format
from compose.project import forms
from compose.project.merge import distinct_entries
from compose.project.short_forms import parse_project_ports, parse_project_volume
from compose.schema import Table
from compose.stack.canonical import StackPaths, check_external_volume, check_published
from compose.stack.ports import port_count

_URL_SCHEMES = ("http://", "https://", "git://", "ssh://", "git@", "github.com/")
_CONTEXT_SCHEMES = (*_URL_SCHEMES, "docker-image://", "oci-layout://", "service:", "target:")


class CanonicalProject:
    """Converts validated Compose files; ``paths`` is where relative paths of the file begin, unless ``resolved`` is False."""

    def __init__(self, paths: StackPaths, *, resolved: bool = True) -> None:
        self._paths, self._resolved = paths, resolved
        self._published = 0
        self._tables = TableConverter(
            {
                **forms.FORMS,
                "build": self._build,
                "contexts": self._contexts,
                "ports": self._ports,
                "volumes": self._volumes,
                "attachments": self._attachments,
                "references": self._references,
                "env_files": self._env_files,
                "paths": self._path_list,
                "watch": self._watch,
                "gpus": self._gpus,
                "external": lambda node, _: node,
            },
            keep_extensions=True,
        )

    def convert(self, root: MappingNode) -> MappingNode:
        """The canonical file; ``name`` and extensions are kept, ``version`` is not."""
        items = {key: item for key, item in root.items.items() if key == "name"}
        for section in ("services", "networks", "volumes", "secrets", "configs"):
            found = root.get(section)
            if isinstance(found, MappingNode):
                items[section] = found.with_items(
                    {key: self._entry(section, key, item) for key, item in found.items.items()}
                )
        return root.with_items(items | extensions(root))

    def _entry(self, section: str, key: str, node: Node) -> Node:
        path = child_path(section, key)
        if section == "services":
            return self.service(as_mapping(node), path)
        tables = {
            "networks": project_format.NETWORK,
            "volumes": project_format.VOLUME,
            "secrets": project_format.SECRET,
            "configs": project_format.CONFIG,
        }
        if is_null(node):
            return MappingNode({}, node.location)
        return self._object(as_mapping(node), path, tables[section])

    def service(self, node: MappingNode, path: str) -> MappingNode:
        """A service. ``command`` and ``entrypoint`` stay if they are empty, to override those of the image, or null, those of a file."""
        service = self._tables.table(node, path, project_format.SERVICE)
        overrides = {key: node.items[key] for key in ("command", "entrypoint") if key in node.items}
        kept = {
            key: item if is_null(item) else ListNode((), item.location)
            for key, item in overrides.items()
            if key not in service.items
        }
        if "extends" in node.items:
            kept["extends"] = self._extends(node.items["extends"])
        return service.with_items({**service.items, **kept, **extensions(node)})

    def _extends(self, node: Node) -> Node:
        """The long form, with the absolute path of the other file."""
        if isinstance(node, ScalarNode):
            return node_of({"service": node.value}, node.location)
        mapping = as_mapping(node)
        file = mapping.get("file")
        path = {"file": self._path_node(file)} if file else {}
        return mapping.with_items({**mapping.items, **path})

    def _object(self, node: MappingNode, path: str, table: Table) -> Node:
        """A network, volume, secret or config; ``external`` with a name is written as name and true."""
        section = self._tables.table(node, path, table)
        items = dict(section.items)
        external = node.get("external")
        items.pop("external", None)
        if isinstance(external, MappingNode):
            named = external.get("name")
            if named is not None and "name" in items and plain(named) != plain(items["name"]):
                reason = f"{path}: name and external.name conflict; only use name"
                raise ComposeFileError(reason, location=named.location)
            items |= {"name": named} if named else {}
            items["external"] = node_of(value=True, location=external.location)
        elif external is not None and plain(forms.boolean(external, path)):
            items["external"] = node_of(value=True, location=external.location)
        if "external" in items and table is project_format.VOLUME:
            check_external_volume(path, section)
        file = items.get("file")
        if file is not None:
            items["file"] = self._path_node(file)
        return section.with_items(items | extensions(node))

    def _path_node(self, node: Node) -> Node:
        return node_of(self._paths.expanded(str(plain(node))), node.location) if self._resolved else node

    def _build(self, node: Node, path: str) -> Node:
        built = (
            self._tables.table(node, path, project_format.BUILD)
            if isinstance(node, MappingNode)
            else as_mapping(node_of({"context": plain(node)}, node.location))
        )
        items = dict(built.items)
        context = items.get("context")
        if context is not None and not str(plain(context)).startswith(_URL_SCHEMES):
            items["context"] = self._path_node(context)
        return built.with_items(items)

    def _contexts(self, node: Node, path: str) -> Node:
        """Additional contexts: paths are made absolute, images, services and URLs are kept."""
        contexts = as_mapping(forms.pairs(node, path))
        return contexts.with_items(
            {
                key: item if str(plain(item)).startswith(_CONTEXT_SCHEMES) else self._path_node(item)
                for key, item in contexts.items.items()
            }
        )

    def _ports(self, node: Node, path: str) -> Node:
        ports: list[Node] = []
        for index, item in enumerate(list_items(node)):
            where = child_path(path, index)
            if isinstance(item, MappingNode):
                long = self._tables.table(item, where, project_format.LONG_PORT)
                defaults = {"mode": "ingress", "protocol": "tcp"}
                if "target" not in long.items:
                    raise ComposeFileError(f"service ports {where} is missing a target port", location=item.location)
                added = {key: node_of(value, item.location) for key, value in defaults.items()}
                ports.append(long.with_items(added | dict(long.items)))
                continue
            try:
                self._published += port_count(str(plain(item)))
                check_published(self._published, item, where)
                listed = parse_project_ports(str(plain(item)))
            except ValueError as error:
                raise ComposeFileError(f"{where} {error}", location=item.location) from error
            ports += [node_of(port, item.location) for port in listed]
        return distinct_entries("ports", ListNode(tuple(ports), node.location))

    def _volumes(self, node: Node, path: str) -> Node:
        items = (self._volume(item, child_path(path, index)) for index, item in enumerate(list_items(node)))
        return distinct_entries("volumes", ListNode(tuple(items), node.location))

    def _volume(self, node: Node, path: str) -> Node:
        if isinstance(node, MappingNode):
            volume = self._tables.table(node, path, project_format.LONG_VOLUME)
        else:
            try:
                volume = as_mapping(node_of(parse_project_volume(str(plain(node))), node.location))
            except ValueError as error:
                raise ComposeFileError(f"{path} {error}", location=node.location) from error
        source, kind = volume.get("source"), str(plain(volume.items["type"]))
        if "target" not in volume.items:
            raise ComposeFileError(f"service volume {path} is missing a mount target", location=node.location)
        if kind == "bind" and source is None:
            reason = 'invalid mount config for type "bind": field Source must not be empty'
            raise ComposeFileError(reason, location=node.location)
        items = dict(volume.items)
        if kind in ("bind", "volume") and not (isinstance(node, ScalarNode) and source is None):
            items.setdefault(kind, MappingNode({}, node.location))
        if kind == "bind" and source is not None:
            items["source"] = self._path_node(source)
        return volume.with_items(items)

    def _attachments(self, node: Node, path: str) -> Node:
        return self._tables.named_tables(node, path, project_format.ATTACHMENT)

    def _references(self, node: Node, path: str) -> Node:
        return distinct_entries(
            path.rpartition(".")[2], self._tables.listed_tables(node, path, project_format.FILE_REFERENCE, named_source)
        )

    def _env_files(self, node: Node, path: str) -> Node:
        """Mappings with an absolute path, and whether the file is required."""
        items = (node,) if isinstance(node, ScalarNode) else list_items(node)
        result: list[Node] = []
        for index, item in enumerate(items):
            if isinstance(item, MappingNode):
                entry = self._tables.table(item, child_path(path, index), project_format.ENV_FILE)
            else:
                entry = as_mapping(node_of({"path": plain(item)}, item.location))
            required = {"required": node_of(value=True, location=item.location)}
            result.append(entry.with_items({**required, **entry.items, "path": self._path_node(entry.items["path"])}))
        return ListNode(tuple(result), node.location)

    def _path_list(self, node: Node, _: str) -> Node:
        items = (node,) if isinstance(node, ScalarNode) else list_items(node)
        return ListNode(tuple(self._path_node(item) for item in items), node.location)

    def _watch(self, node: Node, path: str) -> Node:
        items = []
        for index, item in enumerate(list_items(node)):
            rule = self._tables.table(as_mapping(item), child_path(path, index), project_format.WATCH)
            items.append(rule.with_items({**rule.items, "path": self._path_node(rule.items["path"])}))
        return ListNode(tuple(items), node.location)

    def _gpus(self, node: Node, path: str) -> Node:
        if isinstance(node, ScalarNode):
            return node_of([{"count": forms.ALL_DEVICES}], node.location)
        return ListNode(
            tuple(
                self._tables.table(as_mapping(item), child_path(path, index), project_format.DEVICE_REQUEST)
                for index, item in enumerate(list_items(node))
            ),
            node.location,
        )
