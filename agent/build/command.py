"""Arguments of buildah for a build. Pure."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.build.model import BuildRequest
from agent.build.stages import PREDEFINED, StagePlan, platform_arguments
from covey.errors import InvalidArgumentError, UnsupportedError

CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW")
"""Those of Docker's defaults that buildah does not give."""
_SECURITY_OPTIONS = ("apparmor", "label", "seccomp")


class BuildPaths(msgspec.Struct, frozen=True):
    """The files of one build."""

    context: Path
    dockerfile: Path
    ignore_file: Path
    heredocs: Path
    runtime: Path
    """State of the OCI runtime."""
    secrets: Mapping[str, Path] = {}


class BuildPlace(msgspec.Struct, frozen=True):
    """Where the commands of a build run: `network` as buildah names it, and the parent of their cgroups."""

    network: str
    cgroup_parent: str


def passed_arguments(plan: StagePlan, build_args: Mapping[str, str | None]) -> dict[str, str]:
    """The arguments that the Dockerfile declares, or that need no declaration, with the platform's."""
    found = {name: value for name, value in platform_arguments().items() if name in plan.declared}
    used = plan.declared | PREDEFINED
    given = {name: value for name, value in build_args.items() if value is not None and name in used}
    return found | given


def unused_arguments(plan: StagePlan, build_args: Mapping[str, str | None]) -> tuple[str, ...]:
    """The client's arguments that the Dockerfile does not declare, sorted."""
    return tuple(sorted(name for name in build_args if name not in plan.declared and name not in PREDEFINED))


def build_arguments(
    request: BuildRequest, arguments: Mapping[str, str], paths: BuildPaths, place: BuildPlace
) -> list[str]:
    """The command line after `buildah`. `arguments` are the build's, as `passed_arguments` returns them."""
    command = [
        "bud", "--isolation", "oci", "--runtime", "runc", f"--runtime-flag=root={paths.runtime}", "--format", "docker",
        "--pull-never", "--identity-label=false", "--http-proxy=false", "--rm", "--force-rm",
        "--network", place.network, "--cgroup-parent", place.cgroup_parent,
        "--file", str(paths.dockerfile), "--ignorefile", str(paths.ignore_file),
        *(f"--cap-add={name}" for name in CAPABILITIES),
    ]  # fmt: skip
    command += ["--no-cache"] if request.no_cache else ["--layers"]
    command += [f"--build-arg={name}={value}" for name, value in arguments.items()]
    command += [f"--label={name}={value}" for name, value in request.labels.items()]
    command += [f"--add-host={entry}" for entry in request.extra_hosts]
    command += [f"--ulimit={each.name}={each.soft}:{each.hard}" for each in request.ulimits]
    command += [f"--security-opt={option}" for option in request.security_options]
    command += [f"--secret=id={name},src={path}" for name, path in paths.secrets.items()]
    command += _limits(request)
    command += [f"--target={request.target}"] if request.target else []
    return [*command, f"--build-context=covey-heredocs={paths.heredocs}", str(paths.context)]


def check_request(request: BuildRequest) -> None:
    """Raises UnsupportedError or InvalidArgumentError for what no build can have."""
    for option in request.security_options:
        if option.partition("=")[0] not in _SECURITY_OPTIONS:
            raise UnsupportedError(f"the security option {option!r} is not supported for builds (securityopt)")
    for name in (*request.labels, *request.build_args):
        if not name or "\0" in name:
            raise InvalidArgumentError(f"the name of a label or build argument is not valid: {name!r}")
    for name in request.build_args:
        if "=" in name:
            raise InvalidArgumentError(f'the name of a build argument must not have "=": {name!r}')
    for entry in request.extra_hosts:
        host, colon, address = entry.partition(":")
        if not (host and colon and address):
            raise InvalidArgumentError(f'invalid IP address in add-host: "{entry}"; use HOST:ADDRESS')


def _limits(request: BuildRequest) -> list[str]:
    values = {
        "memory": request.memory_bytes,
        "memory-swap": request.memory_swap_bytes,
        "cpu-shares": request.cpu_shares,
        "cpu-period": request.cpu_period_us,
        "cpu-quota": request.cpu_quota_us,
        "cpuset-cpus": request.cpuset_cpus,
        "cpuset-mems": request.cpuset_mems,
        "shm-size": request.shm_size_bytes,
    }
    return [f"--{name}={value}" for name, value in values.items() if value]
