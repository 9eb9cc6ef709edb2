"""A node without images, for tests of the session."""

from __future__ import annotations

import asyncio

from coveypb.v1 import dispatcher_pb2


class NoImages:
    """Reports no image and fetches none. Implements ``agent.session.interfaces.ImagesPort``."""

    report_version = 0

    def set_dispatcher(self, stub: object) -> None:
        pass

    def report(self) -> dispatcher_pb2.ImageReport:
        return dispatcher_pb2.ImageReport()

    async def wait_newer_report(self, version: int) -> None:
        del version
        await asyncio.Event().wait()

    async def fetch_for_operator(self, request: dispatcher_pb2.FetchImage) -> dispatcher_pb2.FetchResult:
        return dispatcher_pb2.FetchResult(fetch_id=request.fetch_id, error="this node has no images")
