"""A query to a Prometheus server.

Invariant: a query has a deadline, and its answer a limit of size. aiohttp is imported with the first query, because few clusters have one.
"""

import math
from typing import Any

import msgspec

from covey.errors import UnavailableError

QUERY_SECONDS = 3.0
MAX_ANSWER_BYTES = 256 * 1024
_MAX_WORDS = 200


class _Data(msgspec.Struct):
    resultType: str = ""  # noqa: N815 - Prometheus' name
    result: Any = None


class _Answer(msgspec.Struct):
    status: str = ""
    error: str = ""
    data: _Data | None = None


async def query_value(url: str, query: str) -> float:
    """The value of an instant query: a scalar, or a vector of one element.

    Raises:
        UnavailableError: the server does not answer, or with something else; the message says what.
    """
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=QUERY_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(f"{url}/api/v1/query", params={"query": query}, allow_redirects=False) as response,
        ):
            status, body = response.status, await _read(response.content)
    except TimeoutError:
        raise UnavailableError(f"Prometheus at {url} did not answer within {QUERY_SECONDS:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UnavailableError(f"Prometheus at {url} cannot be asked: {str(error)[:_MAX_WORDS]}") from error
    return parse_answer(url, status, body)


async def _read(content: Any) -> bytes:
    body = bytearray()
    async for chunk in content.iter_chunked(16 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError(f"its answer is larger than {MAX_ANSWER_BYTES // 1024} KiB")
    return bytes(body)


def parse_answer(url: str, status: int, body: bytes) -> float:
    """The number in an answer of the query API. Raises UnavailableError if there is none, or it counts nothing."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        raise UnavailableError(f"Prometheus at {url} answered with status {status} and no JSON of its API") from None
    if answer.status != "success" or answer.data is None:
        raise UnavailableError(f"Prometheus at {url} refused the query: {answer.error[:_MAX_WORDS] or status}")
    try:
        value = _value(answer.data)
    except (TypeError, ValueError, KeyError, IndexError):
        raise UnavailableError(
            f"Prometheus at {url} answered with a {answer.data.resultType[:20]} of another form"
        ) from None
    if not math.isfinite(value) or value < 0:
        raise UnavailableError(f"the query to Prometheus at {url} is {value:g}, which is no load")
    return value


def _value(data: _Data) -> float:
    if data.resultType == "scalar":
        return float(data.result[1])
    if data.resultType != "vector":
        raise ValueError(data.resultType)
    if len(data.result) != 1:
        raise UnavailableError(f"the query gives {len(data.result)} values instead of one; sum or select them")
    return float(data.result[0]["value"][1])
