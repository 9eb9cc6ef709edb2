"""Go templates of ``--format``, with the functions that the docker client adds. Pure."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from covey import go_template
from covey.go_template import BUILTINS, go_text

__all__ = ["FUNCTIONS", "Template", "go_text"]


class Template(go_template.Template):
    """A parsed template of ``--format``. An absent key prints ``<no value>``.

    Raises:
        InvalidArgumentError: at construction or rendering, with the wrong part.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source.replace("\\t", "\t").replace("\\n", "\n"), FUNCTIONS)


def _compact_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **BUILTINS,
    "json": _compact_json,
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text).title(),
    "join": lambda items, separator="": separator.join(go_text(item) for item in items or ()),
    "split": lambda text, separator: text.split(separator),
    "truncate": lambda text, length: str(text)[:length],
    "pad": lambda text, before, after: " " * before + str(text) + " " * after,
    # rows come from JSON, whose numbers and texts need not be of the types that docker has
    "eq": lambda left, *others: any(left == other for other in others),
    "ne": lambda left, right: left != right,
}
