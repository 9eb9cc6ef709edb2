"""The table of all commands: where each stands, its other names, and one line on what it does."""

from cli.lazy_group import CommandEntry

_C = "cli.commands"

CONFIG = {
    "create": CommandEntry("Create a config from a file or stdin", f"{_C}.secret:create_config"),
    "inspect": CommandEntry("Show configs in detail", f"{_C}.secret:inspect_config"),
    "ls": CommandEntry("List configs", f"{_C}.secret:ls_config", ("list",)),
    "rm": CommandEntry("Remove configs", f"{_C}.secret:rm_config", ("remove",)),
}
SECRET = {
    "create": CommandEntry("Create a secret from a file or stdin", f"{_C}.secret:create_secret"),
    "inspect": CommandEntry("Show secrets in detail", f"{_C}.secret:inspect_secret"),
    "ls": CommandEntry("List secrets", f"{_C}.secret:ls_secret", ("list",)),
    "rm": CommandEntry("Remove secrets", f"{_C}.secret:rm_secret", ("remove",)),
}
CONTAINER = {
    "exec": CommandEntry("Run a command in a running container", f"{_C}.exec:exec_"),
    "inspect": CommandEntry("Show containers in detail", f"{_C}.container:inspect"),
    "kill": CommandEntry("Send a signal to containers", f"{_C}.container_lifecycle:kill"),
    "logs": CommandEntry("Show what a container wrote", f"{_C}.container:logs"),
    "ls": CommandEntry("List containers", f"{_C}.container:ls", ("ps", "list")),
    "pause": CommandEntry("Stop all processes of containers for a while", f"{_C}.container_lifecycle:pause"),
    "prune": CommandEntry("Remove all stopped containers", f"{_C}.container_lifecycle:prune"),
    "rename": CommandEntry("Rename a container", f"{_C}.container_lifecycle:rename"),
    "restart": CommandEntry("Restart containers", f"{_C}.container_lifecycle:restart"),
    "rm": CommandEntry("Remove containers", f"{_C}.container_lifecycle:rm", ("remove",)),
    "start": CommandEntry("Start stopped containers", f"{_C}.container_lifecycle:start"),
    "stats": CommandEntry("Show what containers use, live", f"{_C}.stats:stats"),
    "stop": CommandEntry("Stop containers", f"{_C}.container_lifecycle:stop"),
    "top": CommandEntry("Show a container's processes", f"{_C}.container:top"),
    "unpause": CommandEntry("Let paused containers go on", f"{_C}.container_lifecycle:unpause"),
    "wait": CommandEntry("Wait until containers stop, then print their exit codes", f"{_C}.container_lifecycle:wait"),
    "attach": CommandEntry("Connect to a running container's own streams", f"{_C}.exec:attach"),
}
IMAGE = {
    "history": CommandEntry("Show the steps that made an image", f"{_C}.image:history"),
    "import": CommandEntry("Make an image of a tar archive of files", f"{_C}.image:import_"),
    "inspect": CommandEntry("Show images in detail", f"{_C}.image:inspect"),
    "load": CommandEntry("Load images from an archive", f"{_C}.image:load"),
    "ls": CommandEntry("List images", f"{_C}.image:ls", ("list",)),
    "prune": CommandEntry("Remove unused images", f"{_C}.image:prune"),
    "rm": CommandEntry("Remove images", f"{_C}.image:rm", ("remove",)),
    "save": CommandEntry("Save images to an archive", f"{_C}.image:save"),
    "tag": CommandEntry("Give an image another name", f"{_C}.image:tag"),
}
NETWORK = {
    "create": CommandEntry("Create a network", f"{_C}.network:create"),
    "inspect": CommandEntry("Show networks in detail", f"{_C}.network:inspect"),
    "ls": CommandEntry("List networks", f"{_C}.network:ls", ("list",)),
    "prune": CommandEntry("Remove networks that nothing uses", f"{_C}.network:prune"),
    "rm": CommandEntry("Remove networks", f"{_C}.network:rm", ("remove",)),
}
NODE = {
    "demote": CommandEntry("Make managers workers", f"{_C}.node:demote"),
    "inspect": CommandEntry("Show nodes in detail", f"{_C}.node:inspect"),
    "ls": CommandEntry("List the nodes of the cluster", f"{_C}.node:ls", ("list",)),
    "promote": CommandEntry("Make workers managers", f"{_C}.node:promote"),
    "ps": CommandEntry("List the tasks on nodes, this one unless given", f"{_C}.node:ps"),
    "rm": CommandEntry("Remove nodes from the cluster", f"{_C}.node:rm", ("remove",)),
    "update": CommandEntry("Change a node's role, availability or labels", f"{_C}.node:update"),
}
SERVICE = {
    "create": CommandEntry("Create a service", f"{_C}.service_update:create"),
    "inspect": CommandEntry("Show services in detail", f"{_C}.service:inspect"),
    "logs": CommandEntry("Show what a service's or a task's containers wrote", f"{_C}.service:logs"),
    "ls": CommandEntry("List services", f"{_C}.service:ls", ("list",)),
    "ps": CommandEntry("List the tasks of services", f"{_C}.service:ps"),
    "rm": CommandEntry("Remove services", f"{_C}.service:rm", ("remove",)),
    "rollback": CommandEntry("Go back to a service's previous specification", f"{_C}.service_update:rollback"),
    "scale": CommandEntry("Set how many replicas services have", f"{_C}.service_update:scale"),
    "update": CommandEntry("Change a service", f"{_C}.service_update:update"),
}
STACK = {
    "config": CommandEntry("Show the manifest after merging and interpolation", f"{_C}.stack:config"),
    "deploy": CommandEntry("Deploy a new stack or update one", f"{_C}.stack:deploy", ("up",)),
    "ls": CommandEntry("List stacks", f"{_C}.stack:ls", ("list",)),
    "ps": CommandEntry("List the tasks of a stack", f"{_C}.stack:ps"),
    "rm": CommandEntry("Remove stacks", f"{_C}.stack:rm", ("remove", "down")),
    "services": CommandEntry("List the services of a stack", f"{_C}.stack:services"),
}
SWARM = {
    "backup": CommandEntry("Write the whole cluster into one sealed file", f"{_C}.swarm_backup:backup"),
    "ca": CommandEntry("Show and rotate the root certificate", f"{_C}.swarm_ca:ca"),
    "init": CommandEntry("Found a cluster on this host", f"{_C}.swarm:init"),
    "join": CommandEntry("Join this host to a cluster", f"{_C}.swarm:join"),
    "join-token": CommandEntry("Show and rotate the tokens for joining", f"{_C}.swarm:join_token"),
    "leave": CommandEntry("Leave the cluster", f"{_C}.swarm:leave"),
    "reconnect": CommandEntry("Tell this node where the cluster's managers are now", f"{_C}.swarm_backup:reconnect"),
    "restore": CommandEntry("Bring a cluster back from a backup on this host", f"{_C}.swarm_backup:restore"),
    "unlock": CommandEntry("Unlock a manager", f"{_C}.swarm_unlock:unlock"),
    "unlock-key": CommandEntry("Show and rotate the unlock key", f"{_C}.swarm_unlock:unlock_key"),
    "update": CommandEntry("Change the cluster's settings", f"{_C}.swarm:update"),
}
VOLUME = {
    "create": CommandEntry("Create a volume", f"{_C}.volume:create"),
    "inspect": CommandEntry("Show volumes in detail", f"{_C}.volume:inspect"),
    "ls": CommandEntry("List volumes", f"{_C}.volume:ls", ("list",)),
    "prune": CommandEntry("Remove volumes that nothing uses", f"{_C}.volume:prune"),
    "rm": CommandEntry("Remove volumes", f"{_C}.volume:rm", ("remove",)),
}
SYSTEM = {
    "events": CommandEntry("Show what happens on this host and in the cluster", f"{_C}.events:events"),
    "info": CommandEntry("Show the state of this host and its cluster", f"{_C}.system:info"),
}
ROOT = {
    "config": CommandEntry("Manage configs", children=CONFIG),
    "container": CommandEntry("Manage the containers of this host", children=CONTAINER),
    "image": CommandEntry("Manage the images of this host", children=IMAGE),
    "network": CommandEntry("Manage networks", children=NETWORK),
    "node": CommandEntry("Manage the nodes of the cluster", children=NODE),
    "secret": CommandEntry("Manage secrets", children=SECRET),
    "service": CommandEntry("Manage services", children=SERVICE),
    "stack": CommandEntry("Manage stacks of services from Compose files", children=STACK),
    "swarm": CommandEntry("Found, join and manage the cluster", children=SWARM),
    "system": CommandEntry("Look at this host", children=SYSTEM),
    "volume": CommandEntry("Manage the volumes of this host", children=VOLUME),
    "attach": CONTAINER["attach"],
    "completion": CommandEntry("Print the completion script of a shell", f"{_C}.completion:completion"),
    "events": SYSTEM["events"],
    "exec": CONTAINER["exec"],
    "history": IMAGE["history"],
    "images": IMAGE["ls"]._replace(aliases=()),
    "import": IMAGE["import"],
    "info": SYSTEM["info"],
    "inspect": CommandEntry("Show objects of any kind in detail", f"{_C}.inspect:inspect"),
    "kill": CONTAINER["kill"],
    "lab": CommandEntry("Run clusters of hosts made of namespaces on this machine", f"{_C}.lab:lab"),
    "load": IMAGE["load"],
    "logs": CONTAINER["logs"],
    "pause": CONTAINER["pause"],
    "ps": CONTAINER["ls"]._replace(aliases=()),
    "rename": CONTAINER["rename"],
    "restart": CONTAINER["restart"],
    "rm": CONTAINER["rm"]._replace(aliases=()),
    "rmi": IMAGE["rm"]._replace(aliases=()),
    "save": IMAGE["save"],
    "start": CONTAINER["start"],
    "stats": CONTAINER["stats"],
    "stop": CONTAINER["stop"],
    "tag": IMAGE["tag"],
    "top": CONTAINER["top"],
    "unpause": CONTAINER["unpause"],
    "version": CommandEntry("Show the versions of the command and the daemon", f"{_C}.system:version"),
    "wait": CONTAINER["wait"],
}
