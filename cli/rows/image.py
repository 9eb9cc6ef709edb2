"""Table rows of images (``covey images``) and of image history."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cli.format.table import Row, truncate
from cli.format.units import ago, human_size, short_id
from covey.clock import SECOND

HEADERS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
TABLE = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
DIGEST_TABLE = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
STEP_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
STEP_TABLE = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
CREATED_BY_LENGTH = 45
TREE_HEADERS = {
    "Name": "IMAGE",
    "ID": "ID",
    "DiskUsage": "DISK USAGE",
    "ContentSize": "CONTENT SIZE",
    "Extra": "EXTRA",
}
TREE_TABLE = "{{.Name}}\t{{.ID}}\t{{.DiskUsage}}\t{{.ContentSize}}\t{{.Extra}}"
NONE = "<none>"
Image = Mapping[str, Any]


def rows(images: Iterable[Image], now_ns: int, *, trunc: bool, digests: bool) -> list[Row]:
    """One row for each name of each image, newest images first."""
    result: list[Row] = []
    for image in sorted(images, key=lambda item: int(item.get("Created", 0)), reverse=True):
        digest_by_repository = {
            digest.split("@", 1)[0]: digest.split("@", 1)[1] for digest in image.get("RepoDigests") or []
        }
        tags = image.get("RepoTags") or []
        for name in tags:
            repository, _, tag = name.rpartition(":")
            result.append(
                _row(image, now_ns, (repository, tag, digest_by_repository.get(repository, NONE)), trunc=trunc)
            )
        if not tags and digests:
            result += [
                _row(image, now_ns, (name, NONE, digest), trunc=trunc) for name, digest in digest_by_repository.items()
            ]
        if not tags and not (digests and digest_by_repository):
            result.append(_row(image, now_ns, (next(iter(digest_by_repository), NONE), NONE, NONE), trunc=trunc))
    return result


def _row(image: Image, now_ns: int, name: tuple[str, str, str], *, trunc: bool) -> Row:
    created = int(image.get("Created", 0))
    return {
        "ID": short_id(image["Id"]) if trunc else image["Id"],
        "Repository": name[0],
        "Tag": name[1],
        "Digest": name[2],
        "CreatedSince": ago(created * SECOND, now_ns) or "N/A",
        "CreatedAt": f"{datetime.fromtimestamp(created).astimezone():%Y-%m-%d %H:%M:%S %z %Z}",
        "Size": human_size(image.get("Size", 0), 3),
        "Containers": "N/A" if image.get("Containers", -1) < 0 else str(image["Containers"]),
        "VirtualSize": human_size(image.get("Size", 0), 3),
        "SharedSize": "N/A" if image.get("SharedSize", -1) < 0 else human_size(image["SharedSize"], 3),
        "UniqueSize": "N/A",
    }


def tree(images: Iterable[Image]) -> list[Row]:
    """One row for each name of each image, and one below for each of its platforms where the daemon lists them."""
    result: list[Row] = []
    for image in sorted(images, key=lambda item: int(item.get("Created", 0)), reverse=True):
        size = human_size(image.get("Size", 0), 3)
        used = "U" if image.get("Containers", 0) > 0 else ""
        for name in image.get("RepoTags") or [f"{NONE}:{NONE}"]:
            result.append(_tree_row(name, image["Id"], size, human_size(_content(image), 3), used))
            result += _platforms(image)
    return result


def _content(image: Image) -> int:
    """The bytes of the image's layers as a registry has them, where the daemon says so."""
    manifests = image.get("Manifests") or []
    return sum(int((item.get("Size") or {}).get("Content", 0)) for item in manifests) or int(image.get("Size", 0))


def _platforms(image: Image) -> list[Row]:
    found = [item for item in image.get("Manifests") or [] if item.get("Kind") == "image"]
    result = []
    for position, item in enumerate(found):
        data = item.get("ImageData") or {}
        fields = data.get("Platform") or {}
        platform = "/".join(str(fields[key]) for key in ("os", "architecture", "variant") if fields.get(key))
        size = item.get("Size") or {}
        mark = "└─" if position == len(found) - 1 else "├─"
        used = "U" if data.get("Containers") else ""
        total, content = human_size(size.get("Total", 0), 3), human_size(size.get("Content", 0), 3)
        result.append(_tree_row(f"{mark} {platform}", str(item.get("ID", "")), total, content, used))
    return result


def _tree_row(name: str, identifier: str, size: str, content: str, used: str) -> Row:
    return {"Name": name, "ID": short_id(identifier), "DiskUsage": size, "ContentSize": content, "Extra": used}


def step(item: Mapping[str, Any], now_ns: int, *, human: bool, trunc: bool) -> Row:
    """The row of one step of an image's history."""
    created = int(item.get("Created", 0))
    at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    by = str(item.get("CreatedBy", "")).replace("\t", " ")
    return {
        "ID": short_id(item["Id"]) if trunc else item["Id"],
        "CreatedSince": ago(created * SECOND, now_ns) if human else at,
        "CreatedAt": at,
        "CreatedBy": truncate(by, CREATED_BY_LENGTH) if trunc else by,
        "Size": human_size(item.get("Size", 0), 3) if human else str(item.get("Size", 0)),
        "Comment": item.get("Comment", ""),
    }
