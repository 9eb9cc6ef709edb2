"""docker build on a host without a cluster: stages, cache, instructions, bad contexts, and clients that leave."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster, unique, wait

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("bld", 1, init_cluster=False, archive=images) as running:
        yield running


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def build(lab: LabCluster, folder: Path, *options: str, check: int | None = 0) -> CommandResult:
    return lab.docker("build", "--network", "none", *options, str(folder), check=check)


def run(lab: LabCluster, image: str, *command: str) -> str:
    return lab.docker("run", "--rm", "--network", "none", image, *command).out


def inspect(lab: LabCluster, image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.docker("inspect", image).out)[0]
    return found


COMPILER = f"""ARG BASE={IMAGE}
FROM ${{BASE}} AS compiler
ARG GREETING=hello
WORKDIR /src
COPY main.src .
RUN (echo '#!/bin/sh'; sed "s/GREETING/$GREETING/" main.src) > /app && chmod 755 /app
FROM {IMAGE}
COPY --from=compiler /app /usr/bin/app
ENTRYPOINT ["/usr/bin/app"]
"""


def test_a_compiled_program_is_copied_into_a_small_image(lab: LabCluster, tmp_path: Path) -> None:
    folder = write(tmp_path, {"Dockerfile": COMPILER, "main.src": "echo GREETING\n"})
    name = unique("app")
    built = build(
        lab, folder, "-t", name, "-t", f"{name}:two", "--build-arg", "GREETING=welcome", "--build-arg", "unused=1"
    )
    assert "Step 1/9 : " not in built.out
    assert "Step 1/8 : FROM ${BASE} AS compiler" in built.out
    assert "[Warning] One or more build-args [unused] were not consumed" in built.out
    image = inspect(lab, name)
    assert f"Successfully built {image['Id'].removeprefix('sha256:')[:12]}" in built.out
    assert f"Successfully tagged {name}:latest\nSuccessfully tagged {name}:two\n" in built.out
    assert run(lab, f"{name}:two") == "welcome\n"
    again = build(lab, folder, "-t", name, "--build-arg", "GREETING=welcome")
    assert again.out.count(" ---> Using cache") == 6
    assert inspect(lab, name)["Id"] == image["Id"]
    assert "Using cache" not in build(lab, folder, "--no-cache").out


def test_another_argument_changes_what_uses_it_in_spite_of_the_cache(lab: LabCluster, tmp_path: Path) -> None:
    source = f"ARG G=1\nFROM {IMAGE}\nARG G\nARG VERSION=1\nENV V=$VERSION G=$G\nLABEL v=$VERSION\n"
    folder = write(tmp_path, {"Dockerfile": source})
    name = unique("arguments")
    for version in ("1", "2", 'a "quoted $one"', "1"):
        build(lab, folder, "-t", name, "--build-arg", f"VERSION={version}", "--build-arg", f"G={version}")
        config = inspect(lab, name)["Config"]
        assert {f"V={version}", f"G={version}"} <= set(config["Env"])
        assert config["Labels"]["v"] == version


REPEATED = """FROM {base} AS unused
RUN true
FROM {base} AS one
ARG WORD
COPY main.txt /main.txt
RUN cat /main.txt && cp /main.txt /copied
FROM one
COPY --from=one /copied /again
"""


def without_layers(text: str) -> str:
    """A build's log without the ids of layers."""
    return re.sub(r" ---> [0-9a-f]{11,12}\n", "", text)


def test_a_repeated_build_gives_the_same_image_and_the_log_of_a_cached_one(lab: LabCluster, tmp_path: Path) -> None:
    base, name = unique("base"), unique("repeated")
    lab.docker("tag", IMAGE, base)
    folder = write(tmp_path, {"Dockerfile": REPEATED.format(base=base), "main.txt": "first\n"})
    build(lab, folder, "-t", name, "--build-arg", "WORD=a", "--build-arg", "unused=1")
    first = inspect(lab, name)["Id"]
    records = lab.hosts[0].state_dir / "build" / "records"

    def again() -> str:
        return build(lab, folder, "-t", name, "--build-arg", "WORD=a", "--build-arg", "unused=1").out

    os.utime(folder / "main.txt", (1, 1))  # as a fresh checkout of the same files
    began = set(records.iterdir())
    from_record = again()
    assert set(records.iterdir()) == began  # the record was found, else there would be another
    for record in records.iterdir():
        record.unlink()
    assert without_layers(from_record) == without_layers(again())  # buildah's own cache answers, in the same words
    assert from_record.count("Using cache") == 4
    assert "Step 5/6 : FROM one\n" in from_record
    assert inspect(lab, name)["Id"] == first

    (folder / "main.txt").write_text("second\n")
    assert "second" in again()
    assert inspect(lab, name)["Id"] != first
    (folder / "main.txt").write_text("first\n")
    lab.docker("rmi", "-f", first)
    again()
    assert inspect(lab, name)["Id"] == first


def test_a_repeated_build_notices_another_base_image(lab: LabCluster, tmp_path: Path) -> None:
    base, name = unique("base"), unique("moved")
    lab.docker("tag", IMAGE, base)
    folder = write(tmp_path, {"Dockerfile": f"FROM {base}\nRUN cat /word 2>/dev/null || echo none\n"})
    assert "none\n" in build(lab, folder, "-t", name).out
    other = write(tmp_path / "other", {"Dockerfile": f"FROM {IMAGE}\nRUN echo moved > /word\n"})
    build(lab, other, "-t", base)
    assert "moved\n" in build(lab, folder, "-t", name).out


def test_a_site_is_copied_into_a_web_server_and_served(lab: LabCluster, tmp_path: Path) -> None:
    source = f"""FROM {IMAGE} AS site
WORKDIR /site
COPY . .
RUN mkdir /public && cat head.html body.html > /public/index.html
FROM {IMAGE}
COPY --from=site /public /www
EXPOSE 80
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
"""
    folder = write(
        tmp_path,
        {"Dockerfile": source, "head.html": "<h1>", "body.html": "built\n", "no.txt": "x", ".dockerignore": "*.txt\n"},
    )
    name = unique("site")
    build(lab, folder, "-t", name)
    lab.docker("run", "-d", "--name", name, name)
    try:
        fetched = lambda: lab.docker("exec", name, "wget", "-q", "-O", "-", "http://127.0.0.1/", check=None).out  # noqa: E731
        assert wait(fetched, "the site is served") == "<h1>built\n"
    finally:
        lab.docker("rm", "-f", name)


def test_every_instruction_is_kept(lab: LabCluster, tmp_path: Path) -> None:
    source = f"""FROM {IMAGE}
MAINTAINER someone
LABEL one=1 two="2 3"
ENV A=1 B="2 3"
ADD f.tar /unpacked/
EXPOSE 80 53/udp
VOLUME /data
USER nobody
WORKDIR /work
SHELL ["/bin/sh", "-ec"]
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=2 CMD true
ONBUILD RUN echo triggered
ENTRYPOINT ["cat"]
CMD ["/unpacked/inside"]
"""
    with tarfile.open(tmp_path / "f.tar", "w") as archive:
        entry = tarfile.TarInfo("inside")
        entry.size, entry.mode = 7, 0o644
        archive.addfile(entry, io.BytesIO(b"inside\n"))
    folder = write(tmp_path, {"Dockerfile": source})
    name = unique("all")
    build(lab, folder, "-t", name, "--label", "three=4")
    image = inspect(lab, name)
    config = image["Config"]
    assert image["Author"] == "someone"
    assert {key: config["Labels"][key] for key in ("one", "two", "three")} == {"one": "1", "two": "2 3", "three": "4"}
    assert {"A=1", "B=2 3"} <= set(config["Env"])
    assert (set(config["ExposedPorts"]), set(config["Volumes"])) == ({"80/tcp", "53/udp"}, {"/data"})
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("nobody", "/work", "SIGINT")
    assert (config["Shell"], config["OnBuild"]) == (["/bin/sh", "-ec"], ["RUN echo triggered"])
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Retries": 2}
    assert run(lab, name) == "inside\n"
    child = write(tmp_path / "child", {"Dockerfile": f"FROM {name}\n"})
    assert "triggered" in build(lab, child, "--no-cache").out


def test_here_documents_run_and_become_files(lab: LabCluster, tmp_path: Path) -> None:
    source = f"""FROM {IMAGE}
ARG WHO=world
RUN <<EOF
mkdir /made
echo "hello $WHO" > /made/run
EOF
RUN <<SCRIPT
#!/bin/sh -e
echo script > /made/script
SCRIPT
COPY --chmod=600 <<one <<'two' /made/
$WHO
one
$WHO
two
CMD cd /made && cat run script one two && stat -c %a one
"""
    name = unique("heredoc")
    build(lab, write(tmp_path, {"Dockerfile": source}), "-t", name)
    assert run(lab, name) == "hello world\nscript\nworld\n$WHO\n600\n"


def test_a_failing_command_ends_the_build_with_its_code(lab: LabCluster, tmp_path: Path) -> None:
    failed = build(lab, write(tmp_path, {"Dockerfile": f"FROM {IMAGE}\nRUN echo said; exit 3\n"}), check=3)
    assert "said" in failed.out
    assert "The command '/bin/sh -c echo said; exit 3' returned a non-zero code: 3" in failed.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "nope"), "failed to reach build target nope in Dockerfile"),
        (("--squash",), ""),
        (("--platform", "linux/s390x"), "a build for the platform linux/s390x is not supported"),
        (("-t", "UPPER"), "must be lowercase"),
        (("--add-host", "x"), "add-host"),
    ],
)
def test_options_without_a_meaning_are_refused(
    lab: LabCluster, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    folder = write(tmp_path, {"Dockerfile": f"FROM {IMAGE}\n"})
    refused = build(lab, folder, *options, check=None)
    assert refused.code
    assert message in refused.err


def test_limits_hosts_and_networks_reach_the_commands(lab: LabCluster, tmp_path: Path) -> None:
    source = f"FROM {IMAGE}\nRUN ulimit -n; df /dev/shm | tail -1; cat /etc/hosts; ip -o -4 addr show dev eth0\n"
    shown = lab.docker(
        "build", "--no-cache", "--ulimit", "nofile=100:200", "--shm-size", "1m", "--add-host", "one:1.2.3.4",
        str(write(tmp_path, {"Dockerfile": source})),
    ).out  # fmt: skip
    assert "\n100\n" in shown
    assert " 1024 " in shown
    assert "1.2.3.4\tone" in shown
    assert "inet 172.17." in shown


def connection(lab: LabCluster) -> http.client.HTTPConnection:
    found = http.client.HTTPConnection("localhost", timeout=30)
    found.sock = socket.socket(socket.AF_UNIX)
    found.sock.settimeout(30)
    found.sock.connect(str(lab.hosts[0].socket))
    return found


def post(lab: LabCluster, body: bytes, **query: str) -> tuple[int, str]:
    with contextlib.closing(connection(lab)) as opened:
        opened.request("POST", f"/build?{urllib.parse.urlencode(query)}", body, {"Content-Type": "application/x-tar"})
        answer = opened.getresponse()
        return answer.status, answer.read().decode()


def archive_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry, data in entries:
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


def negative(archive: bytes) -> bytes:
    """The archive with a first entry of a negative size."""
    block = bytearray(archive[:512])
    block[124:136] = b"\xff" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + archive[512:]


DOCKERFILE = (entry("Dockerfile"), f"FROM {IMAGE}\nCOPY stolen /\nRUN cat /stolen\n".encode())
HOSTILE = {
    "climbs out": (archive_of((entry("../evil"), b"x"), DOCKERFILE), "outside of"),
    "hard link to the host": (archive_of((entry("stolen", tarfile.LNKTYPE, "../../../../etc/hostname"), b""), DOCKERFILE), "invalid hardlink"),
    "symlink to the host": (archive_of((entry("stolen", tarfile.SYMTYPE, "/etc/shadow"), b""), DOCKERFILE), "stolen"),
    "Dockerfile is a symlink": (archive_of((entry("Dockerfile", tarfile.SYMTYPE, "/etc/shadow"), b"")), "Cannot locate specified Dockerfile"),
    "directory is a symlink": (archive_of((entry("d", tarfile.SYMTYPE, "/tmp"), b""), (entry("d/evil"), b"x"), DOCKERFILE), ""),
    "Dockerfile is a device": (archive_of((entry("Dockerfile", tarfile.CHRTYPE), b"")), "is not a regular file"),
    "Dockerfile is a pipe": (archive_of((entry("Dockerfile", tarfile.FIFOTYPE), b"")), "is not a regular file"),
    "sparse": (archive_of((entry("stolen", tarfile.GNUTYPE_SPARSE), b""), DOCKERFILE), "is a sparse file"),
    "negative size": (negative(archive_of(DOCKERFILE)), "invalid tar header"),
    "deep": (archive_of((entry("d/" * 1900 + "x"), b""), DOCKERFILE), "below more than 256 directories"),
    "broken off": (archive_of(DOCKERFILE)[:700], "unexpected EOF"),
    "no tar": (b"hello" * 500, "tar"),
    "empty": (b"", "invalid tar header"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_contexts_are_refused_and_change_nothing(lab: LabCluster, case: str) -> None:
    body, message = HOSTILE[case]
    status, text = post(lab, body, networkmode="none")
    assert status == 400 or '"error"' in text, text
    assert message in text
    assert "root:" not in text
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"squash": "1"}, 501, "squash"),
        ({"version": "2"}, 501, "BuildKit"),
        ({"remote": "https://example.org/x.git"}, 501, "remote"),
        ({"buildargs": "["}, 400, "error reading buildargs"),
        ({"memory": "x"}, 400, "invalid memory"),
        ({"dockerfile": "../x"}, 400, "Forbidden path outside the build context: ../x"),
        ({"isolation": "hyperv"}, 400, "unsupported isolation"),
        ({"networkmode": "nope"}, 404, "network nope not found"),
    ],
)
def test_bad_parameters_are_named(lab: LabCluster, query: dict[str, str], status: int, message: str) -> None:
    answered, text = post(lab, archive_of((entry("Dockerfile"), f"FROM {IMAGE}\nRUN true\n".encode())), **query)
    assert (answered, message in text) == (status, True), text


MOUNTS = f"""FROM {IMAGE} AS tools
RUN mkdir /t && echo tool > /t/tool
FROM {IMAGE}
RUN --mount=type=cache,target=/cache echo again >> /cache/runs && cp /cache/runs /runs
RUN --mount=type=bind,from=tools,source=/t,target=/mnt cat /mnt/tool > /tool
RUN --mount=type=tmpfs,target=/scratch touch /scratch/x && grep -q ' /scratch tmpfs' /proc/mounts
RUN --mount=type=secret,id=token cp /run/secrets/token /copied
"""


def covey(lab: LabCluster, *arguments: str, stdin: bytes = b"", check: int | None = 0, **more: str) -> CommandResult:
    line = [labs.PYTHON_BIN / "covey", *arguments]
    return labs.run(line, check=check, stdin=stdin, env={**lab.environment(), **more})


def test_covey_builds_with_mounts_and_secrets(lab: LabCluster, tmp_path: Path) -> None:
    name = unique("mounts")
    folder = write(tmp_path, {"Dockerfile": MOUNTS, "token": "s3cret"})
    line = ("build", "--network", "none", "-t", name, "--secret", f"id=token,src={tmp_path / 'token'}", str(folder))
    covey(lab, *line, "--iidfile", str(tmp_path / "id"))
    assert (tmp_path / "id").read_text() == inspect(lab, name)["Id"]
    assert run(lab, name, "cat", "/runs", "/tool", "/copied") == "again\ntool\ns3cret"
    covey(lab, *line, "--no-cache")
    assert run(lab, name, "cat", "/runs") == "again\nagain\n"


def test_covey_packs_what_the_ignore_file_leaves(lab: LabCluster, tmp_path: Path) -> None:
    files = {
        ".dockerignore": "**/*.log\nout\n!out/kept\n",
        "a.log": "",
        "d/b.log": "",
        "d/c": "",
        "out/x": "",
        "out/kept": "",
    }
    folder = write(tmp_path, files)
    dockerfile = f"FROM {IMAGE}\nARG WHO\nCOPY . /c\nRUN cd /c && find . -type f | sort; echo by $WHO\n".encode()
    built = covey(
        lab, "build", "--network", "none", "-f", "-", "--build-arg", "WHO", str(folder), stdin=dockerfile, WHO="me"
    )
    assert "./.dockerignore\n./d/c\n./out/kept\nby me\n" in built.out


def test_covey_builds_from_stdin(lab: LabCluster, tmp_path: Path) -> None:
    built = covey(lab, "build", "-q", "-", stdin=f"FROM {IMAGE}\nLABEL a=stdin\n".encode())
    assert inspect(lab, built.out.strip())["Config"]["Labels"]["a"] == "stdin"
    archive = archive_of((entry("sub/Other"), f"FROM {IMAGE}\nLABEL a=tar\n".encode()))
    built = covey(lab, "build", "-q", "-f", "sub/Other", "-", stdin=archive)
    assert inspect(lab, built.out.strip())["Config"]["Labels"]["a"] == "tar"
    missing = tmp_path / "missing"
    refused = covey(lab, "build", str(missing), check=None)
    assert (refused.code, f"path '{missing}' not found" in refused.err) == (1, True)


def processes(mark: str) -> bool:
    return subprocess.run(["pgrep", "-f", mark], check=False, capture_output=True).returncode == 0


def test_a_client_that_leaves_ends_its_build(lab: LabCluster, tmp_path: Path) -> None:
    mark = f"{os.getpid()}{8:05}"
    body = archive_of((entry("Dockerfile"), f"FROM {IMAGE}\nRUN sleep {mark}\n".encode()))
    opened = connection(lab)
    opened.request("POST", "/build?networkmode=none", body)
    wait(lambda: processes(f"^sleep {mark}"), "the command runs")
    opened.close()
    wait(lambda: not processes(f"^sleep {mark}"), "the command has ended")
    folder = Path(lab.hosts[0].state_dir) / "build" / "tmp"
    wait(lambda: not list(folder.iterdir()), "the build's files are gone")
    build(lab, write(tmp_path, {"Dockerfile": f"FROM {IMAGE}\nRUN true\n"}))


def test_the_cache_is_shown_and_pruned(lab: LabCluster, tmp_path: Path) -> None:
    folder = write(tmp_path, {"Dockerfile": f"FROM {IMAGE}\nRUN echo cached > /f\n"})
    build(lab, folder, "-t", "cached")
    assert lab.get("/system/df?type=build-cache")["BuildCache"]
    assert "Total reclaimed space: " in lab.docker("builder", "prune", "-f").out
    assert lab.get("/system/df?type=build-cache")["BuildCache"] == []
    assert "Using cache" not in build(lab, folder, "-t", "cached").out
