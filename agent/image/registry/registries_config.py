"""Configuration of registries (`registries.toml`): mirrors, insecure registries, certificate folders, limits. Pure.

insecure-registries = ["registry.lan:5000", "10.0.0.0/8"]
registry-mirrors = ["https://hub-mirror.lan"]
[registries."registry.lan:5000"]
mirrors = ["https://cache.lan"]
"""

import ipaddress
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from covey.errors import InvalidArgumentError
from covey.image_reference import DEFAULT_DOMAIN

DEFAULT_CERTS_FOLDERS = ("/etc/docker/certs.d", "/etc/covey/certs.d")
HUB_ENDPOINT = "https://registry-1.docker.io"

_Count = Annotated[int, msgspec.Meta(ge=1, le=100)]


class RegistryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Settings of one registry. `mirrors` are base URLs that are asked first when pulling."""

    mirrors: tuple[str, ...] = ()
    insecure: bool = False


class RegistriesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The whole file. The names at the top level are those of Docker's `daemon.json`."""

    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    certs_dirs: tuple[str, ...] = DEFAULT_CERTS_FOLDERS
    max_concurrent_downloads: _Count = 3
    max_concurrent_uploads: _Count = 5
    max_download_attempts: _Count = 5
    registries: Mapping[str, RegistryConfig] = {}


class Endpoint(msgspec.Struct, frozen=True):
    """One base URL of a registry, without a trailing slash. `verify` is False where certificates are not verified."""

    url: str
    host: str
    verify: bool = True
    is_mirror: bool = False


def parse_config(text: str, file: str) -> RegistriesConfig:
    """Parse the file. Raises InvalidArgumentError that names the file and the key."""
    try:
        config = msgspec.convert(tomllib.loads(text), RegistriesConfig)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidArgumentError(f"{file} is invalid: {error}") from None
    mirrors = [*config.registry_mirrors, *(url for entry in config.registries.values() for url in entry.mirrors)]
    for url in mirrors:
        _check_mirror(url, file)
    for entry in config.insecure_registries:
        if "://" in entry or not entry:
            raise InvalidArgumentError(
                f'{file} is invalid: insecure-registries: "{entry}" must be HOST, HOST:PORT or a CIDR, without a scheme'
            )
    return config


def endpoints(domain: str, config: RegistriesConfig, *, pull: bool) -> tuple[Endpoint, ...]:
    """The base URLs of a registry in the order to try: mirrors when pulling, HTTPS, and HTTP if it is insecure."""
    found: list[Endpoint] = []
    settings = config.registries.get(domain, RegistryConfig())
    if pull:
        mirrors = (*settings.mirrors, *(config.registry_mirrors if domain == DEFAULT_DOMAIN else ()))
        found += [_mirror(url, config) for url in mirrors]
    if domain == DEFAULT_DOMAIN:
        return (*found, Endpoint(HUB_ENDPOINT, "registry-1.docker.io"))
    if settings.insecure or is_insecure(domain, config.insecure_registries):
        return (
            *found,
            Endpoint(f"https://{domain}", domain, verify=False),
            Endpoint(f"http://{domain}", domain, verify=False),
        )
    return (*found, Endpoint(f"https://{domain}", domain))


def describe_config(config: RegistriesConfig) -> dict[str, object]:
    """The configuration in the form of Docker's `RegistryConfig`."""
    networks = ["::1/128", "127.0.0.0/8", *(entry for entry in config.insecure_registries if "/" in entry)]
    named = [entry for entry in config.insecure_registries if "/" not in entry]
    named += [domain for domain, settings in config.registries.items() if settings.insecure]
    indexes: dict[str, object] = {
        DEFAULT_DOMAIN: _index(DEFAULT_DOMAIN, config.registry_mirrors, secure=True, official=True)
    }
    for domain in dict.fromkeys((*named, *config.registries)):
        mirrors = config.registries.get(domain, RegistryConfig()).mirrors
        if domain == DEFAULT_DOMAIN:
            indexes[domain] = _index(domain, (*mirrors, *config.registry_mirrors), secure=True, official=True)
        else:
            indexes[domain] = _index(domain, mirrors, secure=domain not in named, official=False)
    return {
        "InsecureRegistryCIDRs": networks,
        "IndexConfigs": indexes,
        "Mirrors": [f"{url.rstrip('/')}/" for url in config.registry_mirrors],
    }


def _index(domain: str, mirrors: Sequence[str], *, secure: bool, official: bool) -> dict[str, object]:
    urls = [f"{url.rstrip('/')}/" for url in mirrors]
    return {"Name": domain, "Mirrors": urls, "Secure": secure, "Official": official}


def is_insecure(domain: str, insecure: tuple[str, ...]) -> bool:
    """Whether HTTP and unverified certificates are allowed: loopback addresses, and what the configuration names."""
    host = _host_of(domain)
    if host == "localhost" or domain in insecure or host in insecure:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in _networks(insecure))


def _networks(entries: tuple[str, ...]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    networks = []
    for entry in entries:
        if "/" in entry:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                continue
    return networks


def _host_of(domain: str) -> str:
    if domain.startswith("["):
        return domain[1:].partition("]")[0]
    return domain.partition(":")[0]


def _mirror(url: str, config: RegistriesConfig) -> Endpoint:
    base = url.rstrip("/")
    host = base.partition("://")[2].partition("/")[0]
    return Endpoint(base, host, verify=not is_insecure(host, config.insecure_registries), is_mirror=True)


def _check_mirror(url: str, file: str) -> None:
    scheme, separator, rest = url.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest or any(mark in rest for mark in "?#@ "):
        raise InvalidArgumentError(
            f'{file} is invalid: the mirror "{url}" must be an http or https URL without user, query or fragment'
        )
