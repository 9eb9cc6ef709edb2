"""The log drivers that Covey has: ``json-file``, without options. Pure.

Called by the validation of services and of the cluster's settings, so that both refuse in the same words.
"""

from covey.errors import UnsupportedError
from covey.objects.base import Driver


def check_log_driver(driver: Driver | None, field: str) -> None:
    """Refuses a log driver or option that agents do not honour; ``field`` is where the user wrote it.

    Raises:
        UnsupportedError: names the field and the driver or option.
    """
    if driver is None:
        return
    if driver.name not in {"", "json-file"}:
        raise UnsupportedError(f"{field}.Name = {driver.name!r} is not supported by Covey yet; use json-file")
    for option in sorted(driver.options):
        raise UnsupportedError(f"{field}.Options[{option!r}] is not supported by Covey yet; remove it")
