"""The table of the commands of ``covey compose``. Descriptions follow Docker Compose's."""

from cli.lazy_group import CommandEntry

_C = "cli.commands.compose"

COMPOSE = {
    "config": CommandEntry(
        "Parse, resolve and render compose file in canonical format", f"{_C}_config:config", ("convert",)
    ),
    "create": CommandEntry("Create containers for a service", f"{_C}_up:create"),
    "down": CommandEntry("Stop and remove containers, networks", f"{_C}_up:down"),
    "ps": CommandEntry("List containers", f"{_C}_list:ps"),
    "up": CommandEntry("Create and start containers", f"{_C}_up:up"),
    "version": CommandEntry("Show the version information", f"{_C}_config:version"),
}
