from pathlib import Path

from engine.host_info import read_host


def test_security_options_name_what_the_kernel_uses(tmp_path: Path) -> None:
    assert read_host(tmp_path).security_options == ("name=seccomp,profile=builtin",)
    for path, text in (("sys/fs/selinux/enforce", "1"), ("sys/module/apparmor/parameters/enabled", "Y\n")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert read_host(tmp_path).security_options == ("name=seccomp,profile=builtin", "name=apparmor", "name=selinux")
