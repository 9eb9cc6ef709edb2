"""Search for images: by the search API that Docker Hub has, or in the catalog of a registry that has none."""

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urljoin

import msgspec

from agent.image.model import SearchResult
from agent.image.registry.auth_config import Credentials
from agent.image.registry.client import REQUEST_SECONDS, RegistryClient, RepositoryClient
from agent.image.registry.errors import RegistryContentError, RegistryError, RegistryStatusError, status_error
from agent.image.registry.registries_config import Endpoint
from agent.image.registry.transport import Request, read_bounded, read_error_body
from covey.errors import InvalidArgumentError
from covey.image_reference import DEFAULT_DOMAIN, Reference

DEFAULT_LIMIT = 25
LIMITS = (1, 100)
BODY_LIMIT_BYTES = 4 << 20
PAGE_LIMIT = 100
HUB_INDEX = Endpoint("https://index.docker.io", "index.docker.io")
_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T"})
_FALSE = frozenset({"0", "false", "False", "FALSE", "f", "F"})


class SearchQuery(msgspec.Struct, frozen=True):
    """What to look for. `stars` is the minimum, None in the others means any."""

    domain: str
    term: str
    limit: int = DEFAULT_LIMIT
    official: bool | None = None
    automated: bool | None = None
    stars: int = 0


class _Results(msgspec.Struct):
    results: list[SearchResult] = []


class _Catalog(msgspec.Struct):
    repositories: list[str] | None = None


def parse_query(term: str, limit: int | None, filters: Mapping[str, Sequence[str]]) -> SearchQuery:
    """The query of a request. Raises InvalidArgumentError in Docker's words."""
    if limit is not None and limit != 0 and not LIMITS[0] <= limit <= LIMITS[1]:
        raise InvalidArgumentError(f"limit {limit} is outside the range of [{LIMITS[0]}, {LIMITS[1]}]")
    stars = 0
    for value in filters.get("stars", ()):
        if not value.isdecimal():
            raise InvalidArgumentError(f"invalid filter 'stars={value}'")
        stars = max(stars, int(value))
    domain, rest = _split(term)
    return SearchQuery(
        domain, rest, limit or DEFAULT_LIMIT, _flag(filters, "is-official"), _flag(filters, "is-automated"), stars
    )


async def search(client: RegistryClient, query: SearchQuery, credentials: Credentials) -> tuple[SearchResult, ...]:
    """The images that match, at most `limit`."""
    if query.domain == DEFAULT_DOMAIN:
        found = await _search_hub(client, query)
    else:
        repository = await client.open(Reference(query.domain, "search"), credentials, mirrors=False)
        found = await _search_registry(repository, query)
    return tuple(result for result in found if _matches(result, query))[: query.limit]


async def _search_hub(client: RegistryClient, query: SearchQuery) -> list[SearchResult]:
    request = Request(method="GET", url=f"{HUB_INDEX.url}{_search_path(query)}")
    async with asyncio.timeout(REQUEST_SECONDS), client.transport.send(request, HUB_INDEX) as response:
        if response.status != 200:
            raise status_error(response.status, response.reason or "", await read_error_body(response))
        return _decode(await read_bounded(response, BODY_LIMIT_BYTES, "the search result"), HUB_INDEX.url)


async def _search_registry(repository: RepositoryClient, query: SearchQuery) -> list[SearchResult]:
    base = repository.connection.endpoint.url
    try:
        async with (
            asyncio.timeout(REQUEST_SECONDS),
            repository.connection.request("GET", f"{base}{_search_path(query)}") as response,
        ):
            return _decode(await read_bounded(response, BODY_LIMIT_BYTES, "the search result"), base)
    except RegistryStatusError as error:
        if error.status != 404:
            raise
    return await _by_catalog(repository, query)


def _search_path(query: SearchQuery) -> str:
    return f"/v1/search?{urlencode({'q': query.term, 'n': query.limit})}"


def _decode(body: bytes, base: str) -> list[SearchResult]:
    try:
        return msgspec.json.decode(body, type=_Results).results
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RegistryContentError(f"the search result of {base} is malformed: {error}") from None


async def _by_catalog(repository: RepositoryClient, query: SearchQuery) -> list[SearchResult]:
    found: list[SearchResult] = []
    base = repository.connection.endpoint.url
    url = f"{base}/v2/_catalog?n=1000"
    for _ in range(PAGE_LIMIT):
        async with (
            asyncio.timeout(REQUEST_SECONDS),
            repository.connection.request("GET", url, scopes=("registry:catalog:*",)) as response,
        ):
            body = await read_bounded(response, BODY_LIMIT_BYTES, "the catalog")
            link = response.links.get("next")
        try:
            names = msgspec.json.decode(body, type=_Catalog).repositories or []
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RegistryContentError(f"the catalog of {base} is malformed: {error}") from None
        found += [SearchResult(name=f"{query.domain}/{name}") for name in names if query.term in name]
        if link is None or len(found) >= query.limit:
            return found
        url = urljoin(url, str(link.get("url", "")))
        if not url.startswith(f"{base}/"):
            raise RegistryError(f"the catalog of {base} continues at another host")
    return found


def _matches(result: SearchResult, query: SearchQuery) -> bool:
    return (
        query.official in {None, result.is_official}
        and query.automated in {None, result.is_automated}
        and result.star_count >= query.stars
    )


def _split(term: str) -> tuple[str, str]:
    """Registry and rest of a term: `registry:5000/app`, `app`."""
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return DEFAULT_DOMAIN, term.removeprefix("library/")


def _flag(filters: Mapping[str, Sequence[str]], key: str) -> bool | None:
    for value in filters.get(key, ()):
        if value not in _TRUE | _FALSE:
            raise InvalidArgumentError(f"invalid filter '{key}={value}'")
        return value in _TRUE
    return None
