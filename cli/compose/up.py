"""``up`` and ``create``: images, then the plan, then its steps, then the output of the containers."""

from collections.abc import Mapping
from typing import Any

import msgspec

from cli.compose.executor import Executor
from cli.compose.images import BUILD, prepare_images
from cli.compose.model import Application
from cli.compose.plan import ALWAYS, CHANGED, NEVER, UpOptions, plan_up, selected_services
from cli.compose.session import Session
from covey.errors import InvalidArgumentError


def bring_up(session: Session, services: tuple[str, ...], flags: Mapping[str, Any]) -> int:
    """Bring services up as the flags say; returns the exit code."""
    _check(flags)
    scale = parse_scale(flags["scales"])
    application = session.with_services(services)
    watching = None
    if flags.get("watch"):
        from cli.compose.watch.watch import Watch

        session.application = application = with_builds(application)
        watching = Watch(session, application, services)
    recreate = ALWAYS if flags.get("force_recreate") else NEVER if flags.get("no_recreate") else CHANGED
    options = UpOptions(
        services=services,
        scale=scale,
        recreate=recreate,
        recreate_dependencies=ALWAYS
        if flags.get("always_recreate_deps")
        else NEVER
        if flags.get("no_recreate")
        else CHANGED,
        dependencies=not flags.get("no_deps"),
        start=not flags.get("no_start"),
        remove_orphans=bool(flags.get("remove_orphans")),
        wait=bool(flags.get("wait")),
        recreate_volumes=bool(flags.get("yes")),
    )
    if not application.services:
        raise InvalidArgumentError("no service selected")
    session.warn_ignored(application)
    names = selected_services(application, services, dependencies=options.dependencies)
    state = session.state(application)
    if prepare_images(session, application, names, state.images, flags):
        state = session.state(application)
    executor = Executor(
        session.daemon,
        application,
        state,
        session.progress,
        timeout=flags.get("timeout"),
        renew_volumes=bool(flags.get("renew")),
        wait_timeout=flags.get("wait_timeout"),
        dry_run=session.dry_run,
    )
    plan = plan_up(application, state, options)
    session.run(plan, executor)
    if flags.get("detach") or flags.get("wait") or flags.get("no_start") or session.dry_run:
        report_running(session, plan.steps, state, names)
        return 0
    from cli.compose.attached import follow_containers

    return follow_containers(session, application, executor, services or tuple(names), flags, watching)


def with_builds(application: Application) -> Application:
    """The project as it is watched: what is built and watched is built before it starts."""
    services = {
        name: {**service, "pull_policy": BUILD} if service.get("build") and service.get("develop") else service
        for name, service in application.services.items()
    }
    return msgspec.structs.replace(application, services=services)


def report_running(session: Session, steps: Any, state: Any, names: list[str]) -> None:
    """Say of the containers that are as they should be that they run."""
    touched = {step.name for step in steps}
    for item in state.containers:
        if item.service in names and not item.one_off and item.running and item.name not in touched:
            session.progress.report(f"Container {item.name}", "Running")


def parse_scale(pairs: tuple[str, ...]) -> dict[str, int]:
    """``SERVICE=NUM`` options.

    Raises:
        InvalidArgumentError: one is not such a pair.
    """
    result = {}
    for pair in pairs:
        name, separator, count = pair.partition("=")
        if not separator or not name:
            raise InvalidArgumentError(f"invalid --scale option {pair!r}. Should be SERVICE=NUM")
        if not count.isdigit():
            raise InvalidArgumentError(f"invalid --scale option {pair!r}: {count!r} is not a number")
        result[name] = int(count)
    return result


def _check(flags: Mapping[str, Any]) -> None:
    pairs = (
        ("force_recreate", "no_recreate"),
        ("build", "no_build"),
        ("detach", "abort_on_container_exit"),
        ("detach", "abort_on_container_failure"),
        ("detach", "exit_code_from"),
        ("always_recreate_deps", "no_recreate"),
        ("attached", "attach_dependencies"),
        *(("watch", other) for other in ("detach", "wait", "no_build", "no_start")),
    )
    for one, other in pairs:
        if flags.get(one) and flags.get(other):
            first, second = (text.replace("attached", "attach").replace("_", "-") for text in (one, other))
            raise InvalidArgumentError(f"--{first} and --{second} are incompatible")
