"""Log drivers of containers: the table of drivers and their options, and what a request for one may say. Pure.

Called by the Engine API for single containers, by the managers for services and the cluster's settings, and by the
daemon for its default, so that all refuse in Docker's words. Values that Docker checks only when a container starts are
read by ``covey.log_options``.
"""

from collections.abc import Mapping
from typing import NamedTuple

from covey.errors import InvalidArgumentError
from covey.log_attributes import compile_pattern
from covey.log_options import LogPlan, log_plan, parse_bool, parse_ram_size
from covey.log_tag import LogTag
from covey.objects.base import Driver
from covey.syslog_options import read_syslog

JSON_FILE, LOCAL, NONE, SYSLOG, JOURNALD = "json-file", "local", "none", "syslog", "journald"
DEFAULT_DRIVER = JSON_FILE

_GENERAL = frozenset({"mode", "max-buffer-size"})
_ATTRIBUTES = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_CACHE = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
_SYSLOG = frozenset({"syslog-address", "syslog-facility", "syslog-format"}) | frozenset(
    f"syslog-tls-{name}" for name in ("ca-cert", "cert", "key", "skip-verify")
)


class _Driver(NamedTuple):
    """The options of a driver, and Docker's words for an unknown one."""

    options: frozenset[str]
    unknown: str = "unknown log opt '{option}' for {driver} log driver"


_DRIVERS = {
    JSON_FILE: _Driver(_ATTRIBUTES | {"max-size", "max-file", "compress"}),
    LOCAL: _Driver(
        frozenset({"max-size", "max-file", "compress"}), "unknown log opt '{option}' for log driver {driver}"
    ),
    NONE: _Driver(frozenset(), ""),
    SYSLOG: _Driver(_ATTRIBUTES | _CACHE | _SYSLOG),
    JOURNALD: _Driver(_ATTRIBUTES | _CACHE),
}

DRIVER_NAMES = tuple(sorted(_DRIVERS))
"""The drivers, as ``docker info`` lists them."""


def validate_log_config(driver: str, options: Mapping[str, str]) -> None:
    """Check what a request says about its log, as Docker does when it creates a container. An empty driver is the default.

    Raises:
        InvalidArgumentError: an unknown driver or option, or a value that no start could use.
    """
    name = driver or DEFAULT_DRIVER
    found = _DRIVERS.get(name)
    if found is None:
        raise InvalidArgumentError(f'error looking up logging plugin {name}: plugin "{name}" not found')
    if name == NONE:
        return  # as in Docker: a driver that writes nothing reads no options
    _check_mode(options)
    for option in sorted(options):
        if option not in found.options | _GENERAL:
            raise InvalidArgumentError(found.unknown.format(option=option, driver=name))
    if "cache-disabled" in options and parse_bool(options["cache-disabled"]) is None:
        raise InvalidArgumentError(f"invalid value for option cache-disabled: {options['cache-disabled']}")
    if name == SYSLOG:
        read_syslog(options)


def check_start(driver: str, options: Mapping[str, str]) -> LogPlan:
    """The plan of a container's log, from options that ``validate_log_config`` has accepted. Checks all that remains.

    Raises:
        InvalidArgumentError: a value cannot be used, in Docker's words.
    """
    plan = log_plan(driver, options)
    LogTag.parse(options.get("tag", ""))
    for name in ("labels-regex", "env-regex"):
        compile_pattern(options.get(name, ""))
    return plan


def check_log_driver(driver: Driver | None, field: str) -> None:
    """Check a log driver in a service or in the cluster's settings; ``field`` is where the user wrote it. As its tasks start much
    later, this checks every value.

    Raises:
        InvalidArgumentError: names the field and says what is wrong.
    """
    if driver is None:
        return
    try:
        validate_log_config(driver.name, driver.options)
        check_start(driver.name or DEFAULT_DRIVER, driver.options)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{field}: {error.message}") from None


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in {"", "blocking", "non-blocking"}:
        raise InvalidArgumentError(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" not in options:
        return
    if mode != "non-blocking":
        raise InvalidArgumentError("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
    try:
        parse_ram_size(options["max-buffer-size"])
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"error parsing option max-buffer-size: {error.message}") from None
