"""The table of the commands of ``covey compose``. Descriptions follow Docker Compose's."""

from cli.lazy_group import CommandEntry

_C = "cli.commands.compose"

COMPOSE = {
    "attach": CommandEntry(
        "Attach local standard input, output, and error streams to a service's running container", f"{_C}_output:attach"
    ),
    "bridge": CommandEntry(
        "",
        instead="it converts Compose files by images of Docker's; deploy the file on a cluster with 'covey stack deploy'",
    ),
    "build": CommandEntry("Build or rebuild services", f"{_C}_images:build"),
    "commit": CommandEntry("Create a new image from a service container's changes", f"{_C}_files:commit"),
    "config": CommandEntry(
        "Parse, resolve and render compose file in canonical format", f"{_C}_config:config", ("convert",)
    ),
    "cp": CommandEntry("Copy files/folders between a service container and the local filesystem", f"{_C}_files:cp"),
    "create": CommandEntry("Create containers for a service", f"{_C}_up:create"),
    "down": CommandEntry("Stop and remove containers, networks", f"{_C}_up:down"),
    "events": CommandEntry("Receive real time events from containers", f"{_C}_output:events"),
    "exec": CommandEntry("Execute a command in a running container", f"{_C}_run:exec_"),
    "export": CommandEntry("Export a service container's filesystem as a tar archive", f"{_C}_files:export"),
    "images": CommandEntry("List images used by the created containers", f"{_C}_images:images"),
    "kill": CommandEntry("Force stop service containers", f"{_C}_lifecycle:kill"),
    "logs": CommandEntry("View output from containers", f"{_C}_output:logs"),
    "ls": CommandEntry("List running compose projects", f"{_C}_images:ls"),
    "pause": CommandEntry("Pause services", f"{_C}_lifecycle:pause"),
    "port": CommandEntry(
        "List port mappings or print the public port for a specific mapping for the service", f"{_C}_run:port"
    ),
    "ps": CommandEntry("List containers", f"{_C}_list:ps"),
    "publish": CommandEntry(
        "",
        instead="it stores Compose files in a registry; keep them in a Git repository and use 'covey stack deploy --git'",
    ),
    "pull": CommandEntry("Pull service images", f"{_C}_images:pull"),
    "push": CommandEntry("Push service images", f"{_C}_images:push"),
    "restart": CommandEntry("Restart service containers", f"{_C}_lifecycle:restart"),
    "rm": CommandEntry("Remove stopped service containers", f"{_C}_lifecycle:rm"),
    "run": CommandEntry("Run a one-off command on a service", f"{_C}_run:run"),
    "scale": CommandEntry("Scale services", f"{_C}_lifecycle:scale"),
    "start": CommandEntry("Start services", f"{_C}_lifecycle:start"),
    "stats": CommandEntry("Display a live stream of container(s) resource usage statistics", f"{_C}_output:stats"),
    "stop": CommandEntry("Stop services", f"{_C}_lifecycle:stop"),
    "top": CommandEntry("Display the running processes", f"{_C}_run:top"),
    "unpause": CommandEntry("Unpause services", f"{_C}_lifecycle:unpause"),
    "up": CommandEntry("Create and start containers", f"{_C}_up:up"),
    "version": CommandEntry("Show the version information", f"{_C}_config:version"),
    "volumes": CommandEntry("List volumes", f"{_C}_images:volumes"),
    "wait": CommandEntry("Block until containers of all (or specified) services stop", f"{_C}_lifecycle:wait"),
    "watch": CommandEntry(
        "Watch build context for service and rebuild/refresh containers when files are updated", f"{_C}_up:watch"
    ),
}
