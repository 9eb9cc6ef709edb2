"""Table rows of disk usage (``covey system df``), summed up by kind and in detail. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cli.format.table import Row
from cli.format.units import human_size
from cli.rows import container as container_rows
from cli.rows import image as image_rows

Item = Mapping[str, Any]
HEADERS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
TABLE = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
IMAGE_TABLE = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}"
CONTAINER_TABLE = (
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}"
)
VOLUME_HEADERS = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
VOLUME_TABLE = "{{.Name}}\t{{.Links}}\t{{.Size}}"
CACHE_HEADERS = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}
CACHE_TABLE = "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}"
_ACTIVE = ("running", "paused", "restarting")


def summary(usage: Item) -> list[Row]:
    """One row for each kind of object, from an answer of /system/df."""
    images, containers = usage.get("Images") or [], usage.get("Containers") or []
    volumes, caches = usage.get("Volumes") or [], usage.get("BuildCache") or []
    layers = int(usage.get("LayersSize") or 0)
    used = sum(
        item.get("Size", 0) - item.get("SharedSize", 0)
        for item in images
        if item.get("Containers") and -1 not in (item.get("Size", 0), item.get("SharedSize", 0))
    )
    stopped = [item for item in containers if not _is_active(item)]
    unused = [item for item in volumes if _links(item) == 0]
    idle = [item for item in caches if not item.get("InUse")]
    return [
        _row("Images", len(images), sum(1 for item in images if item.get("Containers")), layers, layers - used),
        _row("Containers", len(containers), len(containers) - len(stopped), _written(containers), _written(stopped)),
        _row(
            "Local Volumes",
            len(volumes),
            sum(1 for item in volumes if _links(item) > 0),
            _stored(volumes),
            _stored(unused),
        ),
        _row("Build Cache", len(caches), len(caches) - len(idle), _cached(caches), _cached(idle)),
    ]


def _row(kind: str, count: int, active: int, size: int, reclaimable: int) -> Row:
    share = f" ({reclaimable * 100 // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": str(count),
        "Active": str(active),
        "Size": human_size(size),
        "Reclaimable": f"{human_size(reclaimable)}{share}",
    }


def _is_active(item: Item) -> bool:
    return str(item.get("State", "")).lower() in _ACTIVE


def _links(item: Item) -> int:
    return int((item.get("UsageData") or {}).get("RefCount", -1))


def _written(items: Iterable[Item]) -> int:
    return sum(int(item.get("SizeRw") or 0) for item in items)


def _stored(items: Iterable[Item]) -> int:
    return sum(size for item in items if (size := int((item.get("UsageData") or {}).get("Size", -1))) > 0)


def _cached(items: Iterable[Item]) -> int:
    return sum(int(item.get("Size") or 0) for item in items if not item.get("Shared"))


def images(items: Sequence[Item], now_ns: int, *, trunc: bool = True) -> list[Row]:
    """One row for each image, by its first name."""
    return [_image(item, now_ns, trunc=trunc) for item in sorted(items, key=lambda item: -int(item.get("Created", 0)))]


def _image(item: Item, now_ns: int, *, trunc: bool) -> Row:
    first = {**item, "RepoTags": (item.get("RepoTags") or [])[:1]}
    (row,) = image_rows.rows([first], now_ns, trunc=trunc, digests=False)[:1]
    size, shared = int(item.get("Size", 0)), int(item.get("SharedSize", -1))
    unique = human_size(size - shared) if shared >= 0 else "N/A"
    return {**row, "SharedSize": human_size(shared) if shared >= 0 else "N/A", "UniqueSize": unique}


def containers(items: Iterable[Item], now_ns: int, *, trunc: bool = True) -> list[Row]:
    return [
        {**container_rows.row(item, now_ns, trunc=trunc), "Size": human_size(item.get("SizeRw", 0), 3)}
        for item in items
    ]


def volumes(items: Iterable[Item]) -> list[Row]:
    rows: list[Row] = []
    for item in items:
        size = int((item.get("UsageData") or {}).get("Size", -1))
        links = _links(item)
        rows.append(
            {
                "Name": item["Name"],
                "Links": "N/A" if links < 0 else str(links),
                "Size": "N/A" if size < 0 else human_size(size),
            }
        )
    return rows
