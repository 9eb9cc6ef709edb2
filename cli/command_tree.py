"""The table of all commands: module, aliases and one line of help for each, and hints for docker commands that are not supported.

Descriptions follow docker's. To add a command, add a row here and a function in ``cli.commands``.
"""

from cli.compose.commands import COMPOSE
from cli.lazy_group import COMMANDS, MANAGEMENT, CommandEntry

COMMON, SWARM_COMMANDS = "Common Commands", "Swarm Commands"
SECTIONS = (COMMON, MANAGEMENT, SWARM_COMMANDS, COMMANDS)
_C = "cli.commands"
_NO_MANIFESTS = "push the images of a list with another tool, such as skopeo"
_NO_PLUGINS = "there are no plugins"


def _missing(instead: str) -> CommandEntry:
    return CommandEntry("", instead=instead)


CONFIG = {
    "create": CommandEntry("Create a config from a file or STDIN", f"{_C}.secret:create_config"),
    "inspect": CommandEntry("Display detailed information on one or more configs", f"{_C}.secret:inspect_config"),
    "ls": CommandEntry("List configs", f"{_C}.secret:ls_config", ("list",)),
    "rm": CommandEntry("Remove one or more configs", f"{_C}.secret:rm_config", ("remove",)),
    "update": CommandEntry(
        "Give a config new content and update the services that use it", f"{_C}.secret:update_config"
    ),
}
SECRET = {
    "create": CommandEntry("Create a secret from a file or STDIN", f"{_C}.secret:create_secret"),
    "inspect": CommandEntry("Display detailed information on one or more secrets", f"{_C}.secret:inspect_secret"),
    "ls": CommandEntry("List secrets", f"{_C}.secret:ls_secret", ("list",)),
    "rm": CommandEntry("Remove one or more secrets", f"{_C}.secret:rm_secret", ("remove",)),
    "update": CommandEntry(
        "Give a secret new content and update the services that use it", f"{_C}.secret:update_secret"
    ),
}
CONTAINER = {
    "attach": CommandEntry(
        "Attach local standard input, output, and error streams to a running container", f"{_C}.container_attach:attach"
    ),
    "commit": CommandEntry("Create a new image from a container's changes", f"{_C}.container_files:commit"),
    "cp": CommandEntry("Copy files/folders between a container and the local filesystem", f"{_C}.container_files:cp"),
    "create": CommandEntry("Create a new container", f"{_C}.container_run:create"),
    "diff": CommandEntry(
        "Inspect changes to files or directories on a container's filesystem", f"{_C}.container_files:diff"
    ),
    "exec": CommandEntry("Execute a command in a running container", f"{_C}.exec:exec_"),
    "export": CommandEntry("Export a container's filesystem as a tar archive", f"{_C}.container_files:export"),
    "inspect": CommandEntry("Display detailed information on one or more containers", f"{_C}.container:inspect"),
    "kill": CommandEntry("Kill one or more running containers", f"{_C}.container_lifecycle:kill"),
    "logs": CommandEntry("Fetch the logs of a container", f"{_C}.container:logs"),
    "ls": CommandEntry("List containers", f"{_C}.container:ls", ("list", "ps")),
    "pause": CommandEntry("Pause all processes within one or more containers", f"{_C}.container_lifecycle:pause"),
    "port": CommandEntry("List port mappings or a specific mapping for the container", f"{_C}.container:port"),
    "prune": CommandEntry("Remove all stopped containers", f"{_C}.container_lifecycle:prune"),
    "rename": CommandEntry("Rename a container", f"{_C}.container_lifecycle:rename"),
    "restart": CommandEntry("Restart one or more containers", f"{_C}.container_lifecycle:restart"),
    "rm": CommandEntry("Remove one or more containers", f"{_C}.container_lifecycle:rm", ("remove",)),
    "run": CommandEntry("Create and run a new container from an image", f"{_C}.container_run:run"),
    "start": CommandEntry("Start one or more stopped containers", f"{_C}.container_attach:start"),
    "stats": CommandEntry("Display a live stream of container(s) resource usage statistics", f"{_C}.stats:stats"),
    "stop": CommandEntry("Stop one or more running containers", f"{_C}.container_lifecycle:stop"),
    "top": CommandEntry("Display the running processes of a container", f"{_C}.container:top"),
    "unpause": CommandEntry("Unpause all processes within one or more containers", f"{_C}.container_lifecycle:unpause"),
    "update": CommandEntry("Update configuration of one or more containers", f"{_C}.container_lifecycle:update"),
    "wait": CommandEntry(
        "Block until one or more containers stop, then print their exit codes", f"{_C}.container_lifecycle:wait"
    ),
}
IMAGE = {
    "build": CommandEntry("Build an image from a Dockerfile", f"{_C}.build:build"),
    "history": CommandEntry("Show the history of an image", f"{_C}.image:history"),
    "import": CommandEntry("Create an image from a tarball of files", f"{_C}.image:import_"),
    "inspect": CommandEntry("Display detailed information on one or more images", f"{_C}.image:inspect"),
    "load": CommandEntry("Load an image from a tar archive or STDIN", f"{_C}.image:load"),
    "ls": CommandEntry("List images", f"{_C}.image:ls", ("list",)),
    "prune": CommandEntry("Remove unused images", f"{_C}.image:prune"),
    "pull": CommandEntry("Download an image from a registry", f"{_C}.registry:pull"),
    "push": CommandEntry("Upload an image to a registry", f"{_C}.registry:push"),
    "push-to": CommandEntry("Copy an image of this node to other nodes", f"{_C}.image_cluster:push_to"),
    "rm": CommandEntry("Remove one or more images", f"{_C}.image:rm", ("remove",)),
    "save": CommandEntry("Save one or more images to a tar archive", f"{_C}.image:save"),
    "tag": CommandEntry("Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", f"{_C}.image:tag"),
}
BUILDER = {
    "build": IMAGE["build"],
    "prune": CommandEntry("Remove build cache", f"{_C}.build:prune"),
}
NETWORK = {
    "connect": CommandEntry("Connect a container to a network", f"{_C}.network_attach:connect"),
    "create": CommandEntry("Create a network", f"{_C}.network:create"),
    "disconnect": CommandEntry("Disconnect a container from a network", f"{_C}.network_attach:disconnect"),
    "graph": CommandEntry("Draw a network", f"{_C}.network_graph:graph"),
    "inspect": CommandEntry("Display detailed information on one or more networks", f"{_C}.network:inspect"),
    "ls": CommandEntry("List networks", f"{_C}.network:ls", ("list",)),
    "prune": CommandEntry("Remove all unused networks", f"{_C}.network:prune"),
    "rm": CommandEntry("Remove one or more networks", f"{_C}.network:rm", ("remove",)),
    "trace": CommandEntry("Follow the path of a packet and name where it ends", f"{_C}.network_trace:trace"),
    "verify": CommandEntry("Verify the network state of the nodes", f"{_C}.network_verify:verify"),
}
NODE = {
    "demote": CommandEntry("Demote one or more nodes from manager in the swarm", f"{_C}.node:demote"),
    "drain": CommandEntry("Move the tasks of a node to other nodes", f"{_C}.node_drain:drain"),
    "inspect": CommandEntry("Display detailed information on one or more nodes", f"{_C}.node:inspect"),
    "ls": CommandEntry("List nodes in the swarm", f"{_C}.node:ls", ("list",)),
    "promote": CommandEntry("Promote one or more nodes to manager in the swarm", f"{_C}.node:promote"),
    "ps": CommandEntry("List tasks running on one or more nodes, defaults to current node", f"{_C}.node:ps"),
    "rm": CommandEntry("Remove one or more nodes from the swarm", f"{_C}.node:rm", ("remove",)),
    "update": CommandEntry("Update a node", f"{_C}.node:update"),
}
SERVICE = {
    "create": CommandEntry("Create a new service", f"{_C}.service_update:create"),
    "exec": CommandEntry("Execute a command in a running task of a service", f"{_C}.exec:service_exec"),
    "explain": CommandEntry("Explain why tasks of services wait", f"{_C}.service_explain:explain"),
    "history": CommandEntry("Show what happened to a service and its tasks", f"{_C}.service_history:history"),
    "inspect": CommandEntry("Display detailed information on one or more services", f"{_C}.service:inspect"),
    "logs": CommandEntry("Fetch the logs of a service or task", f"{_C}.service:logs"),
    "ls": CommandEntry("List services", f"{_C}.service:ls", ("list",)),
    "ps": CommandEntry("List the tasks of one or more services", f"{_C}.service:ps"),
    "promote": CommandEntry("Let updates that wait after their canaries go on", f"{_C}.service_rollout:promote"),
    "rebalance": CommandEntry("Spread the tasks of services over the nodes again", f"{_C}.service_rollout:rebalance"),
    "restart": CommandEntry("Replace the tasks of services by new ones", f"{_C}.service_rollout:restart"),
    "rm": CommandEntry("Remove one or more services", f"{_C}.service:rm", ("remove",)),
    "rollback": CommandEntry("Revert changes to a service's configuration", f"{_C}.service_update:rollback"),
    "scale": CommandEntry("Scale one or multiple replicated services", f"{_C}.service_update:scale"),
    "start": CommandEntry("Start stopped services", f"{_C}.service_rollout:start"),
    "stop": CommandEntry("Stop services and keep their number of replicas", f"{_C}.service_rollout:stop"),
    "update": CommandEntry("Update a service", f"{_C}.service_update:update"),
}
STACK = {
    "check": CommandEntry("Check Compose files for a cluster", f"{_C}.stack:check"),
    "config": CommandEntry(
        "Outputs the final config file, after doing merges and interpolations", f"{_C}.stack:config"
    ),
    "deploy": CommandEntry("Deploy a new stack or update an existing stack", f"{_C}.stack:deploy", ("up",)),
    "diff": CommandEntry("Show how a stack differs from its Compose files", f"{_C}.stack:diff"),
    "ls": CommandEntry("List stacks", f"{_C}.stack:ls", ("list",)),
    "ps": CommandEntry("List the tasks in the stack", f"{_C}.stack:ps"),
    "rm": CommandEntry("Remove one or more stacks", f"{_C}.stack:rm", ("remove", "down")),
    "services": CommandEntry("List the services in the stack", f"{_C}.stack:services"),
    "watch": CommandEntry("Deploy a stack whenever its Git repository changes", f"{_C}.stack_watch:watch"),
}
SWARM = {
    "backup": CommandEntry("Back up the swarm to an encrypted file", f"{_C}.swarm_backup:backup"),
    "ca": CommandEntry("Display and rotate the root CA", f"{_C}.swarm_ca:ca"),
    "init": CommandEntry("Initialize a swarm", f"{_C}.swarm:init"),
    "join": CommandEntry("Join a swarm as a node and/or manager", f"{_C}.swarm:join"),
    "join-token": CommandEntry("Manage join tokens", f"{_C}.swarm:join_token"),
    "leave": CommandEntry("Leave the swarm", f"{_C}.swarm:leave"),
    "reconnect": CommandEntry("Give this node the new addresses of the managers", f"{_C}.swarm_backup:reconnect"),
    "restore": CommandEntry("Restore a swarm from a backup on this node", f"{_C}.swarm_backup:restore"),
    "unlock": CommandEntry("Unlock a manager", f"{_C}.swarm_unlock:unlock"),
    "unlock-key": CommandEntry("Manage the unlock key", f"{_C}.swarm_unlock:unlock_key"),
    "update": CommandEntry("Update the swarm", f"{_C}.swarm:update"),
}
VOLUME = {
    "create": CommandEntry("Create a volume", f"{_C}.volume:create"),
    "inspect": CommandEntry("Display detailed information on one or more volumes", f"{_C}.volume:inspect"),
    "ls": CommandEntry("List volumes", f"{_C}.volume:ls", ("list",)),
    "prune": CommandEntry("Remove unused local volumes", f"{_C}.volume:prune"),
    "rm": CommandEntry("Remove one or more volumes", f"{_C}.volume:rm", ("remove",)),
    "update": _missing("volumes are local to their node, and only cluster volumes can be updated"),
}
SYSTEM = {
    "df": CommandEntry("Show disk usage", f"{_C}.system_df:df"),
    "events": CommandEntry("Get real time events from the server", f"{_C}.events:events"),
    "info": CommandEntry("Display system-wide information", f"{_C}.system:info"),
    "prune": CommandEntry("Remove unused data", f"{_C}.system_prune:prune"),
}


def _common(entry: CommandEntry) -> CommandEntry:
    return entry._replace(aliases=(), section=COMMON)


def _swarm(text: str, children: dict[str, CommandEntry]) -> CommandEntry:
    return CommandEntry(text, children=children, section=SWARM_COMMANDS)


_COMMON = {
    "build": _common(IMAGE["build"]),
    "run": _common(CONTAINER["run"]),
    "exec": _common(CONTAINER["exec"]),
    "ps": _common(CONTAINER["ls"]),
    "pull": _common(IMAGE["pull"]),
    "push": _common(IMAGE["push"]),
    "images": _common(IMAGE["ls"]),
    "login": CommandEntry("Authenticate to a registry", f"{_C}.registry:login", section=COMMON),
    "logout": CommandEntry("Log out from a registry", f"{_C}.registry:logout", section=COMMON),
    "search": CommandEntry("Search a registry for images", f"{_C}.registry:search", section=COMMON),
    "version": CommandEntry("Show the Covey version information", f"{_C}.system:version", section=COMMON),
    "info": _common(SYSTEM["info"]),
}
_REST = {
    "builder": CommandEntry("Manage builds", children=BUILDER),
    "compose": CommandEntry(
        "Run applications of Compose files on this host",
        children=COMPOSE,
        section=MANAGEMENT,
        options="cli.compose.options:GROUP_OPTIONS",
    ),
    "container": CommandEntry("Manage containers", children=CONTAINER),
    "image": CommandEntry("Manage images", children=IMAGE),
    "lab": CommandEntry("Manage test clusters of namespaces on this machine", f"{_C}.lab:lab", section=MANAGEMENT),
    "network": CommandEntry("Manage networks", children=NETWORK),
    "system": CommandEntry("Manage this node", children=SYSTEM),
    "volume": CommandEntry("Manage volumes", children=VOLUME),
    "config": _swarm("Manage configs", CONFIG),
    "node": _swarm("Manage nodes", NODE),
    "secret": _swarm("Manage secrets", SECRET),
    "service": _swarm("Manage services", SERVICE),
    "stack": _swarm("Manage stacks", STACK),
    "swarm": _swarm("Manage the swarm", SWARM),
    "attach": CONTAINER["attach"],
    "completion": CommandEntry("Generate the autocompletion script for a shell", f"{_C}.completion:completion"),
    "events": SYSTEM["events"],
    "history": IMAGE["history"],
    "import": IMAGE["import"],
    "inspect": CommandEntry("Return low-level information on objects", f"{_C}.inspect:inspect"),
    **{name: CONTAINER[name] for name in ("kill", "logs", "pause", "rename", "restart", "start", "stats", "stop")},
    **{name: CONTAINER[name] for name in ("top", "unpause", "wait")},
    **{name: IMAGE[name] for name in ("load", "save", "tag")},
    "rm": CONTAINER["rm"]._replace(aliases=()),
    "rmi": IMAGE["rm"]._replace(aliases=()),
    **{name: CONTAINER[name] for name in ("commit", "cp", "create", "diff", "export", "port", "update")},
    # What docker has at the top and Covey lacks.
    "buildx": _missing("build with 'covey build', or with 'docker buildx' and a docker-container builder"),
    "checkpoint": _missing("containers cannot be checkpointed"),
    "context": _missing("choose the daemon with --host or COVEY_HOST"),
    "manifest": _missing(_NO_MANIFESTS),
    "plugin": _missing(_NO_PLUGINS),
    "trust": _missing("images are not signed; compare digests with 'covey images --digests'"),
}
ROOT = {**_COMMON, **dict(sorted(_REST.items()))}
