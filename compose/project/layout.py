"""The layout in which Docker Compose writes a project: the order of keys, and which empty values are left out. Pure.

The tables of ``format`` have their keys in that order. Names of the file's author follow their own order, extensions come last.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compose.project.format import CONFIG, ENV_FILE, NETWORK, SECRET, SERVICE, VOLUME
from compose.schema import Kind, ListOf, MapOf, OneOf, Table

SECTIONS: Mapping[str, Table] = {
    "services": SERVICE,
    "networks": NETWORK,
    "volumes": VOLUME,
    "secrets": SECRET,
    "configs": CONFIG,
}
Order = Callable[[Iterable[str]], list[str]]
"""Orders the names of the file's author."""
_FALSE_MEANS_SOMETHING = frozenset(("attach", "init", "enable_ipv4", "enable_ipv6", "required", "create_host_path"))


def laid_out(value: Any, kind: Kind, order: Order, *, extensions: bool = True) -> Any:
    """A canonical value as it is written.

    Args:
        value: plain values.
        kind: what the value is in the format.
        order: the order of names that the file's author chose.
        extensions: keep ``x-`` keys.
    """
    if isinstance(kind, OneOf):
        shape = (Table, MapOf) if isinstance(value, dict) else ListOf
        kind = next((item for item in kind.kinds if isinstance(item, shape)), kind)
        if isinstance(kind, OneOf):  # one alternative within another
            nested = [item for item in kind.kinds if isinstance(item, OneOf)]
            return laid_out(value, nested[0], order, extensions=extensions) if nested else _free(value, order)
    if isinstance(value, list):
        item_kind = kind.item if isinstance(kind, ListOf) else OneOf()
        return [laid_out(item, item_kind, order, extensions=extensions) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(kind, MapOf):
        return {key: laid_out(value[key], kind.value, order, extensions=extensions) for key in order(value)}
    if isinstance(kind, Table) and kind.fields:
        return _section(value, kind, order, extensions=extensions)
    return _free(value, order)


def _section(value: Mapping[str, Any], table: Table, order: Order, *, extensions: bool) -> dict[str, Any]:
    if table is ENV_FILE and value.get("required"):
        value = {key: item for key, item in value.items() if key != "required"}
    result = {
        key: laid_out(value[key], known.kind, order, extensions=extensions)
        for key, known in table.fields.items()
        if key in value and not _is_nothing(key, value[key])
    }
    others = [key for key in value if key not in table.fields and (extensions or not key.startswith("x-"))]
    return result | {key: _free(value[key], order) for key in order(others)}


def _is_nothing(key: str, value: Any) -> bool:
    """Whether Compose leaves the value of a key of the format out."""
    return value is None or value == "" or (value is False and key not in _FALSE_MEANS_SOMETHING)


def _free(value: Any, order: Order) -> Any:
    """A value that the format does not describe."""
    if isinstance(value, dict):
        return {key: _free(value[key], order) for key in order(value)}
    return [_free(item, order) for item in value] if isinstance(value, list) else value


def escaped_dollars(value: Any) -> Any:
    """A value whose texts have doubled dollar signs, so that they are read again as they are."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: escaped_dollars(item) for key, item in value.items()}
    return [escaped_dollars(item) for item in value] if isinstance(value, list) else value
