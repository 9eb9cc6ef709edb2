"""Options of a container's log as typed values: size and number of its files, compression, and its buffer. Pure.

Sizes, numbers and booleans are read as Docker reads them, each driver in its own way: json-file counts in powers of 1000,
local in powers of 1024.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from covey.errors import InvalidArgumentError

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?(?:[iI])?(?:[bB])?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_TRUE, _FALSE = (
    frozenset({"1", "t", "T", "TRUE", "true", "True"}),
    frozenset({"0", "f", "F", "FALSE", "false", "False"}),
)
_LOCAL_BYTES, _LOCAL_FILES = 20 << 20, 5


class LogPlan(NamedTuple):
    """How a container's log is kept on this host and where it is sent.

    `max_bytes` bounds each of `max_files` files, 0 means no bound. `keep` is whether there are files at all; only then
    can the log be read. `sent_to` is "", "syslog" or "journald". With `buffer_bytes`, entries beyond that many unsent
    bytes are dropped.
    """

    keep: bool = True
    max_bytes: int = 0
    max_files: int = 1
    compress: bool = False
    sent_to: str = ""
    readable: bool = True
    buffer_bytes: int = 0


def log_plan(driver: str, options: Mapping[str, str]) -> LogPlan:
    """The plan of a driver and its options, which ``covey.log_driver.validate_log_config`` has checked.

    Raises:
        InvalidArgumentError: a value cannot be used, in Docker's words.
    """
    if driver == "none":
        return LogPlan(keep=False, readable=False)
    if driver == "json-file":
        return _json_file(options)
    if driver == "local":
        return _local(options, "")
    cached = not parse_bool(options.get("cache-disabled", ""))
    plan = _local(options, "cache-")
    size = parse_ram_size(options["max-buffer-size"]) if options.get("max-buffer-size") else 0
    return plan._replace(sent_to=driver, readable=cached, buffer_bytes=size)


def parse_ram_size(text: str) -> int:
    """A size such as ``1m`` in bytes, in powers of 1024."""
    return _parse_size(text, 1024)


def parse_bool(text: str) -> bool | None:
    """A boolean as Go's ``strconv.ParseBool`` reads it; None if it is not one."""
    return True if text in _TRUE else False if text in _FALSE else None


def _json_file(options: Mapping[str, str]) -> LogPlan:
    size = 0
    if "max-size" in options:
        size = _parse_size(options["max-size"], 1000)
        if size <= 0:
            raise InvalidArgumentError("max-size must be a positive number")
    files = _number(options.get("max-file", "1"))
    if files < 1:
        raise InvalidArgumentError("max-file cannot be less than 1")
    compress = _bool(options.get("compress", "false"))
    if compress and (files < 2 or not size):
        raise InvalidArgumentError("compress cannot be true when max-file is less than 2 or max-size is not set")
    return LogPlan(max_bytes=size, max_files=files, compress=compress)


def _local(options: Mapping[str, str], prefix: str) -> LogPlan:
    def named(name: str, value: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"invalid value for {prefix}{name}: {value}")

    size_text, file_text = options.get(f"{prefix}max-size", ""), options.get(f"{prefix}max-file", "")
    compress_text = options.get(f"{prefix}compress", "")
    try:
        size = parse_ram_size(size_text) if size_text else _LOCAL_BYTES
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{named('max-size', size_text).message}: {error.message}") from None
    if file_text and not re.fullmatch(r"[+-]?\d{1,9}", file_text):
        raise named("max-file", file_text)
    files = int(file_text) if file_text else _LOCAL_FILES
    if files < 0:
        raise InvalidArgumentError("max file count cannot be less than 0")
    compress = parse_bool(compress_text) if compress_text else True
    if compress is None:
        raise named("compress", compress_text)
    if compress and files <= 1:
        raise InvalidArgumentError("compression cannot be enabled when max file count is 1")
    return LogPlan(max_bytes=size, max_files=max(files, 1), compress=compress)


def _parse_size(text: str, base: int) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidArgumentError(f"invalid size: '{text}'")
    size = int(float(found[1]) * base ** _POWERS[(found[2] or "").lower()])
    if size >= 1 << 62:
        raise InvalidArgumentError(f"invalid size: '{text}'")
    return size


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,9}", text):
        raise InvalidArgumentError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _bool(text: str) -> bool:
    value = parse_bool(text)
    if value is None:
        raise InvalidArgumentError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return value
