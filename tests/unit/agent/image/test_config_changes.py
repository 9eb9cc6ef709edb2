"""Dockerfile instructions on an image's config."""

import pytest

from agent.image.config_changes import apply_changes
from agent.image.model import ImageConfig, ImageHealthcheck
from covey.errors import InvalidArgumentError


def test_each_instruction_sets_its_field() -> None:
    config = apply_changes(
        ImageConfig(env=("PATH=/bin", "A=0"), labels={"kept": "1"}),
        [
            'CMD ["sleep", "9"]',
            "ENTRYPOINT exec top",
            'ENV A=1 B="two words"',
            "env OLD form here",
            "EXPOSE 80 443/tcp 53/udp 8000-8001",
            "LABEL a=b c='d e'",
            "USER 1000:1000",
            "WORKDIR /srv",
            "WORKDIR app",
            'VOLUME ["/data"]',
            "VOLUME /more",
            "STOPSIGNAL SIGQUIT",
            "HEALTHCHECK --interval=5s --timeout=1m --retries=2 CMD wget -q -O - http://localhost",
        ],
    )
    assert config.cmd == ("sleep", "9")
    assert config.entrypoint == ("/bin/sh", "-c", "exec top")
    assert config.env == ("PATH=/bin", "A=1", "B=two words", "OLD=form here")
    assert config.exposed_ports == ("443/tcp", "53/udp", "80/tcp", "8000/tcp", "8001/tcp")
    assert config.labels == {"kept": "1", "a": "b", "c": "d e"}
    assert (config.user, config.working_dir, config.volumes, config.stop_signal) == (
        "1000:1000",
        "/srv/app",
        ("/data", "/more"),
        "SIGQUIT",
    )
    assert config.healthcheck == ImageHealthcheck(
        test=("CMD-SHELL", "wget -q -O - http://localhost"), interval=5_000_000_000, timeout=60_000_000_000, retries=2
    )


def test_a_healthcheck_can_be_an_array_or_none() -> None:
    assert apply_changes(ImageConfig(), ['HEALTHCHECK CMD ["true"]']).healthcheck == ImageHealthcheck(
        test=("CMD", "true")
    )
    assert apply_changes(ImageConfig(), ["HEALTHCHECK NONE"]).healthcheck == ImageHealthcheck(test=("NONE",))


@pytest.mark.parametrize(
    "change",
    [
        "RUN true",
        "CMD",
        "ENV A",
        "ENV A=1 B",
        "EXPOSE 0",
        "EXPOSE 80/icmp",
        "EXPOSE x",
        "HEALTHCHECK --often=1 CMD x",
        "HEALTHCHECK CMD",
        "HEALTHCHECK --interval=1 CMD x",
        'VOLUME ["a',
        "SHELL sh",
    ],
)
def test_an_invalid_change_is_refused_by_name(change: str) -> None:
    with pytest.raises(InvalidArgumentError, match=change.split()[0]):
        apply_changes(ImageConfig(), [change])
