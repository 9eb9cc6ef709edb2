"""``covey compose`` commands that bring a project up or down: up, create, watch, down."""

from typing import Any

import click

from cli.command import option
from cli.compose.command import compose_command
from cli.compose.options import refused_option, services_argument, timeout_option
from cli.compose.session import Session
from covey.errors import InvalidArgumentError


def _creation_options(function: Any) -> Any:
    for decorate in (
        option("--build", is_flag=True, help="Build images before starting containers"),
        option("--force-recreate", is_flag=True, help="Recreate containers even if nothing has changed"),
        option("--no-build", is_flag=True, help="Don't build an image, even if it's policy"),
        option("--no-recreate", is_flag=True, help="If containers already exist, don't recreate them"),
        option(
            "--pull",
            type=click.Choice(["always", "missing", "never", "build", "policy"]),
            default="policy",
            help="Pull image before running",
        ),
        option("--quiet-pull", is_flag=True, help="Pull without printing progress information"),
        option("--remove-orphans", is_flag=True, help="Remove containers for services not in the Compose file"),
        option("--scale", "scales", multiple=True, metavar="scale", help="Scale SERVICE to NUM instances"),
        option("-y", "--yes", is_flag=True, help='Assume "yes" as answer to all prompts'),
    ):
        function = decorate(function)
    return function


@compose_command()
@services_argument
@_creation_options
@option("--always-recreate-deps", is_flag=True, help="Recreate dependent containers")
@option("--quiet-build", is_flag=True, help="Suppress the build output")
@refused_option(
    "--menu/--no-menu",
    default=False,
    negation=False,
    reason="there are no interactive shortcuts; use --watch to watch files",
    help="Enable interactive shortcuts when running attached",
)
@option("--abort-on-container-exit", is_flag=True, help="Stops all containers if any container was stopped")
@option("--abort-on-container-failure", is_flag=True, help="Stops all containers if any container exited with failure")
@option(
    "--attach", "attached", multiple=True, metavar="stringArray", help="Restrict attaching to the specified services"
)
@option("--attach-dependencies", is_flag=True, help="Automatically attach to log output of dependent services")
@option("-d", "--detach", is_flag=True, help="Detached mode: Run containers in the background")
@option("--exit-code-from", default="", help="Return the exit code of the selected service container")
@option(
    "--no-attach", "unattached", multiple=True, metavar="stringArray", help="Do not attach to the specified services"
)
@option("--no-color", is_flag=True, help="Produce monochrome output")
@option("--no-deps", is_flag=True, help="Don't start linked services")
@option("--no-log-prefix", is_flag=True, help="Don't print prefix in logs")
@option("--no-start", is_flag=True, help="Don't start the services after creating them")
@option("-V", "--renew-anon-volumes", "renew", is_flag=True, help="Recreate anonymous volumes")
@timeout_option
@option("--timestamps", is_flag=True, help="Show timestamps")
@option("--wait", is_flag=True, help="Wait for services to be running|healthy. Implies detached mode")
@option("--wait-timeout", type=int, default=None, help="Maximum seconds to wait for the project to be running|healthy")
@option("-w", "--watch", is_flag=True, help="Watch source code and rebuild/refresh containers when files are updated")
def up(services: tuple[str, ...], **flags: Any) -> int:
    """Create and start containers."""
    from cli.compose.up import bring_up

    return bring_up(Session.current(), services, flags)


@compose_command()
@services_argument
@_creation_options
def create(services: tuple[str, ...], **flags: Any) -> int:
    """Create containers for a service."""
    from cli.compose.up import bring_up

    return bring_up(Session.current(), services, {**flags, "no_start": True, "detach": True})


@compose_command()
@services_argument
@option("--no-up", is_flag=True, help="Do not build & start services before watching")
@option("--prune/--no-prune", default=True, negation=False, help="Prune dangling images on rebuild")
@option("--quiet", is_flag=True, help="hide build output")
def watch(services: tuple[str, ...], no_up: bool, prune: bool, quiet: bool) -> int:
    """Watch build context for service and rebuild/refresh containers when files are updated."""
    from cli.compose.watch.watch import Watch, bring_up_watched

    session = Session.current()
    watching = Watch(session, session.with_services(services), services, quiet=quiet, prune=prune)
    if not no_up:
        bring_up_watched(session, services, quiet=quiet)
    watching.run()
    return 0


@compose_command()
@services_argument
@option("--remove-orphans", is_flag=True, help="Remove containers for services not in the Compose file")
@option("--rmi", type=click.Choice(["", "all", "local"]), default="", help="Remove images used by services")
@timeout_option
@option("-v", "--volumes", is_flag=True, help="Remove named and anonymous volumes")
def down(services: tuple[str, ...], remove_orphans: bool, rmi: str, timeout: int | None, volumes: bool) -> None:
    """Stop and remove containers, networks."""
    from cli.compose.down_plan import DownOptions, plan_down
    from cli.compose.executor import Executor

    session = Session.current()
    application = session.known
    if unknown := [name for name in services if name not in application.services]:
        raise InvalidArgumentError(f"no such service: {unknown[0]}")
    state = session.state(application)
    plan = plan_down(application, state, DownOptions(services, remove_orphans, volumes, rmi))
    executor = Executor(
        session.daemon,
        application,
        state,
        session.progress,
        timeout=timeout,
        remove_volumes=volumes,
        dry_run=session.dry_run,
    )
    if not plan.steps:
        session.progress.notice("Warning: No resource found to remove")
    session.run(plan, executor)
