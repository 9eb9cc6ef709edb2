"""Container image for demos and tests: busybox and a web page that names the container serving it. Needs no registry."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
WHO_SCRIPT = b"""#!/bin/sh
echo "Content-Type: text/plain"
echo
echo "$(hostname) on ${NODE:-nowhere} with secret $(sha256sum /run/secrets/* 2>/dev/null | cut -c 1-12)"
"""


def root_file_system(padding_bytes: int = 0) -> bytes:
    """A root file system as a tar archive. ``padding_bytes`` of random data make it as large as a real one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in (
            "bin",
            "dev",
            "etc",
            "home",
            "proc",
            "root",
            "run",
            "sys",
            "tmp",
            "usr",
            "usr/bin",
            "var",
            "www",
            "www/cgi-bin",
        ):
            _directory(archive, path, 0o1777 if path == "tmp" else 0o755)
        _file(archive, "bin/busybox", BUSYBOX.read_bytes(), 0o755)
        names = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        _file(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        _file(archive, "etc/group", b"root:x:0:\nnobody:x:65534:\n")
        _file(archive, "www/index.html", b"ok\n")
        _file(archive, "www/cgi-bin/who", WHO_SCRIPT, 0o755)
        if padding_bytes:
            _file(archive, "padding", os.urandom(padding_bytes))
    return buffer.getvalue()


def _directory(archive: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _file(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))
