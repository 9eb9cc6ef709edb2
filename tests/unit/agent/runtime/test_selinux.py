"""SELinux labels: what options ask for, on hosts with and without it. The hosts are directories with the files that the kernel shows."""

from pathlib import Path

import pytest

from agent.runtime import selinux
from agent.runtime.selinux import SelinuxLabels, labels
from covey.errors import InvalidArgumentError, UnsupportedError

CONTEXTS = """
process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
file = "system_u:object_r:container_file_t:s0"
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for path, text in {
        "sys/fs/selinux/enforce": "1",
        "etc/selinux/config": "# comment\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
        "etc/selinux/targeted/contexts/lxc_contexts": CONTEXTS,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_options_replace_parts_of_the_policys_contexts(host: Path) -> None:
    found = labels(["type:svirt_apache_t", "level:s0:c1,c2", "filetype:usr_t"], "id", host)
    assert found == SelinuxLabels("system_u:system_r:svirt_apache_t:s0:c1,c2", "system_u:object_r:usr_t:s0:c1,c2")
    assert found.shared_mount == "system_u:object_r:usr_t:s0"
    other = labels(["user:u", "role:r"], "id", host)
    assert other.process.startswith("u:r:container_t:s0:c")
    assert other.mount.startswith("u:object_r:container_file_t:s0:c")


def test_containers_have_categories_of_their_own_that_stay(host: Path) -> None:
    levels = {labels(["type:t"], f"container-{number}", host).mount for number in range(200)}
    assert len(levels) > 195
    assert labels(["type:t"], "a", host) == labels(["type:t"], "a", host)
    low, high = labels(["type:t"], "a", host).mount.rpartition(":")[2].split(",")
    assert int(low[1:]) < int(high[1:]) < 1024


def test_nothing_or_disable_means_no_label(host: Path, tmp_path: Path) -> None:
    for root in (host, tmp_path / "none"):
        assert labels([], "id", root) == labels(["disable"], "id", root) == SelinuxLabels()
    assert labels(["type:x", "disable"], "id", host) == SelinuxLabels()


def test_a_host_without_selinux_refuses_labels_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedError, match="SecurityOpt label=type:x: the kernel of this host does not use SELinux"
    ):
        labels(["type:x"], "id", tmp_path)


def test_a_policy_without_containers_is_named(host: Path) -> None:
    (host / "etc/selinux/targeted/contexts/lxc_contexts").unlink()
    with pytest.raises(UnsupportedError, match="the SELinux policy targeted has no contexts for containers"):
        labels(["type:x"], "id", host)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("wrong", "bad label option 'wrong', valid options 'disable' or 'user, role, level, type, filetype'"),
        ("colour:red", "bad label option 'colour', valid options 'disable, user, role, level, type, filetype'"),
    ],
)
def test_an_option_that_is_none_is_refused_in_dockers_words(host: Path, option: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        labels([option], "id", host)
    assert words in caught.value.message


def test_system_directories_keep_their_labels() -> None:
    for path in ("/", "/etc/", "/usr"):
        with pytest.raises(InvalidArgumentError, match="SELinux relabeling of .* is not allowed"):
            selinux.check_relabel(path)
    selinux.check_relabel("/srv/data")
