"""Request context of the Engine API: query parameters and JSON bodies as Docker clients send them, and JSON responses.

Every route handler receives one ``RequestContext``. It carries the ``EngineServices`` that the routes use.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from covey.clock import Clock, wall_clock
from covey.engine_settings import LiveSettings
from covey.errors import CoveyError, InvalidArgumentError, TooLargeError, UnavailableError
from engine.control_client import ControlClient
from engine.events import EventLog
from engine.host_info import HostInfo
from engine.host_programs import ProgramVersion
from engine.interfaces import AgentInterface, LocalNodeInfo, LocalNodeState, NodeControl
from engine.routing import API_VERSION
from engine.translate import filters, go_json

MAX_JSON_BYTES = 8 << 20
_GO_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_GO_FALSE = frozenset({"", "0", "f", "F", "false", "FALSE", "False"})
_KINDS_WITHOUT_REASON = frozenset({"secret", "config"})
"""Kinds of objects of which Docker does not say why a version is none."""
_FALSE = frozenset({"", "0", "no", "false", "none"})

_INACTIVE = 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'
_WORKER = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. "
    "Please run this command on a manager node or promote the current node to a manager."
)
_PENDING = "This node is still joining the swarm, or its managers cannot be reached. Try again in a moment."


class EngineServices(msgspec.Struct, frozen=True, kw_only=True):
    """The services that the routes use."""

    agent: AgentInterface
    node: LocalNodeInfo
    membership: NodeControl
    control: ControlClient
    events: EventLog
    host: HostInfo
    settings: LiveSettings
    programs: Mapping[str, ProgramVersion] = {}
    clock: Clock = wall_clock
    running_prunes: set[str] = msgspec.field(default_factory=set)
    """The groups of objects that are pruned at the moment."""

    @property
    def cluster(self) -> ControlClient:
        """The control client, or UnavailableError in Docker's words if this node is not a manager."""
        message = not_manager_message(self.node.state, is_manager=self.node.is_manager)
        if message:
            raise UnavailableError(message)
        return self.control

    @property
    def control_available(self) -> bool:
        """Whether this node can be asked for the cluster's state; Docker calls it ControlAvailable."""
        return not not_manager_message(self.node.state, is_manager=self.node.is_manager)

    def volume_path(self, name: str) -> str:
        """The directory of a volume on this host; "" if there is no such volume."""
        try:
            return str(self.agent.volumes.data_path(name))
        except CoveyError:
            return ""


def not_manager_message(state: LocalNodeState, *, is_manager: bool) -> str:
    """Error of a node in this state that is asked for the cluster's state; empty if it can be. A manager is asked as soon as it may
    answer, even before its own daemon has a session with the leader.
    """
    if state is LocalNodeState.ACTIVE:
        return "" if is_manager else _WORKER
    if state is LocalNodeState.PENDING:
        return "" if is_manager else _PENDING
    if state is LocalNodeState.LOCKED:
        return 'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.'
    return _INACTIVE


class RequestContext:
    """A request, the parameters of its path, its API version, and the services to handle it."""

    def __init__(
        self,
        request: web.Request,
        services: EngineServices,
        parameters: Mapping[str, str],
        version: tuple[int, int] = API_VERSION,
    ) -> None:
        self.request = request
        self.services = services
        self.parameters = parameters
        self.version = version

    @property
    def ref(self) -> str:
        """Name or id of the object in the path."""
        return self.parameters["ref"]

    def query(self, name: str, default: str = "") -> str:
        return self.request.query.get(name, default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean query parameter. As in Docker, every value that does not mean false means true."""
        value = self.request.query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def number(self, name: str, default: int | None = None) -> int | None:
        """An integer query parameter. InvalidArgumentError names it if it is not one."""
        value = self.query(name)
        if not value:
            return default
        try:
            return int(value)
        except ValueError:
            raise InvalidArgumentError(f"invalid {name} {value!r}: it must be an integer") from None

    def required_number(self, name: str) -> int:
        """An integer query parameter that must be given."""
        found = self.number(name)
        if found is None:
            raise InvalidArgumentError(f"query parameter {name} is required: it must be an integer")
        return found

    def strict_flag(self, name: str) -> bool:
        """A boolean query parameter of which Docker takes only Go's spellings."""
        value = self.query(name)
        if value not in _GO_TRUE | _GO_FALSE:
            raise InvalidArgumentError(f"invalid value for {name}: {value}; use true or false")
        return value in _GO_TRUE

    def object_version(self, kind: str) -> int:
        """The object version that an update is based on. Every update must give it."""
        value = self.query("version")
        if value.isascii() and value.isdecimal() and int(value) < 2**63:
            return int(value)
        if kind in _KINDS_WITHOUT_REASON:
            raise InvalidArgumentError(f"invalid {kind} version; '{value}' is not a version number")
        reason = "value out of range" if value.isascii() and value.isdecimal() else "invalid syntax"
        raise InvalidArgumentError(
            f"invalid {kind} version '{value}': strconv.ParseUint: parsing \"{value}\": {reason}"
        )

    def filters(self, *allowed: str) -> filters.Filters:
        return filters.parse(self.query("filters"), allowed)

    async def json(self, *, optional: bool = False) -> Any:
        """The JSON body, of limited size. InvalidArgumentError if it is not JSON."""
        data = await read_bounded(self.request, MAX_JSON_BYTES)
        if not data.strip():
            if optional:
                return {}
            raise InvalidArgumentError("invalid JSON: got EOF while reading request body")
        self._require_json_type()
        return decode_json(data)

    def _require_json_type(self) -> None:
        """As in Docker, a body must be declared as JSON, and one without a type may not be any other's."""
        given = self.request.headers.get("Content-Type", "")
        if given.partition(";")[0].strip().lower() != "application/json":
            raise InvalidArgumentError(f"unsupported Content-Type header ({given}): must be 'application/json'")


def decode_json(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        InvalidArgumentError: it is not JSON; the message is Go's.
    """
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise InvalidArgumentError("invalid JSON: exceeded max depth") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message, text = go_json.syntax_error(data), data.decode(errors="replace")
        if message or len(text) > go_json.MAX_SCANNED_BYTES:
            raise InvalidArgumentError(f"invalid JSON: {message or error}") from None
    # Go reads what a strict decoder refuses: bytes that are not UTF-8, and surrogates without their other half.
    try:
        readable = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
        return msgspec.json.decode(readable)
    except RecursionError:
        raise InvalidArgumentError("invalid JSON: exceeded max depth") from None
    except json.JSONDecodeError:
        raise InvalidArgumentError("unexpected content after JSON") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidArgumentError(f"invalid JSON: {error}") from None


async def read_bounded(request: web.Request, limit: int) -> bytes:
    """The whole body. TooLargeError above the limit."""
    parts, size = [], 0
    async for chunk in request.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > limit:
            raise TooLargeError(f"the request body is larger than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON response."""
    return web.Response(
        body=msgspec.json.encode(value) + b"\n", status=status, content_type="application/json", headers=headers
    )


def empty_response(status: int = 200) -> web.Response:
    """A response without a body."""
    return web.Response(status=status)
