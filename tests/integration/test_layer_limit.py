"""Images with as many layers as overlayfs can mount: they load, run and cannot grow further."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.layer_limit import LAYER_LIMIT
from tests.support.api_daemon import running
from tests.support.image_archives import image

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


async def test_an_image_with_the_most_layers_runs_and_one_with_more_is_refused(tmp_path: Path) -> None:
    busybox = {"bin/busybox": Path("/bin/busybox").read_bytes()}
    most = image(busybox, *({f"files/{number}": b"x"} for number in range(LAYER_LIMIT - 1)))
    more = image(busybox, *({f"files/{number}": b"x"} for number in range(LAYER_LIMIT)))
    async with running(tmp_path) as daemon:
        await daemon.docker("load", stdin=most.archive(["most:1"]))
        options = ("--rm", "--network", "none", "most:1")
        out, _ = await daemon.docker(
            "run", *options, "/bin/busybox", "sh", "-c", "/bin/busybox ls /files | /bin/busybox wc -l"
        )
        assert out.strip() == str(LAYER_LIMIT - 1)
        _, err = await daemon.docker("load", stdin=more.archive(["more:1"]), check=1)
        assert f"at most {LAYER_LIMIT} are allowed" in err
        await daemon.docker("run", "--name", "full", "--network", "none", "most:1", "/bin/busybox", "touch", "/new")
        _, err = await daemon.docker("commit", "full", check=1)
        assert "max depth exceeded" in err
        await daemon.docker("rm", "full")
