"""``extends``: a service that begins as another one, of the same file or of another. Pure: a function loads other files."""

from collections.abc import Callable, Mapping

import msgspec

from compose.conversion import as_mapping
from compose.errors import ComposeFileError
from compose.nodes import MappingNode, Node, child_path, plain
from compose.project.merge import merge_mappings

LoadServices = Callable[[str, Node], Mapping[str, Node]]
"""The canonical services of another file; takes its absolute path and the node that names it."""
MAX_LEVELS = 32


class _Link(msgspec.Struct, frozen=True):
    """A step of a chain: the service, and the file that has it."""

    service: str
    file: str


class ExtendsResolver:
    """Resolves the services of one file.

    Args:
        file: the file's name, for cycles.
        services: its canonical services.
        load: loads the services of another file.
    """

    def __init__(self, file: str, services: Mapping[str, Node], load: LoadServices) -> None:
        self._file = file
        self._services = services
        self._load = load
        self._resolved: dict[_Link, MappingNode] = {}

    def resolve(self, name: str) -> MappingNode:
        """A service with all that it extends.

        Raises:
            ComposeFileError: a cycle with its members, an unknown service, or too many levels.
        """
        return self._service(_Link(name, self._file), self._services, ())

    def _service(self, link: _Link, services: Mapping[str, Node], chain: tuple[_Link, ...]) -> MappingNode:
        if link in self._resolved:
            return self._resolved[link]
        service = services[link.service]
        service = as_mapping(service)
        extends = service.get("extends")
        if extends is None:
            return service
        if link in chain or len(chain) > MAX_LEVELS:
            raise _cycle((*chain, link), extends)
        extends = as_mapping(extends)
        base_name = str(plain(extends.items["service"]))
        file = extends.get("file")
        path = str(plain(file)) if file else link.file
        others = services if path == link.file else self._load(path, extends)
        if base_name not in others:
            reason = f'cannot extend service "{link.service}" in {link.file}: service "{base_name}" not found in {path}'
            raise ComposeFileError(reason, location=extends.location, path=child_path("services", link.service))
        base = self._service(_Link(base_name, path), others, (*chain, link))
        own = service.with_items({key: item for key, item in service.items.items() if key != "extends"})
        self._resolved[link] = merge_mappings(base, own)
        return self._resolved[link]


def _cycle(chain: tuple[_Link, ...], node: Node) -> ComposeFileError:
    first, *rest = chain
    lines = [f"  {first.service} in {first.file}", *(f"  extends {link.service} in {link.file}" for link in rest)]
    return ComposeFileError("\n".join(["Circular reference:", *lines]), location=node.location)
