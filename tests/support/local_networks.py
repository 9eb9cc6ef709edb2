"""Networks of a host without a kernel: their fragments are recorded, their store is real."""

from collections.abc import Mapping
from pathlib import Path

from agent.endpoint.local_endpoints import LocalEndpoints
from agent.local_network.networks import LocalNetworks
from agent.network.model import HostRoute
from agent.network.namespace_state import Fragment
from covey.errors import CoveyError
from covey.objects import Network
from tests.support.fake_host import FakeNetworks

ENGINE_ID = "engine"
PREFIX = "covey0"


class RecordedFragments:
    """Implements `agent.endpoint.fragments.Fragments`. `refusals` are errors by the beginning of a key."""

    def __init__(self) -> None:
        self.wanted: dict[str, Fragment] = {}
        self.refusals: dict[str, CoveyError] = {}

    async def put(self, key: str, fragment: Fragment) -> None:
        self.wanted[key] = fragment
        for beginning, error in self.refusals.items():
            if key.startswith(beginning):
                raise error

    async def drop(self, key: str) -> None:
        self.wanted.pop(key, None)

    async def put_many(self, fragments: Mapping[str, Fragment | None]) -> Mapping[str, CoveyError]:
        for key, fragment in fragments.items():
            if fragment is None:
                self.wanted.pop(key, None)
            else:
                self.wanted[key] = fragment
        return {}


class RecordedNetworks(FakeNetworks):
    """A network driver with routes of the host."""

    def __init__(self, *routes: HostRoute) -> None:
        super().__init__()
        self.routes = routes

    async def host_routes(self) -> tuple[HostRoute, ...]:
        return self.routes


async def open_local(
    folder: Path, driver: FakeNetworks, fragments: RecordedFragments, networks: LocalNetworks | None = None
) -> LocalEndpoints:
    """The networks of a host whose store is below the folder."""
    registry = networks or LocalNetworks(folder / "networks.db", engine_id=ENGINE_ID, bridge=PREFIX)
    local = LocalEndpoints(registry, driver, fragments, PREFIX)
    await local.open()
    return local


class HostNetworks:
    """Implements `engine.interfaces.LocalNetworks` for a host without containers on networks of a cluster."""

    networks: tuple[Network, ...] = ()

    def __init__(self, local: LocalEndpoints) -> None:
        self.local = local
