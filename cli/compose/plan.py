"""Plans ``up``, ``create``, ``run`` and ``scale``: from a project and the state of the host to ordered steps. Pure.

Invariant: a container whose configuration, image and networks are as described is not touched.
"""

from collections.abc import Iterable, Mapping

import msgspec

from cli.compose import labels
from cli.compose.config_hash import service_hash
from cli.compose.model import Application, ExistingContainer, HostState, Values
from cli.compose.objects_plan import plan_objects, removal_steps
from cli.compose.steps import Action, Plan, Step, in_dependency_order, without_missing
from covey.errors import InvalidArgumentError, NotFoundError

CHANGED, ALWAYS, NEVER = "changed", "always", "never"
_SHARING = ("network_mode", "ipc", "pid")
READY = "ready"
_STARTED, _COMPLETED = "service_started", "service_completed_successfully"


class UpOptions(msgspec.Struct, frozen=True):
    """What ``up`` was asked for.

    Attributes:
        services: the services to bring up with their dependencies; empty means all.
        scale: numbers of containers by service.
        recreate: which containers of the named services are made anew: changed, always or never.
        recreate_dependencies: the same for the services that they depend on.
        dependencies: bring up dependencies too.
        start: start the containers.
        remove_orphans: remove containers of services that the project does not have.
        wait: wait until all are running, and healthy where they have a health check.
        recreate_volumes: remove volumes whose configuration changed, with their data, and make them anew.
    """

    services: tuple[str, ...] = ()
    scale: Mapping[str, int] = msgspec.field(default_factory=dict)
    recreate: str = CHANGED
    recreate_dependencies: str = CHANGED
    dependencies: bool = True
    start: bool = True
    remove_orphans: bool = False
    wait: bool = False
    recreate_volumes: bool = False


def selected_services(application: Application, names: Iterable[str], *, dependencies: bool) -> list[str]:
    """The services with those that they need, each after its dependencies.

    Raises:
        NotFoundError: a service that the project does not have.
    """
    wanted = list(names) or list(application.services)
    for name in wanted:
        if name not in application.services:
            raise NotFoundError(f"no such service: {name}")
    if dependencies:
        for name in wanted:  # grows while it is read
            needed = application.services[name].get("depends_on") or {}
            wanted += [other for other in needed if other in application.services and other not in wanted]
    return in_dependency_order(sorted(wanted), dependency_names(application.services))


def dependency_names(services: Mapping[str, Values]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(service.get("depends_on") or ()) for name, service in services.items()}


def scale_of(name: str, service: Values, options: UpOptions) -> int:
    """How many containers a service has.

    Raises:
        InvalidArgumentError: more than one, though the name is given.
    """
    given = options.scale.get(name)
    if given is None:
        given = service.get("scale")
    if given is None:
        given = (service.get("deploy") or {}).get("replicas")
    count = 1 if given is None else int(given)
    if count > 1 and service.get("container_name"):
        raise InvalidArgumentError(
            f'WARNING: The "{name}" service is using the custom container name "{service["container_name"]}". '
            "Docker requires each container to have a unique name. Remove the custom name to scale the service"
        )
    return count


def plan_up(application: Application, state: HostState, options: UpOptions) -> Plan:
    """The steps to bring services up.

    Raises:
        NotFoundError: an unknown service, or a missing external network or volume.
        InvalidArgumentError: a scale that a service cannot have.
    """
    for name in options.scale:
        if name not in application.services:
            raise NotFoundError(f"no such service: {name}")
    names = selected_services(application, options.services, dependencies=options.dependencies)
    objects = plan_objects(application, state, names, recreate_volumes=options.recreate_volumes)
    notices = objects.notices
    kept = tuple(item for item in state.containers if item.id not in objects.removed_containers)
    state = msgspec.structs.replace(state, containers=kept)
    planner = _UpPlanner(application, state, options, frozenset(objects.changed_networks))
    for name in names:
        planner.add_service(name)
    if options.wait and options.start:
        planner.add_waits(names)
    steps = [*objects.steps, *planner.steps]
    orphans = orphaned(application, state)
    if orphans and options.remove_orphans:
        steps += removal_steps(orphans, "orphan")
    elif orphans:
        listed = " ".join(container.name for container in orphans)
        notices.append(
            f"Found orphan containers ([{listed}]) for this project. If you removed or renamed this service in your compose "
            "file, you can run this command with the --remove-orphans flag to clean it up."
        )
    return Plan(without_missing(steps), tuple(notices))


def orphaned(application: Application, state: HostState) -> list[ExistingContainer]:
    """The containers of services that the project does not have."""
    known = {*application.services, *application.disabled}
    return [item for item in state.containers if not item.one_off and item.service not in known]


class _UpPlanner:
    """Collects the steps of services, which are added in dependency order."""

    def __init__(
        self, application: Application, state: HostState, options: UpOptions, changed_networks: frozenset[str]
    ) -> None:
        self._application = application
        self._state = state
        self._options = options
        self._changed_networks = changed_networks
        self._made: dict[str, list[str]] = {}
        self._started: dict[str, list[str]] = {}
        self._renewed: set[str] = set()
        self._waits: dict[tuple[str, str], Step] = {}
        self.steps: list[Step] = []

    def add_service(self, name: str) -> None:
        service = self._application.services[name]
        existing = [item for item in self._state.containers if item.service == name and not item.one_off]
        existing.sort(key=lambda item: (not item.running, item.number))
        count = scale_of(name, service, self._options)
        kept, surplus = existing[:count], existing[count:]
        self.steps += removal_steps(surplus, f"scaled to {count}")
        self._made[name], self._started[name] = [], []
        for item in sorted(kept, key=lambda item: item.number):
            self._add_existing(name, service, item)
        highest = max((item.number for item in existing), default=0)
        for number in range(highest + 1, highest + 1 + count - len(kept)):
            container = labels.container_name(self._application.name, service, name, number)
            self._make(
                Step(f"create {container}", Action.CREATE, container, "new", service=name, number=number), service
            )

    def add_waits(self, names: Iterable[str]) -> None:
        """Wait for all services after they were started."""
        for name in names:
            if scale_of(name, self._application.services[name], self._options):
                after = frozenset(self._started[name])
                self.steps.append(Step(f"wait {name}", Action.WAIT, name, "", after, name, condition=READY))

    def _add_existing(self, name: str, service: Values, item: ExistingContainer) -> None:
        reason = self._divergence(name, service, item)
        if reason:
            self._renewed.add(name)
            final = labels.container_name(self._application.name, service, name, item.number)
            self._make(
                Step(f"create {final}", Action.RECREATE, final, reason, frozenset(), name, item.number, item), service
            )
            return
        restarts = [other for other in _restarting(service) if other in self._renewed]
        if not self._options.start:
            return
        if item.running and item.state != "paused" and not restarts:
            return
        action = Action.RESTART if item.running and restarts else Action.START
        why = f"{restarts[0]} was recreated" if restarts else item.state
        self._start(Step(f"start {item.name}", action, item.name, why, frozenset(), name, item.number, item), service)

    def _divergence(self, name: str, service: Values, item: ExistingContainer) -> str:
        """Why a container is made anew; empty if it is as described."""
        named = not self._options.services or name in self._options.services
        policy = self._options.recreate if named else self._options.recreate_dependencies
        if policy == NEVER:
            return ""
        if policy == ALWAYS:
            return "forced"
        if item.config_hash != service_hash(service):
            return "configuration changed"
        image = self._state.images.get(labels.image_name(self._application.name, service, name), "")
        if image and item.image and image != item.image:
            return "image changed"
        attached = {self._application.networks[key]["name"] for key in service.get("networks") or ()}
        if changed := sorted(attached & self._changed_networks):
            return f"network {changed[0]} changed"
        if missing := sorted(attached - item.networks):
            return f"not on network {missing[0]}"
        shared = [other for other in _shared_services(service) if other in self._renewed]
        return f"{shared[0]} was recreated" if shared else ""

    def _make(self, step: Step, service: Values) -> None:
        """Create a container, or make an existing one anew, and start it."""
        needed = {f"network {other}" for other in service.get("networks") or ()}
        needed |= {f"volume {item.get('source')}" for item in service.get("volumes") or () if item["type"] == "volume"}
        for other in _shared_services(service) + [link.partition(":")[0] for link in service.get("links") or ()]:
            needed |= set(self._made.get(other, ()))
        self.steps.append(msgspec.structs.replace(step, after=frozenset(needed)))
        self._made[step.service].append(step.key)
        if self._options.start:
            start = Step(
                f"start {step.name}",
                Action.START,
                step.name,
                step.reason,
                frozenset({step.key}),
                step.service,
                step.number,
            )
            self._start(start, service)

    def _start(self, step: Step, service: Values) -> None:
        """Start a container after what its service depends on."""
        needed = set(step.after)
        for other, item in sorted((service.get("depends_on") or {}).items()):
            needed |= self._condition(other, str(item["condition"]), required=bool(item.get("required", True)))
        self.steps.append(msgspec.structs.replace(step, after=frozenset(needed)))
        self._started[step.service].append(step.key)

    def _condition(self, service: str, condition: str, *, required: bool) -> set[str]:
        """The steps that a dependency's condition waits for."""
        if service not in self._started:
            return set()
        if condition == _STARTED or not scale_of(service, self._application.services[service], self._options):
            return set(self._started[service])
        if (service, condition) not in self._waits:
            key = f"wait {service} {condition}"
            step = Step(
                key,
                Action.WAIT,
                service,
                "waited for by other services",
                frozenset(self._started[service]),
                service,
                condition=condition,
                required=required,
            )
            self._waits[service, condition] = step
            self.steps.append(step)
        return {self._waits[service, condition].key}


def _restarting(service: Values) -> list[str]:
    return [name for name, item in (service.get("depends_on") or {}).items() if item.get("restart")]


def _shared_services(service: Values) -> list[str]:
    """The services whose namespaces or volumes a service uses."""
    found = [str(service.get(key, "")) for key in _SHARING]
    shared = [text.removeprefix("service:") for text in found if text.startswith("service:")]
    volumes = [
        text.partition(":")[0] for text in service.get("volumes_from") or () if not text.startswith("container:")
    ]
    return shared + volumes
