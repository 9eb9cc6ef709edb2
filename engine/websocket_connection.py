"""Client connection over a WebSocket, for ``attach/ws``: binary frames of raw bytes in both directions.

Invariant: a client that closes has disconnected, because a WebSocket has no half-close; the process keeps running.
"""

from aiohttp import WSMsgType, web

from covey.errors import InvalidArgumentError
from engine.request_context import RequestContext
from engine.streams import STREAMING

MAX_MESSAGE_BYTES = 1 << 20


class WebSocketConnection:
    """Has the methods of ``engine.streams.HijackedConnection``."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        """The next bytes from the client. ConnectionError once it has closed."""
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY and message.data:
                return bytes(message.data)
            if message.type is WSMsgType.TEXT and message.data:
                return str(message.data).encode()
            if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
                raise ConnectionResetError("the client has closed the WebSocket")

    async def write(self, data: bytes) -> None:
        """Write to the client. ConnectionError once it has disconnected."""
        await self._socket.send_bytes(data)

    def hung_up(self) -> bool:
        """Whether the client has gone."""
        return self._socket.closed

    def close(self) -> None:
        """Nothing to do: the route ends the WebSocket with its closing handshake."""


async def accept(context: RequestContext) -> tuple[WebSocketConnection, web.WebSocketResponse]:
    """Take the handshake of a WebSocket client. InvalidArgumentError for any other request."""
    socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES)
    if not socket.can_prepare(context.request):
        raise InvalidArgumentError("not websocket protocol")
    await socket.prepare(context.request)
    context.request[STREAMING] = True
    return WebSocketConnection(socket), socket
