"""The known differences from Docker's engine with their reasons, and the fields that came or went after its API 1.41.

Invariant: each row that is listed differs, and no other one does (tests check both). ``docs/compatibility.md`` shows all of this.
"""

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """One reason, and the rows that it explains, each as ``CONCEPT: METHOD PATH (NOTE)``."""

    reason: str
    rows: tuple[str, ...]


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "A mistake in a request is answered with 400 (or 404 for an object that is not there), where Docker 20.10 says 500; newer "
        "engines changed many of these.",
        (
            "nodes: GET /nodes (unknown role)",
            "nodes: GET /nodes (unknown membership)",
            "services: POST /networks/create (bad subnet)",
            "services: POST /networks/create (overlay without a name)",
            "services: GET /tasks (unknown state)",
            "services: GET /services/web/logs (no stream chosen)",
            "services: POST /services/create (network that is not there)",
            "services: POST /services/create (bad constraint)",
            "services: POST /services/create (constraint with a bad key)",
            "services: POST /services/web/update (unknown rollback)",
            "system: GET /events (filters that are not JSON)",
            "system: GET /events (a time that is none)",
            "images: GET /images/json (filters that are not JSON)",
            "images: GET /images/json (filters of a wrong type)",
            "bad-input: GET /containers/json (limit that is no number)",
            "bad-input: GET /containers/json (filters of a wrong type)",
            "bad-input: GET /containers/json (filters as a list)",
            "bad-input: GET /containers/json (filters as a string)",
            "system: POST /auth (no body)",
            "images: POST /images/covey-test:1/tag (no repository)",
            "images: POST /images/covey-test:1/tag (bad repository)",
            "images: POST /images/covey-test:1/tag (bad tag)",
            "images: POST /images/prune (until that is no time)",
            "images: POST /images/create (import of bytes that are no archive)",
            "images: POST /images/UPPER/push (bad reference)",
            "containers-missing: GET /containers/json (exit code that is no number)",
            "containers-missing: GET /containers/json (before a container that is not there)",
            "containers: POST /containers/create (number for the image)",
            "containers: POST /containers/create (string for the command)",
            "containers: POST /containers/create (string for a label map)",
            "containers: POST /containers/create (bad security option)",
            "containers: POST /containers/create (bad bind)",
            "containers: POST /containers/create (bind to the root)",
            "containers: POST /containers/life/unpause (not running)",
            "containers: GET /containers/life/top (bad columns)",
            "containers: GET /containers/life/logs (bad since)",
            "containers: POST /containers/life/unpause (again)",
            "containers: POST /containers/life/exec (bad detach keys)",
            "containers: PUT /containers/life/archive (no archive)",
            "containers: PUT /containers/life/archive (file for a folder)",
            "containers: POST /commit (bad name)",
            "container-ports: GET /containers/json (published, no port)",
            "container-ports: POST /containers/create (bindings of a wrong type)",
            "container-ports: POST /containers/create (host port as a number)",
            "networks: GET /networks (type that is none)",
            "networks: POST /networks/create (no name)",
            "networks: POST /networks/create (bad subnet)",
            "networks: POST /networks/create (gateway without a subnet)",
            "networks: POST /networks/create (gateway outside of its subnet)",
            "networks: POST /networks/create (gateway that is none)",
            "networks: POST /networks/create (flag that is none)",
            "networks: POST /networks/create (MTU that is none)",
            "networks: POST /networks/create (negative MTU)",
            "networks: POST /networks/create (host binding that is none)",
            "networks: POST /networks/create (overlay outside a swarm)",
            "networks: POST /containers/net-two/start (with an address outside)",
            "containers-missing: POST /containers/prune (until that is no time)",
            "networks: POST /networks/prune (until that is no time)",
            "bad-input: POST /containers/create (empty body)",
            "bad-input: POST /containers/create (a broken object)",
            "bad-input: POST /containers/create (a word)",
            "bad-input: POST /containers/create (a broken string)",
            "bad-input: POST /containers/create (a key without quotes)",
            "bad-input: POST /containers/create (a trailing comma)",
            "bad-input: POST /containers/create (a missing colon)",
            "bad-input: POST /containers/create (a missing comma)",
            "bad-input: POST /containers/create (a list)",
            "bad-input: POST /containers/create (a string)",
            "bad-input: POST /containers/create (a number)",
            "bad-input: POST /containers/create (true)",
            "bad-input: POST /containers/create (a bad escape)",
            "bad-input: POST /containers/create (a control character)",
            "bad-input: POST /containers/create (a bad number)",
            "bad-input: POST /containers/create (single quotes)",
            "outside-swarm: POST /swarm/join (bad token)",
            "outside-swarm: POST /swarm/init (unknown availability)",
            "bad-input: GET /containers/json (broken filters)",
        ),
    ),
    Difference(
        "Values of a filter that match nothing by their form are refused by name, where Docker finds nothing.",
        ("services: GET /services (unknown mode)", "system: GET /events (unknown filter)"),
    ),
    Difference(
        "Content behind the JSON value of a body is refused, as newer engines do.",
        (
            *(
                f"bad-input: POST /{kind}/create (text after the value)"
                for kind in ("volumes", "networks", "containers")
            ),
            *(f"bad-input: POST /{kind}/create (two objects)" for kind in ("volumes", "networks", "containers")),
            *(
                f"bad-input-in-a-swarm: POST /{kind}/create (text after the value)"
                for kind in ("services", "secrets", "configs")
            ),
            *(
                f"bad-input-in-a-swarm: POST /{kind}/create (two objects)"
                for kind in ("services", "secrets", "configs")
            ),
        ),
    ),
    Difference(
        "The words are those of newer engines.",
        (
            "containers: POST /containers/create (unknown restart policy)",
            "containers: POST /containers/create (retries without on-failure)",
            "containers: POST /containers/create (negative retries)",
            "containers: POST /containers/create (unknown runtime)",
            "containers: POST /containers/life/update (unknown restart policy)",
            "containers: DELETE /containers/life (running)",
            "containers: GET /containers/life/archive (no path)",
            "containers-missing: GET /containers/none/archive (no path)",
            "networks: GET /networks (dangling that is no boolean)",
            "networks: POST /networks/create (subnet in use)",
        ),
    ),
    Difference(
        "A mode of a namespace that is none is refused when the container is created, as newer engines do.",
        (
            "containers: POST /containers/create (unknown IPC mode)",
            "containers: POST /containers/create (unknown PID mode)",
            "containers: POST /containers/create (unknown UTS mode)",
            "containers: POST /containers/create (privileged and user namespaces)",
        ),
    ),
    Difference(
        "A limit or a device mode that no start could set is refused when the container is created.",
        (
            "containers: POST /containers/create (unknown ulimit)",
            "containers: POST /containers/create (soft limit above the hard one)",
            "containers: POST /containers/create (bad device permissions)",
        ),
    ),
    Difference(
        "A published port whose number, protocol or address is none is refused when the container is created, where Docker's start fails.",
        (
            *(
                f"container-ports: POST /containers/create ({note})"
                for note in ("port 0", "unknown protocol", "address that is none")
            ),
            *(f"container-ports: DELETE /containers/bad-{number} (bad port)" for number in (3, 4, 8)),
        ),
    ),
    Difference(
        "A service's published port is checked: an unknown protocol or mode and a number outside of 1 to 65535 are refused. Docker stores "
        "them, takes words that it does not know for the defaults, and tasks fail for the rest.",
        (
            *(
                f"service-ports: POST /services/create ({note})"
                for note in (
                    "unknown protocol",
                    "unknown publish mode",
                    "no target",
                    "target of zero",
                    "target above 65535",
                    "published above 65535",
                )
            ),
            *(f"service-ports: DELETE /services/bad-{number} (bad port)" for number in (1, 2, 3, 4, 5, 9)),
        ),
    ),
    Difference(
        "An image must be named.",
        (
            "bad-input: POST /containers/create (a number as a name)",
            "bad-input: POST /containers/create (a list as a name)",
            "bad-input: POST /containers/create (an object as a name)",
            "bad-input: POST /containers/create (true as a name)",
        ),
    ),
    Difference(
        "The error of an attach that did not begin is JSON, as all errors are; Docker sends bytes of the stream.",
        ("containers-missing: POST /containers/none/attach",),
    ),
    Difference(
        "Saving images needs their names; Docker sends an empty archive.", ("images: GET /images/get (no names)",)
    ),
    Difference(
        "Names with a newline are looked up like others.",
        ("bad-input: GET /containers/a%0Ab/json (newline in a name)",),
    ),
    Difference(
        "Sessions serve only builds with BuildKit, which are not done.", ("system: POST /session (not an upgrade)",)
    ),
    Difference(
        "A disconnect from a network that the container is not on is a conflict.",
        (
            "networks: POST /networks/unknown-option/disconnect (again)",
            "networks: POST /networks/unknown-option/disconnect (again by force)",
        ),
    ),
    Difference(
        "An image that was committed does not repeat the container's configuration in `ContainerConfig`.",
        ("containers: GET /images/made:1/json (committed)",),
    ),
    Difference(
        "What the host cannot do is 501: a size of the writable layer needs a file system with project quotas.",
        ("containers: POST /containers/create (storage option)",),
    ),
    Difference(
        "Logs have a content type at every API version.",
        ("containers: GET /containers/life/logs (stdout)", "containers: GET /containers/life/logs (stopped)"),
    ),
    Difference(
        "A join that names no manager is refused for that, before its other fields are read.",
        ("outside-swarm: POST /swarm/join (nothing given)",),
    ),
    Difference(
        "Raft ticks with which no election could succeed are refused; Docker stores them and uses others.",
        ("swarm: POST /swarm/update (bad ticks)",),
    ),
    Difference("`self` names this node also in the API.", ("nodes: GET /nodes/self",)),
    Difference(
        "A trailing slash is the same path everywhere; Docker has it only for `/networks/`.",
        (
            "system: GET /info/ (trailing slash)",
            "system: GET /containers/json/ (trailing slash)",
            "system: GET /images/{image}/json/ (trailing slash)",
        ),
    ),
    Difference(
        "The oldest API version is 1.24, as in Docker 28, and its refusal is JSON.",
        ("system: GET /v1.1/info (API version too old)",),
    ),
    Difference(
        "A template driver other than `golang` is refused; Docker stores it, and every task fails.",
        tuple(f"secrets: POST /{kind}/create (unknown template)" for kind in ("secrets", "configs")),
    ),
    Difference("The filter `names` works for configs as it does for secrets.", ("secrets: GET /configs (names)",)),
    Difference(
        "A task has the name of its container, as the specification says.",
        ("services: GET /tasks (running)", "services: GET /tasks/{task}", "services: GET /tasks (node)"),
    ),
    Difference(
        "A job that could never run, and the rollback configuration of a job, are refused; Docker stores and ignores them.",
        (
            "services: POST /services/create (job that never runs)",
            "services: POST /services/create (job with a rollback config)",
            "services: DELETE /services/never",
            "services: DELETE /services/back",
        ),
    ),
    Difference(
        "Jobs are shown without a default update configuration: Docker refuses it when a client sends it back.",
        ("services: GET /services/each (global job with defaults)",),
    ),
    Difference(
        "An isolation other than `default` and a health check of an unknown kind are refused at once; Docker accepts the service and its "
        "tasks fail.",
        (
            "services: POST /services/create (bad isolation)",
            "services: POST /services/create (health check with an unknown test)",
            "services: DELETE /services/iso",
            "services: DELETE /services/health",
        ),
    ),
    Difference(
        "A field of a template that is unknown is named with those that are known; Docker's words are those of Go's templates.",
        ("services: POST /services/create (bad template)",),
    ),
)

NEWER_FIELDS: dict[str, str] = {
    ".Warnings": "1.44",
    ".GraphDriver.Data.ID": "1.44",
}
"""Fields that API 1.42 to 1.50 added; Covey shows them to older clients too, as Docker's newer engines do. End of a path: API version."""

GONE_FIELDS: dict[str, str] = {"^.Error": "1.42"}
"""Fields of Docker 20.10 that API 1.42 to 1.50 removed. End of a path: API version."""

EMPTY_FIELDS: tuple[str, ...] = (
    ".ImagesDeleted",
    ".NetworksDeleted",
    ".Labels",
    ".Options",
    ".RepoDigests",
    ".Containers",
    ".Env",
    ".DriverOpts",
    ".BuildCache",
    ".HostConfig.BlkioDeviceReadBps",
    ".HostConfig.BlkioDeviceReadIOps",
    ".HostConfig.BlkioDeviceWriteBps",
    ".HostConfig.BlkioDeviceWriteIOps",
    ".HostConfig.BlkioWeightDevice",
    ".HostConfig.Devices",
    ".HostConfig.Dns",
    ".HostConfig.DnsOptions",
    ".HostConfig.DnsSearch",
    ".HostConfig.PortBindings",
    ".HostConfig.Ulimits",
    ".ContainersDeleted",
)
"""Maps and lists that Docker 20.10 writes as null where they are empty, and Covey as ``{}`` or ``[]``, as newer engines do for most."""

FILLED_FIELDS: tuple[str, ...] = (
    ".DefaultAddressPools",
    ".ProductLicense",
    ".IPAM.Config[].Gateway",
    ".Peers",
    ".SizeRw",
    ".UpdateConfig.Monitor",
    ".RollbackConfig.Monitor",
    ".Config.MacAddress",
    ".Config.StopSignal",
    ".Config.StopTimeout",
    ".HostConfig.Runtime",
    ".Spec.CAConfig.NodeCertExpiry",
    ".Spec.Dispatcher.HeartbeatPeriod",
    ".Spec.Raft.LogEntriesForSlowFollowers",
    ".Spec.Raft.SnapshotInterval",
)
"""Values that Covey always shows, as they are in force; Docker 20.10 omits them where they are zero, empty or the default."""

OPEN_OBJECTS: tuple[str, ...] = (".memory_stats.stats", ".blkio_stats")
"""Objects whose content is the kernel's: Docker 20.10 shows the keys that it knows, Covey all."""

HIDDEN_FIELDS: tuple[str, ...] = (".GraphDriver.Data",)
"""Details of Docker's storage, such as the folders of layers, which Covey does not show."""
