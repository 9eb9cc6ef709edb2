"""Secrets: files on tmpfs in the tasks that use them, only on their nodes; encrypted on managers' disks; removed with the task."""

import contextlib
import secrets
from pathlib import Path

import pytest

from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
LONGEST = 500 * 1024 - 1  # docker accepts fewer than 512000 bytes


def files_on_disk_with(host: LabHost, word: bytes) -> list[Path]:
    """Files in the host's folder (state and logs) that contain the word."""
    files = [path for path in host.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if word in path.read_bytes()]


def files_in_run_with(lab: LabCluster, host: LabHost, word: str) -> list[str]:
    """Files in the host's own /run that contain the word."""
    return lab.inside(host, "grep", "-rlF", "--devices=skip", word, "/run/covey", check=None).lines


def is_in_daemon_memory(host: LabHost, word: bytes) -> bool:
    """Whether the word is in the memory of the host's daemon process."""
    inner, space = machine.daemon_pid(host), Path(f"/proc/{machine.init_pid(host)}/ns/pid").readlink()

    def is_daemon(path: Path) -> bool:
        try:
            status = (path / "status").read_text()
            return (
                status.partition("NSpid:")[2].split("\n")[0].split()[-1:] == [str(inner)]
                and (path / "ns/pid").readlink() == space
            )
        except OSError:  # the process has ended
            return False

    process = next(path for path in Path("/proc").glob("[0-9]*") if is_daemon(path))
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in (process / "maps").read_text().splitlines():
            fields = line.split()
            begin, end = (int(part, 16) for part in fields[0].split("-"))
            if not fields[1].startswith("rw"):
                continue
            with contextlib.suppress(OSError, OverflowError):
                memory.seek(begin)
                if word in memory.read(end - begin):
                    return True
    return False


def test_a_secret_file_has_the_requested_name_mode_and_owner(lab: LabCluster) -> None:
    lab.docker("secret", "create", "word", "-", stdin=b"open sesame\n")
    wanted = "source=word,target=renamed,uid=65534,gid=100,mode=0400"
    lab.service("plain", "--secret", "word")
    lab.service("owned", "--secret", wanted)
    task = lab.running("plain", 1)[0]
    assert lab.execute(task, "cat", "/run/secrets/word").out == "open sesame\n"
    assert lab.execute(task, "stat", "-c", "%a %u %g", "/run/secrets/word").out == "444 0 0\n"
    owned = lab.running("owned", 1)[0]
    assert lab.execute(owned, "stat", "-c", "%a %u %g %s", "/run/secrets/renamed").out == "400 65534 100 12\n"
    assert lab.execute(owned, "ls", "/run/secrets").out == "renamed\n"
    mounts = [line.split() for line in lab.execute(owned, "cat", "/proc/mounts").lines]
    kinds = {fields[1]: (fields[2], fields[3].split(",")) for fields in mounts if "/run/secrets" in fields[1]}
    assert kinds
    for kind, options in kinds.values():
        assert kind == "tmpfs"
        assert "ro" in options
    assert "Read-only" in lab.execute(owned, "sh", "-c", "echo x > /run/secrets/renamed", check=1).err


def test_a_secret_is_only_on_nodes_that_use_it_and_on_no_disk(lab: LabCluster) -> None:
    word = f"top-{secrets.token_hex(16)}"
    lab.docker("secret", "create", "top", "-", stdin=word.encode())
    four, five = lab.workers
    lab.service("user", "--secret", "top", "--constraint", f"node.hostname=={four.name}")
    task = lab.running("user", 1)[0]
    assert lab.execute(task, "cat", "/run/secrets/top").out == word
    # Every other node gets a task after the secret was created, so a leaked secret would have come with it.
    lab.service("bystander", "--mode", "global", "--constraint", f"node.hostname!={four.name}")
    lab.running("bystander", 4)
    assert files_in_run_with(lab, four, word), "the search finds nothing at all"
    for host in lab.hosts:
        if host != four:
            assert files_in_run_with(lab, host, word) == [], host.name
        assert files_on_disk_with(host, word.encode()) == [], host.name
    kinds = lab.inside(four, "findmnt", "-n", "-o", "FSTYPE", "-T", files_in_run_with(lab, four, word)[0]).out
    assert kinds.strip() == "tmpfs"
    assert is_in_daemon_memory(four, word.encode()), "the search finds nothing at all"
    assert not is_in_daemon_memory(five, word.encode()), "a node without a task that uses the secret has it"
    # The API does not return it either.
    assert word not in str(lab.get("/secrets/top"))
    assert "Data" not in lab.get("/secrets/top")["Spec"]
    lab.docker("service", "rm", "user")
    labs.wait(lambda: not files_in_run_with(lab, four, word), "the secret removed with its task")


def test_a_secret_in_use_cannot_be_removed_and_its_service_is_named(lab: LabCluster) -> None:
    lab.docker("secret", "create", "used", "-", stdin=b"x")
    lab.service("holder", "--secret", "used")
    refused = lab.docker("secret", "rm", "used", check=1)
    assert "secret 'used' is in use by the following service: holder" in refused.err, refused.err
    assert lab.docker("secret", "ls", "-q", "--filter", "name=used").out.strip()
    lab.docker("service", "rm", "holder")
    lab.docker("secret", "rm", "used")
    refused = lab.docker("secret", "rm", "used", check=1)
    assert "used not found" in refused.err, refused.err


def test_secrets_have_a_maximum_size(lab: LabCluster) -> None:
    lab.docker("secret", "create", "largest", "-", stdin=b"x" * LONGEST)
    refused = lab.docker("secret", "create", "larger", "-", stdin=b"x" * (LONGEST + 1), check=1)
    assert "less than 512000 bytes" in refused.err, refused.err
    assert [secret["Spec"]["Name"] for secret in lab.get("/secrets")] == ["largest"]
    lab.service("reader", "--secret", "largest")
    assert lab.execute(lab.running("reader", 1)[0], "wc", "-c", "/run/secrets/largest").out.split()[0] == str(LONGEST)


def test_a_service_that_names_a_missing_secret_is_refused(lab: LabCluster) -> None:
    refused = lab.docker("service", "create", "-d", "--name", "nobody", "--secret", "missing", labs.IMAGE, check=1)
    assert "missing" in refused.err
    assert lab.get("/services") == []


def test_an_updated_service_gets_the_new_secret_and_loses_the_old_one(lab: LabCluster) -> None:
    for name in ("old", "new"):
        lab.docker("secret", "create", name, "-", stdin=name.encode())
    lab.service("web", "--secret", "old")
    first = lab.running("web", 1)[0]
    lab.docker("service", "update", "-d", "--secret-rm", "old", "--secret-add", "source=new,target=key", "web")

    def changed() -> list:
        return [task for task in lab.running("web", 1) if task["ID"] != first["ID"]]

    task = labs.wait(changed, "the new task")[0]
    assert lab.execute(task, "ls", "/run/secrets").out == "key\n"
    assert lab.execute(task, "cat", "/run/secrets/key").out == "new"
    lab.docker("secret", "rm", "old")
