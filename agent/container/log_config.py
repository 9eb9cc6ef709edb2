"""Log of a container as its configuration asks for it: the plan of its files, its tag and its attributes. Pure."""

from __future__ import annotations

from agent.container.model import ContainerConfig
from covey.log_attributes import details as encode_details
from covey.log_attributes import log_attributes
from covey.log_driver import DEFAULT_DRIVER, JSON_FILE, check_start
from covey.log_options import LogPlan
from covey.log_tag import LogTag, TagSource

DEFAULT_TAG = "{{.ID}}"
_BOUNDED_FILES = 2


def plan(config: ContainerConfig) -> LogPlan:
    """How the log is kept. Raises InvalidArgumentError for options that no start can use.

    Where no size is asked for, `log_max_bytes` bounds the log.
    """
    found = check_start(driver(config), config.log.options)
    if found.max_bytes or not config.log_max_bytes or driver(config) != JSON_FILE:
        return found
    return found._replace(max_bytes=config.log_max_bytes // _BOUNDED_FILES, max_files=_BOUNDED_FILES)


def driver(config: ContainerConfig) -> str:
    return config.log.driver or DEFAULT_DRIVER


def tag(config: ContainerConfig, hostname: str) -> str:
    """The tag that names the container in syslog and journald."""
    source = TagSource(
        container_id=config.id,
        name=config.name,
        image_id=config.image_id,
        image=config.image,
        command=config.args,
        hostname=hostname,
        labels=config.labels,
    )
    return LogTag.parse(config.log.options.get("tag", "") or DEFAULT_TAG).expand(source)


def attributes(config: ContainerConfig, hostname: str = "") -> dict[str, str]:
    """Labels, variables and tag that the options choose."""
    text = tag(config, hostname) if config.log.options.get("tag") else ""
    return log_attributes(config.log.options, config.labels, config.env, text)


def details(config: ContainerConfig) -> str:
    """The attributes as clients print them before each line, or an empty string."""
    return encode_details(attributes(config))
