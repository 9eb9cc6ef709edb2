"""One invocation of ``covey compose``: its project, daemon and progress, from the options before the command."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import click

from cli import options as shared
from cli.client import DaemonClient
from cli.compose import labels
from cli.compose.executor import Executor
from cli.compose.ignored import ignored_settings
from cli.compose.model import Application, ExistingContainer, HostState
from cli.compose.progress import Progress
from cli.compose.run_steps import run_steps
from cli.compose.state import read_containers, read_state
from cli.compose.steps import Plan
from compose.nodes import MappingNode, plain
from compose.project.model import Project, ProjectOptions
from covey.errors import InvalidArgumentError, NotFoundError


class Session:
    """The parts of an invocation; the project is loaded when it is needed."""

    def __init__(self, flags: dict[str, Any], daemon: DaemonClient) -> None:
        self.flags = flags
        self.daemon = daemon
        self.dry_run = bool(flags["dry_run"])
        self.parallel = int(flags["parallel"])
        self._unset: set[str] = set()
        self.progress = Progress(flags["progress"], dry_run=self.dry_run)

    @classmethod
    def current(cls) -> Self:
        """The session of the command that runs."""
        context = click.get_current_context()
        return cls((context.parent or context).params, shared.client(context))

    def load(self, *, profiles: tuple[str, ...] = (), **stages: bool) -> Project:
        """The project of the files; ``stages`` are those of ``ProjectOptions`` that are left out."""
        from compose.project.loader import load_project

        project = load_project(self.options(profiles, **stages))
        for name in project.unset:
            if name not in self._unset:
                self.progress.notice(f'WARN: The "{name}" variable is not set. Defaulting to a blank string.')
        self._unset |= set(project.unset)
        return project

    def options(self, profiles: tuple[str, ...] = (), **stages: bool) -> ProjectOptions:
        """Which project the options before the command name."""
        flags = self.flags
        return ProjectOptions(
            files=tuple(flags["files"]),
            environment=dict(os.environ),
            name=flags["name"],
            directory=str(Path(flags["directory"]).absolute()) if flags["directory"] else "",
            env_files=tuple(flags["env_files"]),
            profiles=(*flags["profiles"], *profiles),
            **{"all_resources": flags["all_resources"], **stages},
        )

    @cached_property
    def application(self) -> Application:
        """The project of the files in plain values."""
        return application_of(self.load(), tuple(self.flags["env_files"]))

    @cached_property
    def known(self) -> Application:
        """The project of the files, or only its name where it is given and there are no files."""
        try:
            return self.application
        except InvalidArgumentError as error:
            name = self.flags["name"] or os.environ.get("COMPOSE_PROJECT_NAME", "")
            if not name or self.flags["files"] or "no configuration file" not in error.message:
                raise
            return Application(name)

    def with_services(self, names: tuple[str, ...]) -> Application:
        """The project with named services enabled, also those of profiles that are not."""
        application = self.application
        if set(names) <= set(application.services):
            return application
        profiles = tuple(
            str(profile) for name in names for profile in (application.disabled.get(name) or {}).get("profiles") or ()
        )
        if not profiles:
            return application
        self.application = application_of(self.load(profiles=profiles), tuple(self.flags["env_files"]))
        return self.application

    def state(self, application: Application) -> HostState:
        images = (labels.image_name(application.name, item, name) for name, item in application.services.items())
        return read_state(self.daemon, application.name, images)

    def containers(
        self, services: tuple[str, ...] = (), *, one_off: bool = False, index: int = 0
    ) -> list[ExistingContainer]:
        """The project's containers, of all services or the named ones.

        Raises:
            NotFoundError: an unknown service, or none of a service that is named.
        """
        found = read_containers(self.daemon, self.known.name, one_off=one_off)
        for name in services:
            declared = name in self.known.services or name in self.known.disabled
            if not declared and not any(item.service == name for item in found):
                raise NotFoundError(f"no such service: {name}")
        return [
            item for item in found if (not services or item.service in services) and (not index or item.number == index)
        ]

    def container(self, service: str, index: int = 0) -> ExistingContainer:
        """One running container of a service.

        Raises:
            NotFoundError: there is none.
        """
        found = self.containers((service,), index=index)
        running = [item for item in found if item.running] or found
        if not running:
            number = f" #{index}" if index else ""
            raise NotFoundError(f'service "{service}" is not running{number}')
        return running[0]

    def warn_ignored(self, application: Application) -> None:
        """Name the settings that have no effect on one host."""
        for line in ignored_settings(application):
            self.progress.notice(f"WARN: {line}")

    def run(self, plan: Plan, executor: Executor) -> None:
        """Do the steps of a plan."""
        for notice in plan.notices:
            self.progress.notice(f"WARN: {notice}")
        run_steps(plan.steps, executor.perform, parallel=self.parallel)


def application_of(project: Project, env_files: tuple[str, ...]) -> Application:
    """A loaded project in plain values."""
    content = plain(project.content)
    default = Path(project.directory, ".env")
    listed = [str(Path(name).absolute()) for name in env_files] or ([str(default)] if default.is_file() else [])
    return Application(
        name=project.name,
        directory=project.directory,
        files=project.files,
        env_files=tuple(listed),
        disabled={name: _plain(node) for name, node in project.disabled.items()},
        environment=project.environment,
        all_resources=project.all_resources,
        **{kind: content.get(kind) or {} for kind in ("services", "networks", "volumes", "secrets", "configs")},
    )


def _plain(node: MappingNode) -> dict[str, Any]:
    return dict(plain(node))
