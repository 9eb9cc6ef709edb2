"""An image with busybox and Python, made from the machine's own interpreter: the stand-in for ``python:3-alpine`` without the internet.

It holds only the modules that the named ones import, about 10 MB with the interpreter.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from node.lab.image import root_file_system

PYTHON = Path("/usr/bin/python3.11")  # Debian's, at the paths where the image has it too
MODULES = (
    "argparse",
    "contextlib",
    "encodings.idna",
    "encodings.latin_1",
    "hmac",
    "html",
    "http.client",
    "http.server",
    "json",
    "pathlib",
    "shutil",
    "signal",
    "socketserver",
    "typing",
    "urllib.parse",
    "zipapp",
)
_WITH_LIBRARIES = ("_ssl", "_hashlib", "_bz2", "_lzma")  # optional parts of the library that need more shared libraries
_LIST_FILES = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)]))
"""


def python_file_system(modules: Sequence[str] = MODULES) -> bytes:
    """A root file system as a tar archive; ``python3`` in it can import these modules."""
    buffer = io.BytesIO(root_file_system())
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        for path in (PYTHON, *_shared_libraries(), *_library(modules)):
            archive.add(path.resolve() if path.suffix != ".pyc" else path, str(path).lstrip("/"), filter=_as_root)
        link = tarfile.TarInfo("usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, PYTHON.name
        archive.addfile(link)
    return buffer.getvalue()


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _shared_libraries() -> list[Path]:
    lines = subprocess.run(["ldd", PYTHON], check=True, capture_output=True, text=True).stdout.splitlines()
    words = [word for line in lines for word in line.split() if word.startswith("/")]
    return sorted({Path(word) for word in words})


def _library(modules: Sequence[str]) -> list[Path]:
    """The modules' files, with the compiled ones beside them."""
    done = subprocess.run([PYTHON, "-I", "-c", _LIST_FILES, *modules], check=True, capture_output=True, text=True)
    sources = {Path(name) for name in json.loads(done.stdout) if not Path(name).name.startswith(_WITH_LIBRARIES)}
    compiled = {path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc" for path in sources}
    return sorted(sources | {path for path in compiled if path.exists()})
