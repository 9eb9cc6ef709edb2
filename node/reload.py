"""Reload of the configuration by SIGHUP: which settings of a running daemon change, and which need a restart.

Invariant: a file that is invalid changes nothing. ``plan_reload`` is pure; ``Reloader`` applies its plan.
"""

import logging
import socket
from collections.abc import Callable

import msgspec

from covey.engine_settings import LiveSettings
from covey.errors import CoveyError
from node.option_table import OPTIONS, Option
from node.options import DaemonOptions

log = logging.getLogger(__name__)


class ReloadPlan(msgspec.Struct, frozen=True):
    """``options`` are those in force afterwards, ``changed`` the file keys that changed and ``kept`` those that need a restart."""

    options: DaemonOptions
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def plan_reload(now: DaemonOptions, wanted: DaemonOptions) -> ReloadPlan:
    """What a reload changes. Options that cannot change stay as they are."""
    changed = [option for option in OPTIONS if _value(now, option) != _value(wanted, option)]
    applied = [option for option in changed if option.is_reloadable]
    engine = msgspec.structs.replace(
        now.engine, **{option.field: _value(wanted, option) for option in applied if option.is_engine}
    )
    rest = {option.field: _value(wanted, option) for option in applied if not option.is_engine}
    return ReloadPlan(
        options=msgspec.structs.replace(now, engine=engine, **rest),
        changed=tuple(option.file_key for option in applied),
        kept=tuple(option.file_key for option in changed if not option.is_reloadable),
    )


def reload_attributes(options: DaemonOptions) -> dict[str, str]:
    """The attributes of the daemon's ``reload`` event: the settings in force, as Docker lists them."""
    values = {option.file_key: _value(options, option) for option in OPTIONS if option.is_reloadable}
    return {"name": socket.gethostname(), **{key: _shown(value) for key, value in values.items()}}


class Reloader:
    """Reloads the configuration. ``read`` returns the options as the command line and the file now say."""

    def __init__(
        self,
        options: DaemonOptions,
        live: LiveSettings,
        read: Callable[[], DaemonOptions],
        apply: Callable[[DaemonOptions], None],
    ) -> None:
        self.options = options
        self._live = live
        self._read = read
        self._apply = apply

    def reload(self) -> bool:
        """Apply the configuration as it is now. False if it is invalid; the log says why, and nothing has changed."""
        try:
            plan = plan_reload(self.options, self._read())
            self._apply(plan.options)
        except CoveyError as error:
            log.error("the configuration was not reloaded: %s", error.message)  # noqa: TRY400 - a sentence
            return False
        self.options = plan.options
        self._live.replace(plan.options.engine)
        log.info("reloaded the configuration; changed: %s", ", ".join(plan.changed) or "nothing")
        for key in plan.kept:
            log.warning("%s cannot change while the daemon runs: restart it to apply the new value", key)
        return True


def _value(options: DaemonOptions, option: Option) -> object:
    value: object = getattr(options.engine if option.is_engine else options, option.field)
    return value


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value)
    return msgspec.json.encode(value, enc_hook=str).decode()
