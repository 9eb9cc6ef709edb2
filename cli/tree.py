"""The table of all commands: where each stands, its other names, and one line on what it does."""

from cli.lazy import Entry

_C = "cli.commands"

CONFIG = {
    "create": Entry("Create a config from a file or stdin", f"{_C}.secret:create_config"),
    "inspect": Entry("Show configs in detail", f"{_C}.secret:inspect_config"),
    "ls": Entry("List configs", f"{_C}.secret:ls_config", ("list",)),
    "rm": Entry("Remove configs", f"{_C}.secret:rm_config", ("remove",)),
}
SECRET = {
    "create": Entry("Create a secret from a file or stdin", f"{_C}.secret:create_secret"),
    "inspect": Entry("Show secrets in detail", f"{_C}.secret:inspect_secret"),
    "ls": Entry("List secrets", f"{_C}.secret:ls_secret", ("list",)),
    "rm": Entry("Remove secrets", f"{_C}.secret:rm_secret", ("remove",)),
}
CONTAINER = {
    "exec": Entry("Run a command in a running container", f"{_C}.exec:exec_"),
    "inspect": Entry("Show containers in detail", f"{_C}.container:inspect"),
    "kill": Entry("Send a signal to containers", f"{_C}.container_life:kill"),
    "logs": Entry("Show what a container wrote", f"{_C}.container:logs"),
    "ls": Entry("List containers", f"{_C}.container:ls", ("ps", "list")),
    "pause": Entry("Stop all processes of containers for a while", f"{_C}.container_life:pause"),
    "prune": Entry("Remove all stopped containers", f"{_C}.container_life:prune"),
    "rename": Entry("Rename a container", f"{_C}.container_life:rename"),
    "restart": Entry("Restart containers", f"{_C}.container_life:restart"),
    "rm": Entry("Remove containers", f"{_C}.container_life:rm", ("remove",)),
    "start": Entry("Start stopped containers", f"{_C}.container_life:start"),
    "stats": Entry("Show what containers use, live", f"{_C}.stats:stats"),
    "stop": Entry("Stop containers", f"{_C}.container_life:stop"),
    "top": Entry("Show a container's processes", f"{_C}.container:top"),
    "unpause": Entry("Let paused containers go on", f"{_C}.container_life:unpause"),
    "wait": Entry("Wait until containers stop, then print their exit codes", f"{_C}.container_life:wait"),
    "attach": Entry("Connect to a running container's own streams", f"{_C}.exec:attach"),
}
IMAGE = {
    "history": Entry("Show the steps that made an image", f"{_C}.image:history"),
    "import": Entry("Make an image of a tar archive of files", f"{_C}.image:import_"),
    "inspect": Entry("Show images in detail", f"{_C}.image:inspect"),
    "load": Entry("Load images from an archive", f"{_C}.image:load"),
    "ls": Entry("List images", f"{_C}.image:ls", ("list",)),
    "prune": Entry("Remove unused images", f"{_C}.image:prune"),
    "rm": Entry("Remove images", f"{_C}.image:rm", ("remove",)),
    "save": Entry("Save images to an archive", f"{_C}.image:save"),
    "tag": Entry("Give an image another name", f"{_C}.image:tag"),
}
NETWORK = {
    "create": Entry("Create a network", f"{_C}.network:create"),
    "inspect": Entry("Show networks in detail", f"{_C}.network:inspect"),
    "ls": Entry("List networks", f"{_C}.network:ls", ("list",)),
    "prune": Entry("Remove networks that nothing uses", f"{_C}.network:prune"),
    "rm": Entry("Remove networks", f"{_C}.network:rm", ("remove",)),
}
NODE = {
    "demote": Entry("Make managers workers", f"{_C}.node:demote"),
    "inspect": Entry("Show nodes in detail", f"{_C}.node:inspect"),
    "ls": Entry("List the nodes of the cluster", f"{_C}.node:ls", ("list",)),
    "promote": Entry("Make workers managers", f"{_C}.node:promote"),
    "ps": Entry("List the tasks on nodes, this one unless given", f"{_C}.node:ps"),
    "rm": Entry("Remove nodes from the cluster", f"{_C}.node:rm", ("remove",)),
    "update": Entry("Change a node's role, availability or labels", f"{_C}.node:update"),
}
SERVICE = {
    "create": Entry("Create a service", f"{_C}.service_change:create"),
    "inspect": Entry("Show services in detail", f"{_C}.service:inspect"),
    "logs": Entry("Show what a service's or a task's containers wrote", f"{_C}.service:logs"),
    "ls": Entry("List services", f"{_C}.service:ls", ("list",)),
    "ps": Entry("List the tasks of services", f"{_C}.service:ps"),
    "rm": Entry("Remove services", f"{_C}.service:rm", ("remove",)),
    "rollback": Entry("Go back to a service's previous specification", f"{_C}.service_change:rollback"),
    "scale": Entry("Set how many replicas services have", f"{_C}.service_change:scale"),
    "update": Entry("Change a service", f"{_C}.service_change:update"),
}
STACK = {
    "config": Entry("Show the manifest after merging and interpolation", f"{_C}.stack:config"),
    "deploy": Entry("Deploy a new stack or update one", f"{_C}.stack:deploy", ("up",)),
    "ls": Entry("List stacks", f"{_C}.stack:ls", ("list",)),
    "ps": Entry("List the tasks of a stack", f"{_C}.stack:ps"),
    "rm": Entry("Remove stacks", f"{_C}.stack:rm", ("remove", "down")),
    "services": Entry("List the services of a stack", f"{_C}.stack:services"),
}
SWARM = {
    "backup": Entry("Write the whole cluster into one sealed file", f"{_C}.swarm_recovery:backup"),
    "ca": Entry("Show and rotate the root certificate", f"{_C}.swarm_ca:ca"),
    "init": Entry("Found a cluster on this host", f"{_C}.swarm:init"),
    "join": Entry("Join this host to a cluster", f"{_C}.swarm:join"),
    "join-token": Entry("Show and rotate the tokens for joining", f"{_C}.swarm:join_token"),
    "leave": Entry("Leave the cluster", f"{_C}.swarm:leave"),
    "reconnect": Entry("Tell this node where the cluster's managers are now", f"{_C}.swarm_recovery:reconnect"),
    "restore": Entry("Bring a cluster back from a backup on this host", f"{_C}.swarm_recovery:restore"),
    "unlock": Entry("Unlock a manager", f"{_C}.swarm_lock:unlock"),
    "unlock-key": Entry("Show and rotate the unlock key", f"{_C}.swarm_lock:unlock_key"),
    "update": Entry("Change the cluster's settings", f"{_C}.swarm:update"),
}
VOLUME = {
    "create": Entry("Create a volume", f"{_C}.volume:create"),
    "inspect": Entry("Show volumes in detail", f"{_C}.volume:inspect"),
    "ls": Entry("List volumes", f"{_C}.volume:ls", ("list",)),
    "prune": Entry("Remove volumes that nothing uses", f"{_C}.volume:prune"),
    "rm": Entry("Remove volumes", f"{_C}.volume:rm", ("remove",)),
}
SYSTEM = {
    "events": Entry("Show what happens on this host and in the cluster", f"{_C}.events:events"),
    "info": Entry("Show the state of this host and its cluster", f"{_C}.system:info"),
}
ROOT = {
    "config": Entry("Manage configs", children=CONFIG),
    "container": Entry("Manage the containers of this host", children=CONTAINER),
    "image": Entry("Manage the images of this host", children=IMAGE),
    "network": Entry("Manage networks", children=NETWORK),
    "node": Entry("Manage the nodes of the cluster", children=NODE),
    "secret": Entry("Manage secrets", children=SECRET),
    "service": Entry("Manage services", children=SERVICE),
    "stack": Entry("Manage stacks of services from Compose files", children=STACK),
    "swarm": Entry("Found, join and manage the cluster", children=SWARM),
    "system": Entry("Look at this host", children=SYSTEM),
    "volume": Entry("Manage the volumes of this host", children=VOLUME),
    "attach": CONTAINER["attach"],
    "completion": Entry("Print the completion script of a shell", f"{_C}.completion:completion"),
    "events": SYSTEM["events"],
    "exec": CONTAINER["exec"],
    "history": IMAGE["history"],
    "images": IMAGE["ls"]._replace(aliases=()),
    "import": IMAGE["import"],
    "info": SYSTEM["info"],
    "inspect": Entry("Show objects of any kind in detail", f"{_C}.inspect:inspect"),
    "kill": CONTAINER["kill"],
    "lab": Entry("Run clusters of hosts made of namespaces on this machine", f"{_C}.lab:lab"),
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
    "version": Entry("Show the versions of the command and the daemon", f"{_C}.system:version"),
    "wait": CONTAINER["wait"],
}
