"""Inspection of an image in a registry (`/distribution`): its digest, media type, size and platforms."""

from collections.abc import Iterable

from agent.image.model import RemoteImage, decode_config
from agent.image.registry.auth_config import Credentials
from agent.image.registry.client import RegistryClient
from agent.image.registry.errors import RegistryError, RegistryStatusError
from agent.image.registry.manifests import CONFIG_LIMIT_BYTES
from covey.errors import CoveyError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from covey.image_platform import ImagePlatform
from covey.image_reference import Reference

_KINDS: dict[int, type[CoveyError]] = {401: UnauthenticatedError, 403: PermissionDeniedError, 404: NotFoundError}


async def inspect_image(client: RegistryClient, reference: Reference, credentials: Credentials) -> RemoteImage:
    """Ask the registry, without its mirrors. Its errors keep their words and their status."""
    try:
        repository = await client.open(reference, credentials, "pull", mirrors=False)
        manifest = await repository.manifest(reference.digest or reference.tag, reference.familiar)
        if manifest.is_index:
            found: Iterable[ImagePlatform] = [entry.platform for entry in manifest.manifests if entry.platform]
        else:
            config = decode_config(
                await repository.small_blob(manifest.config, CONFIG_LIMIT_BYTES), manifest.config.digest
            )
            found = [ImagePlatform(config.architecture, config.os, config.variant)]
    except RegistryStatusError as error:
        raise _KINDS.get(error.status, RegistryError)(error.message) from error
    platforms = tuple((platform.os, platform.architecture, platform.variant) for platform in found)
    return RemoteImage(manifest.media_type, manifest.digest, len(manifest.body), platforms)
