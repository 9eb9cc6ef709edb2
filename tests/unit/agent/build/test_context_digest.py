"""The digest of a context follows its files, not their times."""

import io
import tarfile

import pytest

from agent.build.context_digest import ContextDigest

FILES = {"Dockerfile": b"FROM scratch\n", "a/main.txt": b"x" * 1300}


def context(files: dict[str, bytes], *, time: int = 1, mode: int = 0o644, kind: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), time, mode
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def digest(data: bytes, step: int = 1 << 16) -> str:
    reader = ContextDigest()
    for at in range(0, len(data), step):
        reader.update(data[at : at + step])
    return reader.hexdigest()


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_times_do_not_count(kind: int) -> None:
    assert digest(context(FILES, time=1, kind=kind)) == digest(context(FILES, time=1_700_000_000, kind=kind))


@pytest.mark.parametrize("step", [1, 100, 511, 512, 513, 4096])
def test_it_does_not_matter_how_the_tar_comes(step: int) -> None:
    assert digest(context(FILES), step) == digest(context(FILES))


def test_content_names_and_modes_count() -> None:
    changed = [
        context({**FILES, "a/main.txt": b"y" * 1300}),
        context({**FILES, "b": b""}),
        context({"Dockerfile": FILES["Dockerfile"], "b/main.txt": FILES["a/main.txt"]}),
        context(FILES, mode=0o755),
    ]
    assert len({digest(data) for data in [context(FILES), *changed]}) == 5


def test_what_is_no_plain_tar_is_digested_as_it_is() -> None:
    ends = [b"\x1f\x8b" + b"z" * 2000, b"\x1f\x8b" + b"z" * 1999 + b"y", b"short", b""]
    assert len({digest(data) for data in ends}) == 4
    hidden = context(FILES)[:-1] + b"!"
    assert digest(hidden) != digest(context(FILES))
