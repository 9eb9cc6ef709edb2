"""``covey build`` and ``covey builder prune``."""

import itertools
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from cli import options
from cli.build import context, parameters
from cli.command import command, option
from cli.format.units import human_size
from cli.parse import container_values
from cli.parse.key_values import parse_key_values
from cli.parse.param_types import BYTES
from cli.registry.credentials import CredentialStore, encode
from cli.tar_content import READ_BYTES
from cli.terminal.transfer_output import show_messages
from covey.errors import InvalidArgumentError
from covey.quantities import parse_bytes

_HEAD_BYTES = 512
_URLS = ("http://", "https://", "git://", "git@", "github.com/")


@command()
@click.argument("path", metavar="PATH | URL | -")
@option("--add-host", "add_hosts", multiple=True, help='Add a custom host-to-IP mapping ("host:ip")')
@option("--build-arg", "build_args", multiple=True, help="Set build-time variables")
@option("--cache-from", "cache_from", multiple=True, help="Images to consider as cache sources")
@option("--cgroup-parent", default="", help="Set the parent cgroup for the RUN instructions during build")
@option("--compress", is_flag=True, help="Compress the build context using gzip")
@option("--cpu-period", default=0, help="Limit the CPU CFS (Completely Fair Scheduler) period")
@option("--cpu-quota", default=0, help="Limit the CPU CFS (Completely Fair Scheduler) quota")
@option("-c", "--cpu-shares", default=0, help="CPU shares (relative weight)")
@option("--cpuset-cpus", default="", help="CPUs in which to allow execution (0-3, 0,1)")
@option("--cpuset-mems", default="", help="MEMs in which to allow execution (0-3, 0,1)")
@option(
    "--disable-content-trust/--no-disable-content-trust", default=True, negation=False, help="Skip image verification"
)
@option("-f", "--file", "dockerfile", default="", help='Name of the Dockerfile (Default is "PATH/Dockerfile")')
@option("--force-rm", is_flag=True, help="Always remove intermediate containers")
@option("--iidfile", default="", help="Write the image ID to the file")
@option("--isolation", default="", help="Container isolation technology")
@option("--label", "labels", multiple=True, help="Set metadata for an image")
@option("-m", "--memory", type=BYTES, default="0", help="Memory limit")
@option("--memory-swap", default="0", help="Swap limit equal to memory plus swap: -1 to enable unlimited swap")
@option("--network", default="default", help="Set the networking mode for the RUN instructions during build")
@option("--no-cache", is_flag=True, help="Do not use cache when building the image")
@option("--platform", default="", help="Set platform if server is multi-platform capable")
@option("--pull", is_flag=True, help="Always attempt to pull a newer version of the image")
@option("-q", "--quiet", is_flag=True, help="Suppress the build output and print image ID on success")
@option("--rm/--no-rm", default=True, negation=False, help="Remove intermediate containers after a successful build")
@option(
    "--secret",
    "secrets",
    multiple=True,
    help='Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")',
)
@option("--security-opt", "security_options", multiple=True, help="Security options")
@option("--shm-size", type=BYTES, default="0", help='Size of "/dev/shm"')
@option("--squash", is_flag=True, help="Squash newly built layers into a single new layer")
@option("-t", "--tag", "tags", multiple=True, help='Name and optionally a tag in the "name:tag" format')
@option("--target", default="", help="Set the target build stage to build")
@option("--ulimit", "ulimits", multiple=True, help="Ulimit options")
def build(
    *,
    path: str,
    add_hosts: tuple[str, ...],
    build_args: tuple[str, ...],
    cache_from: tuple[str, ...],
    cgroup_parent: str,
    compress: bool,
    cpu_period: int,
    cpu_quota: int,
    cpu_shares: int,
    cpuset_cpus: str,
    cpuset_mems: str,
    disable_content_trust: bool,
    dockerfile: str,
    force_rm: bool,
    iidfile: str,
    isolation: str,
    labels: tuple[str, ...],
    memory: int,
    memory_swap: str,
    network: str,
    no_cache: bool,
    platform: str,
    pull: bool,
    quiet: bool,
    rm: bool,
    secrets: tuple[str, ...],
    security_options: tuple[str, ...],
    shm_size: int,
    squash: bool,
    tags: tuple[str, ...],
    target: str,
    ulimits: tuple[str, ...],
) -> None:
    """Build an image from a Dockerfile."""
    if not disable_content_trust:
        raise InvalidArgumentError("images are not signed: --disable-content-trust=false is not supported")
    name, stream, remote = _context(path, dockerfile)
    query: dict[str, Any] = {
        "t": tags,
        "dockerfile": name,
        "remote": remote,
        "extrahosts": add_hosts,
        "buildargs": parameters.compact(parameters.build_arguments(build_args, os.environ)),
        "labels": parameters.compact(parse_key_values(labels)),
        "cachefrom": parameters.compact(cache_from),
        "ulimits": parameters.compact([container_values.ulimit(each) for each in ulimits]),
        "cgroupparent": cgroup_parent,
        "cpuperiod": cpu_period or "",
        "cpuquota": cpu_quota or "",
        "cpushares": cpu_shares or "",
        "cpusetcpus": cpuset_cpus,
        "cpusetmems": cpuset_mems,
        "isolation": isolation,
        "memory": memory or "",
        "memswap": (-1 if memory_swap == "-1" else parse_bytes(memory_swap)) or "",
        "shmsize": shm_size or "",
        "networkmode": network,
        "nocache": no_cache,
        "platform": platform,
        "pull": pull,
        "q": quiet,
        "rm": rm,
        "forcerm": force_rm,
        "securityopt": parameters.compact(security_options),
        "squash": squash,
        "target": target,
    }
    query = {key: value for key, value in query.items() if value not in ("", (), False)}
    headers = {"Content-Type": "application/x-tar", "X-Registry-Config": encode(CredentialStore().all())}
    if given := parameters.secrets_header(secrets):
        headers["X-Covey-Build-Secrets"] = given
    image_id = _show(
        options.client().lines(
            "POST", "/build", query, stream=_compressed(stream) if compress else stream, headers=headers
        )
    )
    if iidfile and image_id:
        Path(iidfile).write_text(image_id)


@command()
@option("-a", "--all", "all_", is_flag=True, help="Remove all unused build cache, not just dangling ones")
@options.prune_options
@option("--keep-storage", type=BYTES, default="0", help="Amount of disk space to keep for cache")
def prune(*, all_: bool, force: bool, filters: tuple[str, ...], keep_storage: int) -> None:
    """Remove build cache."""
    if not force:
        click.echo("WARNING! This will remove all build cache.")
        click.confirm("Are you sure you want to continue?", abort=True)
    query = {"all": all_, "filters": options.parse_filters(filters), "keep-storage": keep_storage or ""}
    done: dict[str, Any] = options.client().call("POST", "/build/prune", query, patient=True) or {}
    deleted = done.get("CachesDeleted") or []
    if deleted:
        click.echo("\n".join(["Deleted build cache objects:", *deleted, ""]))
    click.echo(f"Total reclaimed space: {human_size(int(done.get('SpaceReclaimed') or 0))}")


def _context(path: str, dockerfile: str) -> tuple[str, Iterator[bytes], str]:
    """The Dockerfile's name in the context, the context's tar stream, and the URL that the daemon shall fetch it from."""
    if path == "-" and dockerfile == "-":
        raise InvalidArgumentError("invalid argument: can't use stdin for both build context and dockerfile")
    if path == "-":
        return _stdin_context(dockerfile)
    if path.startswith(_URLS):
        return dockerfile, iter(()), path
    text = sys.stdin.buffer.read() if dockerfile == "-" else None
    plan = context.plan_context(path, dockerfile, text)
    return plan.dockerfile, context.pack(plan), ""


def _stdin_context(dockerfile: str) -> tuple[str, Iterator[bytes], str]:
    """What stdin has: a tar is the context, anything else is the Dockerfile of an empty one."""
    source: BinaryIO = sys.stdin.buffer
    head = source.read(_HEAD_BYTES)
    if context.is_archive(head):
        return dockerfile, itertools.chain([head], iter(lambda: source.read(READ_BYTES), b"")), ""
    return "", iter([context.single_file("Dockerfile", head + source.read())]), ""


def _compressed(stream: Iterator[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(wbits=31)
    for chunk in stream:
        if data := compressor.compress(chunk):
            yield data
    yield compressor.flush()


def _show(messages: Iterator[Any]) -> str:
    """Print the log. Returns the image's id."""
    found = ""

    def watched() -> Iterator[Any]:
        nonlocal found
        for message in messages:
            aux = message.get("aux") or {}
            text = str(message.get("stream") or "").strip()
            found = aux.get("ID") or (text if text.startswith("sha256:") else found)
            if not aux:
                yield message

    show_messages(watched())
    return found
