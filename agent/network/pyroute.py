"""`IPRoute` and `NetlinkError` of pyroute2, imported without the rest of that package.

pyroute2's own `__init__` imports its databases, protocols and servers: 100 modules and 6 MB of a daemon that uses two names.
Here the package is registered without running its `__init__`, so only the needed modules are imported. Whoever asks the
package for another name gets all of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any


def _register_package() -> None:
    spec = None if "pyroute2" in sys.modules else importlib.util.find_spec("pyroute2")
    if spec is None or spec.loader is None:
        return
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def load(name: str) -> Any:
        if importlib.util.find_spec(f"pyroute2.{name}") is not None:
            return importlib.import_module(f"pyroute2.{name}")
        if "__getattr__" in vars(package):
            del package.__getattr__
            loader.exec_module(package)
        return getattr(package, name)

    package.__getattr__ = load  # type: ignore[method-assign]  # PEP 562, on a module made here
    sys.modules["pyroute2"] = package


_register_package()

from pyroute2.iproute import IPRoute  # noqa: E402 - the package must be registered first
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402 - see above

__all__ = ["IPRoute", "NetlinkError"]
