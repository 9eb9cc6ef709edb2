"""Routes that build images and prune the build cache."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator

from aiohttp import web

from agent.build.model import BuildLine, BuildStepError, BuiltImage
from covey.errors import InvalidArgumentError, TooLargeError, UnsupportedError
from engine.progress_response import ProgressResponse, progress_response
from engine.prune import BUILDER, pruning
from engine.request_context import RequestContext, json_response
from engine.routes.images import archive_body, publish_image
from engine.routing import Route
from engine.translate import build as build_json
from engine.translate import progress as progress_json
from engine.translate.times import parse_moment

DOCKERFILE_LIMIT_BYTES = 4 << 20
_AUTH_HEADER = "X-Registry-Config"
_SECRETS_HEADER = "X-Covey-Build-Secrets"
_CACHE_FILTERS = ("description", "id", "inuse", "mutable", "parent", "private", "shared", "type", "until", "unused-for")
_AGES = ("until", "unused-for")
_GIT = ("git://", "git@", "github.com/", "ssh://")


async def build(context: RequestContext) -> web.StreamResponse:
    """Build an image. An error before the first line of the log is an HTTP status, a later one the last line."""
    query = context.request.query
    request = build_json.read_request(
        query,
        {name: query.getall(name, []) for name in ("t", "extrahosts")},
        context.request.headers.get(_AUTH_HEADER, ""),
        context.request.headers.get(_SECRETS_HEADER, ""),
    )
    source = _context_of(context, context.query("remote"), request.dockerfile)
    quiet = context.flag("q")
    async with progress_response(context) as response:

        async def report(line: BuildLine) -> None:
            if not quiet:
                await response.write({"stream": line} if isinstance(line, str) else progress_json.message(line))

        try:
            built = await context.services.agent.builds.build(request, source, report)
        except BuildStepError as error:
            detail = {"message": error.message, **({"code": error.code} if error.code else {})}
            await response.write({"errorDetail": detail, "error": error.message})
        else:
            await _tell(context, response, built, quiet=quiet)
    return response.stream


async def _tell(context: RequestContext, response: ProgressResponse, built: BuiltImage, *, quiet: bool) -> None:
    """The last lines of a build that succeeded, and its events."""
    if not quiet:
        await response.write({"aux": {"ID": built.id}})
    lines = [built.id] if quiet else [f"Successfully built {built.id.removeprefix('sha256:')[:12]}"]
    lines += () if quiet else [f"Successfully tagged {tag}" for tag in built.tags]
    for text in lines:
        await response.write({"stream": f"{text}\n"})
    image = context.services.agent.images.get(built.id)
    publish_image(context, "build", image, built.id)
    for tag in built.tags:
        publish_image(context, "tag", image, tag)


async def prune(context: RequestContext) -> web.Response:
    """Delete the build cache, or what in it is older than the filter `until` says."""
    given, now = context.filters(*_CACHE_FILTERS), context.services.clock()
    moments = [parse_moment(text, now) for name in _AGES for text in given.get(name, ())]
    for name in given:
        if name not in _AGES:
            raise UnsupportedError(f"pruning the build cache by the filter {name} is not supported: use until")
    for name in ("keep-storage", "reserved-space", "max-used-space", "min-free-space"):
        if context.number(name, 0):
            raise UnsupportedError(f"pruning the build cache with {name} is not supported: its whole cache is pruned")
    with pruning(context, BUILDER) as running:
        records = await context.services.agent.builds.prune(min(moments) if moments else None)
        running.reclaimed_bytes = sum(record.size_bytes for record in records)
    deleted = [record.id for record in records]
    return json_response({"CachesDeleted": deleted or None, "SpaceReclaimed": running.reclaimed_bytes})


async def cancel(context: RequestContext) -> web.Response:
    """Only builds of BuildKit have an id by which they can be cancelled; others end with their connection."""
    raise InvalidArgumentError(
        f"no build has the id {context.query('id')!r}: a build is cancelled by closing its connection"
    )


def _context_of(context: RequestContext, remote: str, dockerfile: str) -> AsyncIterator[bytes]:
    """The tar of the build's context: the body, or what a URL leads to."""
    if not remote:
        return archive_body(context)
    if remote.startswith(_GIT) or remote.partition("#")[0].endswith(".git"):
        raise UnsupportedError(f"the build parameter remote is not supported for Git repositories: {remote[:200]}")
    return _download(context, remote, dockerfile)


async def _download(context: RequestContext, url: str, dockerfile: str) -> AsyncIterator[bytes]:
    """What a URL leads to: a tar as it is, a text as the Dockerfile of a context that has nothing else."""
    async with context.services.agent.registries.download(url) as download:
        first = b""
        async for chunk in download.chunks:
            first += chunk
            if len(first) >= tarfile.BLOCKSIZE:
                break
        if _is_archive(first):
            yield first
            async for chunk in download.chunks:
                yield chunk
            return
        async for chunk in download.chunks:
            first += chunk
            if len(first) > DOCKERFILE_LIMIT_BYTES:
                raise TooLargeError(f"the Dockerfile of {url[:200]} has more than {DOCKERFILE_LIMIT_BYTES} bytes")
    yield await asyncio.to_thread(_single_file, dockerfile, first)


def _is_archive(head: bytes) -> bool:
    compressed = head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"))
    return compressed or head[257:262] == b"ustar"


def _single_file(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


ROUTES = [
    Route("POST", "/build", build),
    Route("POST", "/build/prune", prune),
    Route("POST", "/build/cancel", cancel),
]
