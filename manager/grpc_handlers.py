"""Wrapping of gRPC method handlers for interceptors: one coroutine shape for unary and streaming methods.

Used by ``manager.authorize`` and ``manager.control.leader_forwarding``.
"""

from collections.abc import Callable
from typing import Any

import grpc


def wrap_handler(
    handler: Any, wrap: Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], Any]], *, raw: bool = False
) -> Any:
    """The handler with its method wrapped. The method is a coroutine that writes its own stream. ``raw`` skips (de)serialization."""
    behaviour = handler_coroutine(handler)
    shape = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    if raw:
        return shape(wrap(behaviour))
    return shape(wrap(behaviour), handler.request_deserializer, handler.response_serializer)


def handler_coroutine(handler: Any) -> Callable[[Any, Any], Any]:
    """A handler's method as a coroutine, for methods that yield their responses and for methods that write them."""
    inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if not handler.response_streaming:
        return inner  # type: ignore[no-any-return]

    async def run(request: Any, context: Any) -> None:
        result = inner(request, context)
        if not hasattr(result, "__aiter__"):
            await result
            return
        try:
            async for response in result:
                await context.write(response)
        finally:
            if hasattr(result, "aclose"):
                await result.aclose()

    return run
