"""TLS settings of the Engine API on TCP: the daemon's certificate and, with verification, the CA of the clients'."""

import ssl
from pathlib import Path

from covey.errors import InvalidArgumentError


def server_context(cert: Path, key: Path, ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer. With ``ca`` a client must present a certificate that it has signed. Reads the files.

    Raises:
        InvalidArgumentError: a file cannot be read, or its content does not fit; names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in (cert, key, *([ca] if ca else [])):
        try:
            file.open("rb").close()
        except OSError as error:
            raise InvalidArgumentError(f"could not read the TLS file {file}: {error.strerror}") from None
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        raise InvalidArgumentError(
            f'could not load X509 key pair (cert: "{cert}", key: "{key}"): {error.reason or error}'
        ) from None
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError as error:
            raise InvalidArgumentError(f'could not read CA certificate "{ca}": {error.reason or error}') from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context
