"""Go's Printf for templates, with bounded widths. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any

from covey.go_template.values import go_text, type_name

MAX_WIDTH = 1000
"""The largest width and precision of a verb."""
_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d+)?(?:\.(?P<precision>\d*))?(?P<verb>.)?", re.DOTALL)


def printf(form: str, *items: Any) -> str:
    """The text of a format and its values. As in Go, what does not fit is shown. Raises ValueError for a width over MAX_WIDTH."""
    left = iter(items)
    text = _VERB.sub(lambda match: _formatted(match, left), form)
    extra = [f"{type_name(item)}={go_text(item)}" for item in left]
    return f"{text}%!(EXTRA {', '.join(extra)})" if extra else text


def _formatted(match: re.Match[str], items: Iterator[Any]) -> str:
    verb = match["verb"]
    if verb is None:
        return "%!(NOVERB)"
    if verb == "%":
        return "%"
    width, precision = int(match["width"] or 0), match["precision"]
    if max(width, int(precision or 0)) > MAX_WIDTH:
        raise ValueError(f"the width in {match[0]} is over {MAX_WIDTH}")
    try:
        value = next(items)
    except StopIteration:
        return f"%!{verb}(MISSING)"
    text = _verb_text(verb, match["flags"], precision, value)
    if text is None:
        return f"%!{verb}({type_name(value)}={go_text(value)})"
    if "-" in match["flags"]:
        return text.ljust(width)
    numeric = isinstance(value, int | float) and verb not in "qs"
    return text.zfill(width) if "0" in match["flags"] and numeric else text.rjust(width)


def _verb_text(verb: str, flags: str, precision: str | None, value: Any) -> str | None:
    """The value as the verb shows it; None if the verb is not for its type."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb == "v" or (verb == "s" and isinstance(value, str)):
        text = go_text(value)
        return text if precision is None or verb == "v" else text[: int(precision or 0)]
    if verb == "s" and isinstance(value, list | tuple | dict):
        return go_text(value)
    if verb == "q" and isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if verb == "t" and isinstance(value, bool):
        return go_text(value)
    if verb in "xX" and isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").hex() if verb == "x" else value.encode().hex().upper()
    if verb in "dxXob" and is_number and isinstance(value, int):
        return format(value, ("+" if "+" in flags else "") + ("#" if "#" in flags else "") + verb)
    if verb in "eEfFgG" and is_number and isinstance(value, float):
        return format(value, ("+" if "+" in flags else "") + ("" if precision is None else f".{precision or 0}") + verb)
    return None
