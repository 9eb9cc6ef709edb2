"""TLS contexts for registries, from certificate folders that are laid out as Docker's `certs.d`.

    FOLDER/HOST[:PORT]/*.crt          certificate authorities that are trusted besides the system's
    FOLDER/HOST[:PORT]/NAME.cert      a client certificate, with its key in NAME.key

Reading certificates blocks on the disk; it is called in a thread.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path

from agent.image.registry.registries_config import Endpoint
from covey.errors import InvalidArgumentError


def tls_context(endpoint: Endpoint, folders: Sequence[str]) -> ssl.SSLContext:
    """The context for an endpoint. Raises InvalidArgumentError that names a file that is missing or unusable."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for folder in folders:
        path = Path(folder) / endpoint.host
        if "/" not in endpoint.host and path.is_dir():
            _load(context, path)
    return context


def _load(context: ssl.SSLContext, folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        try:
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif path.suffix == ".cert":
                _load_client_certificate(context, path)
            elif path.suffix == ".key" and not path.with_suffix(".cert").exists():
                raise InvalidArgumentError(
                    f"missing client certificate {path.with_suffix('.cert').name} for key {path}"
                )
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgumentError(f"the certificate file {path} cannot be used: {error}") from None


def _load_client_certificate(context: ssl.SSLContext, path: Path) -> None:
    key = path.with_suffix(".key")
    if not key.exists():
        raise InvalidArgumentError(
            f"missing key {key.name} for client certificate {path}. CA certificates must use the extension .crt"
        )
    context.load_cert_chain(path, key)
