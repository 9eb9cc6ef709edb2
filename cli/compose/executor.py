"""Does the steps of a plan over the Engine API and reports their progress."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from cli.client import DaemonClient, DaemonError, path_segment
from cli.compose import labels
from cli.compose.config_hash import network_hash, volume_hash
from cli.compose.container_body import ContainerRequest, container_body
from cli.compose.files import copy_files, seccomp_contents
from cli.compose.hooks import run_hooks
from cli.compose.inherited import with_inherited_volumes
from cli.compose.model import Application, ExistingContainer, HostState
from cli.compose.mounts import copied_files
from cli.compose.progress import Progress
from cli.compose.steps import Action, Step
from cli.compose.waiting import wait_for
from covey.errors import CoveyError

NOT_FOUND, NOT_MODIFIED, CONFLICT = 404, 304, 409
_WORDS = {
    Action.CREATE_NETWORK: ("Network", "Creating", "Created"),
    Action.REMOVE_NETWORK: ("Network", "Removing", "Removed"),
    Action.CREATE_VOLUME: ("Volume", "Creating", "Created"),
    Action.REMOVE_VOLUME: ("Volume", "Removing", "Removed"),
    Action.REMOVE_IMAGE: ("Image", "Removing", "Removed"),
    Action.CREATE: ("Container", "Creating", "Created"),
    Action.RECREATE: ("Container", "Recreate", "Recreated"),
    Action.START: ("Container", "Starting", "Started"),
    Action.RESTART: ("Container", "Restarting", "Restarted"),
    Action.STOP: ("Container", "Stopping", "Stopped"),
    Action.REMOVE: ("Container", "Removing", "Removed"),
}


class Executor:
    """Performs steps; threads may perform several at the same time.

    Args:
        daemon: the host's daemon.
        application: the project.
        state: what the host had before.
        progress: shows what happens.
        timeout: seconds until a container that is stopped is killed; None is the container's own.
        renew_volumes: containers that are made anew get new anonymous volumes.
        remove_volumes: removed containers take their anonymous volumes with them.
        wait_timeout: seconds that a wait may take; None is a day.
        dry_run: report what would be done, and do nothing.
    """

    def __init__(
        self,
        daemon: DaemonClient,
        application: Application,
        state: HostState,
        progress: Progress,
        *,
        timeout: int | None = None,
        renew_volumes: bool = False,
        remove_volumes: bool = False,
        wait_timeout: float | None = None,
        dry_run: bool = False,
    ) -> None:
        self._daemon, self._application, self._state, self._progress = daemon, application, state, progress
        self._timeout, self._renew_volumes, self._remove_volumes = timeout, renew_volumes, remove_volumes
        self._wait_timeout, self._dry_run = wait_timeout, dry_run
        self._lock = threading.Lock()
        self._containers: dict[str, dict[str, str]] = {}
        for item in state.containers:
            if not item.one_off:
                self._containers.setdefault(item.service, {})[item.name] = item.id

    def perform(self, step: Step) -> None:
        """Do one step.

        Raises:
            CoveyError: the daemon refused, or a wait ended badly.
        """
        if step.action == Action.WAIT:
            self._wait(step)
            return
        kind, doing, done = _WORDS[step.action]
        subject = f"{kind} {step.name}"
        self._progress.report(subject, doing)
        if not self._dry_run:
            try:
                self._do(step)
            except CoveyError as error:
                self._progress.report(subject, "Error", error.message)
                raise
        self._progress.report(subject, done)

    def containers(self, service: str) -> dict[str, str]:
        """The ids of a service's containers by name."""
        with self._lock:
            return dict(self._containers.get(service, {}))

    def await_conditions(self, conditions: Iterable[tuple[str, str]]) -> None:
        """Wait until the containers of services have reached conditions."""
        for service, condition in conditions:
            self._wait(Step(f"wait {service}", Action.WAIT, service, service=service, condition=condition))

    def _do(self, step: Step) -> None:
        match step.action:
            case Action.CREATE_NETWORK:
                self._daemon.post("/networks/create", body=network_body(self._application, step.service))
            case Action.CREATE_VOLUME:
                self._daemon.post("/volumes/create", body=volume_body(self._application, step.service))
            case Action.REMOVE_NETWORK:
                self._delete(f"/networks/{path_segment(step.name)}")
            case Action.REMOVE_VOLUME:
                self._delete(f"/volumes/{path_segment(step.name)}")
            case Action.REMOVE_IMAGE:
                self._delete(f"/images/{path_segment(step.name)}")
            case Action.CREATE:
                self._create(step, step.name)
            case Action.RECREATE:
                self._recreate(step)
            case Action.START:
                self._start(step)
            case Action.RESTART:
                self._daemon.call("POST", f"/containers/{self._id(step)}/restart", self._stop_query(), patient=True)
            case Action.STOP:
                self.stop(step.container or self._existing(step))
            case Action.REMOVE:
                self._delete(f"/containers/{self._id(step)}", {"force": True, "v": self._remove_volumes})

    def stop(self, container: ExistingContainer) -> None:
        """Stop a container after the hooks of its service."""
        service = self._application.services.get(container.service) or {}
        if container.state == "running":
            run_hooks(self._daemon, container.id, container.name, service.get("pre_stop") or ())
        if container.state == "paused":
            self._daemon.post(f"/containers/{container.id}/unpause")
        self._daemon.call("POST", f"/containers/{container.id}/stop", self._stop_query(), patient=True)

    def _stop_query(self) -> dict[str, Any]:
        return {} if self._timeout is None else {"t": str(self._timeout)}

    def _start(self, step: Step) -> None:
        identifier = self._id(step)
        paused = step.container is not None and step.container.state == "paused"
        self._daemon.call("POST", f"/containers/{identifier}/{'unpause' if paused else 'start'}", patient=True)
        service = self._application.services.get(step.service) or {}
        run_hooks(self._daemon, identifier, step.name, service.get("post_start") or ())

    def _create(self, step: Step, name: str, inherited: Mapping[str, Any] | None = None) -> str:
        service = self._application.services[step.service]
        with self._lock:
            known = {other: next(iter(found.values())) for other, found in self._containers.items() if found}
            names = {other: tuple(found) for other, found in self._containers.items()}
        request = ContainerRequest(
            step.service,
            step.number,
            step.name,
            image=self._state.images.get(labels.image_name(self._application.name, service, step.service), ""),
            containers=known,
            names=names,
            seccomp=seccomp_contents(self._application, service),
        )
        body = container_body(self._application, request)
        if inherited is not None:
            body = with_inherited_volumes(body, inherited)
            body["Labels"][labels.REPLACE] = step.container.name if step.container else ""
        answer = self._daemon.call(
            "POST", "/containers/create", {"name": name, "platform": service.get("platform", "")}, body, patient=True
        )
        for warning in answer.get("Warnings") or ():
            self._progress.notice(f"WARNING: {warning}")
        identifier = str(answer["Id"])
        copy_files(self._daemon, identifier, copied_files(self._application, service))
        with self._lock:
            self._containers.setdefault(step.service, {})[step.name] = identifier
        return identifier

    def _recreate(self, step: Step) -> None:
        """Make the new container beside the old one, then replace it, so that a refused one changes nothing."""
        old = step.container or self._existing(step)
        found = self._daemon.get(f"/containers/{old.id}/json")
        inherited = {} if self._renew_volumes else found
        with self._lock:
            self._containers.get(step.service, {}).pop(old.name, None)
        identifier = self._create(step, f"{old.id[:12]}_{step.name}", inherited)
        self.stop(old)
        self._delete(f"/containers/{old.id}", {"force": True})
        self._daemon.post(f"/containers/{identifier}/rename", {"name": step.name})

    def _wait(self, step: Step) -> None:
        containers = self.containers(step.service)
        if self._dry_run:
            return
        for name, identifier in containers.items():
            subject = f"Container {name}"
            self._progress.report(subject, "Waiting")
            try:
                status = wait_for(self._daemon, identifier, name, step.condition, self._wait_timeout)
            except CoveyError as error:
                self._progress.report(subject, "Error" if step.required else "Skipped", error.message)
                raise
            self._progress.report(subject, status)

    def _id(self, step: Step) -> str:
        if step.container is not None:
            return step.container.id
        with self._lock:
            return self._containers[step.service][step.name]

    def _existing(self, step: Step) -> ExistingContainer:
        return ExistingContainer(self._id(step), step.name, step.service, step.number, "running")

    def _delete(self, path: str, query: Mapping[str, Any] | None = None) -> None:
        """Remove an object; one that is gone already is no failure."""
        try:
            self._daemon.call("DELETE", path, query, patient=True)
        except DaemonError as error:
            if error.status != NOT_FOUND:
                raise


def network_body(application: Application, key: str) -> dict[str, Any]:
    network = application.networks[key]
    ipam = network.get("ipam") or {}
    configs = [
        {
            name: item[field]
            for field, name in (
                ("subnet", "Subnet"),
                ("gateway", "Gateway"),
                ("ip_range", "IPRange"),
                ("aux_addresses", "AuxiliaryAddresses"),
            )
            if item.get(field)
        }
        for item in ipam.get("config") or ()
    ]
    body: dict[str, Any] = {
        "Name": network["name"],
        "Driver": network.get("driver", ""),
        "Internal": bool(network.get("internal")),
        "Attachable": bool(network.get("attachable")),
        "Options": network.get("driver_opts") or {},
        "Labels": {
            **(network.get("labels") or {}),
            labels.PROJECT: application.name,
            labels.NETWORK: key,
            labels.CONFIG_HASH: network_hash(network),
            labels.VERSION: labels.FORMAT_VERSION,
        },
    }
    if ipam:
        body["IPAM"] = {"Driver": ipam.get("driver", ""), "Config": configs, "Options": ipam.get("options") or {}}
    for field, name in (("enable_ipv4", "EnableIPv4"), ("enable_ipv6", "EnableIPv6")):
        if field in network:
            body[name] = network[field]
    return body


def volume_body(application: Application, key: str) -> dict[str, Any]:
    volume = application.volumes[key]
    return {
        "Name": volume["name"],
        "Driver": volume.get("driver", ""),
        "DriverOpts": volume.get("driver_opts") or {},
        "Labels": {
            **(volume.get("labels") or {}),
            labels.PROJECT: application.name,
            labels.VOLUME: key,
            labels.CONFIG_HASH: volume_hash(volume),
            labels.VERSION: labels.FORMAT_VERSION,
        },
    }
