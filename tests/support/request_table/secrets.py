"""Requests about secrets and configs."""

from tests.support.request_table.row import Row, delete, filters, get, post

BIG = "YWFh" * 175_000


def _rows(kind: str) -> tuple[Row, ...]:
    """The same requests for both kinds, ``secrets`` and ``configs``."""
    name = f"{kind[:-1]}-a"
    return (
        get(f"/{kind}"),
        post(f"/{kind}/create", {"Name": name, "Labels": {"tier": "x"}, "Data": "c2Vzc2FtZQ=="}, save={"one": "ID"}),
        post(f"/{kind}/create", {"Name": name, "Data": "c2Vzc2FtZQ=="}, "duplicate name"),
        post(f"/{kind}/create", {"Name": f"{name}-2", "Data": "!!"}, "not base64"),
        post(f"/{kind}/create", {"Name": f"{name}-2", "Data": "YQ"}, "base64 without padding"),
        post(f"/{kind}/create", {"Name": f"{name}-2", "Data": ""}, "empty"),
        post(f"/{kind}/create", {"Name": f"{name}-2"}, "no data"),
        post(f"/{kind}/create", {"Name": "", "Data": "YQ=="}, "no name"),
        post(f"/{kind}/create", {"Name": "-a", "Data": "YQ=="}, "bad name"),
        post(f"/{kind}/create", {"Name": "a b", "Data": "YQ=="}, "bad name"),
        post(f"/{kind}/create", {"Name": "a" * 100, "Data": "YQ=="}, "long name"),
        post(
            f"/{kind}/create",
            {"Name": f"{name}-3", "Data": BIG},
            "too large" if kind == "secrets" else "large",
            message="data must be larger than 0 and less than 512000 bytes$",
        ),
        get(f"/{kind}", "filled", query=filters(name=[name])),
        get(f"/{kind}", "label", query=filters(label=["tier=x"])),
        get(f"/{kind}", "names", query=filters(names=[name])),
        get(f"/{kind}", "unknown filter", query=filters(wrong=["a"])),
        get(f"/{kind}/{name}", save={"version": "Version.Index"}),
        get(f"/{kind}/{{one}}", "by ID"),
        get(f"/{kind}/none"),
        post(
            f"/{kind}/{{one}}/update", {"Name": name, "Labels": {"tier": "y"}}, "labels", query={"version": "{version}"}
        ),
        get(f"/{kind}/{{one}}", "new labels", save={"version": "Version.Index"}),
        post(
            f"/{kind}/{{one}}/update",
            {"Name": name, "Labels": {}, "Data": "b3RoZXI="},
            "new data",
            query={"version": "{version}"},
        ),
        post(f"/{kind}/{{one}}/update", {"Name": "other", "Labels": {}}, "new name", query={"version": "{version}"}),
        post(
            f"/{kind}/{{one}}/update",
            {"Labels": {"tier": "z"}},
            "labels without the name",
            query={"version": "{version}"},
        ),
        post(f"/{kind}/{{one}}/update", {"Name": name}, "old version", query={"version": "1"}),
        post(f"/{kind}/{{one}}/update", {"Name": name}, "no version"),
        post(f"/{kind}/none/update", {"Name": name}, query={"version": "1"}),
        delete(f"/{kind}/none"),
        delete(f"/{kind}/{{one}}"),
        post(f"/{kind}/create", {"Name": f"{name}-4", "Data": "YQ==", "Templating": {"Name": "golang"}}, "template"),
        post(
            f"/{kind}/create",
            {"Name": f"{name}-5", "Data": "YQ==", "Templating": {"Name": "wrong"}},
            "unknown template",
        ),
        get(f"/{kind}/{{one}}", "removed"),
    )


ROWS = _rows("secrets") + _rows("configs")
