"""Route that makes an image of a container: ``POST /commit``."""

from aiohttp import web

from agent.container.commit_config import commit_config
from agent.container.model import ContainerEvent
from agent.image.model import CommitRequest
from covey.errors import InvalidArgumentError
from engine.request_context import RequestContext, json_response
from engine.routes.images import publish_image
from engine.routing import Route
from engine.translate import event
from engine.translate.commit import read_image_config


async def commit(context: RequestContext) -> web.Response:
    ref = context.query("container")
    if not ref:
        raise InvalidArgumentError('invalid name or ID supplied: ""')
    given = read_image_config(await context.json(optional=True))
    services = context.services
    config = services.agent.containers.get(ref).config
    repository, tag = context.query("repo"), context.query("tag")
    name = f"{repository}:{tag}" if repository and tag else repository
    request = CommitRequest(
        container=config.name,
        image_id=config.image_id,
        config=commit_config(config, given, context.request.query.getall("changes", [])),
        tag=name,
        author=context.query("author"),
        comment=context.query("comment"),
        created_by=" ".join(config.command or ()),
    )
    source = services.agent.containers.frozen_layer(config.id, pause=context.flag("pause", default=True))
    image_id = await services.agent.images.commit(request, source)
    attributes = {"comment": request.comment, "imageID": image_id, "imageRef": name}
    services.events.publish(event.from_container(ContainerEvent(services.clock(), "commit", config, attributes)))
    if name:
        publish_image(context, "tag", services.agent.images.get(image_id), name)
    return json_response({"Id": image_id}, 201)


ROUTES = [Route("POST", "/commit", commit)]
