"""Benchmark of images between nodes: five hosts get a 200 MB image that one of them has, without a registry."""

import json
import time
from urllib.parse import quote

from node.lab import cluster
from node.lab.image import root_file_system
from node.lab.layout import Lab
from tests.bench.figures import Figure, Target
from tests.bench.subject import COMMAND, Subject, unique_name, upload

IMAGE_BYTES = 200 * 1000 * 1000
HOSTS = 5


def image_sharing(name: str, rounds: int) -> list[Figure]:
    """Time until a global service of the image runs on all hosts, as a multiple of the time to load the image on one host."""
    lab = Lab(f"{name}-img", 1, HOSTS - 1)
    ratios, seconds = [], []
    with cluster.running(lab):
        subject = Subject(lab)
        subject.create_network()
        root, changes = lab.folder / "root.tar", quote(f"CMD {json.dumps(COMMAND)}")
        for number in range(rounds):
            root.write_bytes(root_file_system(IMAGE_BYTES))
            began = time.monotonic()
            upload(lab.hosts[0], f"/images/create?fromSrc=-&repo=shared&tag={number}&changes={changes}", root)
            local = time.monotonic() - began
            subject.image = f"shared:{number}"
            service = unique_name("shared")
            began = time.monotonic()
            subject.create_service(service, HOSTS)
            subject.wait_running(service, HOSTS)
            seconds.append(time.monotonic() - began)
            ratios.append(seconds[-1] / local)
            subject.remove_service(service)
        root.unlink()
    return [
        Figure("200 MB image of one node runs on five", "s", tuple(seconds)),
        Figure("the same, as a multiple of a local load", "", tuple(ratios), Target(3.0)),
    ]
