"""Translation of the images of the cluster's nodes to JSON: one entry an image. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.control_client import NodeImage


def cluster_images(images: Mapping[str, Sequence[NodeImage]], hostnames: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every image with its names, its size and the nodes that have it, ordered by name."""
    entries: dict[str, dict[str, Any]] = {}
    for node_id, held in sorted(images.items()):
        for image in held:
            entry = entries.setdefault(
                image.id, {"Id": image.id, "RepoTags": [], "RepoDigests": [], "Size": image.size_bytes, "Nodes": []}
            )
            for name in image.names:
                known = entry["RepoDigests" if "@" in name else "RepoTags"]
                if name not in known:
                    known.append(name)
            entry["Nodes"].append({"ID": node_id, "Hostname": hostnames.get(node_id, "")})
    return sorted(entries.values(), key=lambda entry: (min(entry["RepoTags"], default="~"), entry["Id"]))
