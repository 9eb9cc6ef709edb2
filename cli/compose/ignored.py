"""Settings of a project that have no effect on one host, in Docker Compose's words. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from cli.compose.model import Application, Values

_OWNER_KEYS = ("gid", "mode", "uid")
_DEPLOY = {
    "endpoint_mode": "only applies to Swarm's routing mesh",
    "labels": "are only applied to Swarm services",
    "mode": "is only honored in Swarm mode",
    "placement": "is only honored by the Swarm scheduler",
    "rollback_config": "only applies to rolling updates in Swarm mode",
    "update_config": "only applies to rolling updates in Swarm mode",
}


def ignored_settings(application: Application) -> list[str]:
    """A line for each setting, ordered.

    Owner and mode of secrets and configs of files are those of the file, which is mounted; those of a content or a variable count.
    """
    return sorted({*_of_objects("configs", application.configs), *_of_objects("secrets", application.secrets)}) + [
        f'service "{name}": {line}'
        for name, service in sorted(application.services.items())
        for line in sorted(set(_of_service(application, service)))
    ]


def _of_objects(kind: str, declared: Mapping[str, Values]) -> Iterator[str]:
    word = kind.removesuffix("s")
    for key, item in declared.items():
        if item.get("labels"):
            yield f"{kind}.{key}.labels: {kind}[].labels are only applied to Swarm {word} objects"
        if item.get("driver_opts"):
            yield f"{kind}.{key}.driver_opts: {kind}[].driver_opts is only honored by Swarm secret drivers"


def _of_service(application: Application, service: Values) -> Iterator[str]:
    for kind, declared in (("configs", application.configs), ("secrets", application.secrets)):
        for reference in service.get(kind) or ():
            source: Any = declared.get(reference["source"]) or {}
            for key in _OWNER_KEYS if source.get("file") else ():
                if reference.get(key):
                    yield f"{kind}.{reference['source']}.{key}: {key} is not supported outside Swarm mode and will be ignored"
    for key, reason in _DEPLOY.items():
        if (service.get("deploy") or {}).get(key):
            yield f"deploy.{key}: deploy.{key} {reason}"
