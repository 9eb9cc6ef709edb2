"""Routes for the images of the cluster's nodes. They are Covey's own, so their paths begin with ``/covey``."""

from aiohttp import web

from covey.errors import InvalidArgumentError
from engine.control_client import NodeImage
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate.node_images import cluster_images

FETCH_SECONDS = 3600.0


async def list_cluster_images(context: RequestContext) -> web.Response:
    """The images of all connected nodes, each with the nodes that have it."""
    control = context.services.cluster
    found: dict[str, tuple[NodeImage, ...]] = await control.node_images()
    hostnames = {node.id: node.description.hostname for node in await control.nodes()}
    return json_response(cluster_images(found, hostnames))


async def push_to(context: RequestContext) -> web.Response:
    """Bring an image of this host to a node. Returns once the node has it."""
    node = context.query("node")
    if not node:
        raise InvalidArgumentError("query parameter node is required: the id or name of the node")
    image = context.services.agent.images.get(context.ref)
    names = image.repo_tags if context.ref.removeprefix("sha256:") in image.id else (context.ref,)
    await context.services.cluster.fetch_image(node, image.id, names, seconds=FETCH_SECONDS)
    return empty_response()


ROUTES = [
    Route("GET", "/covey/images", list_cluster_images),
    Route("POST", "/covey/images/{ref*}/push-to", push_to),
]
