"""Who this node is: its key, its certificate and the root it trusts; how it joins a cluster by token, and how it renews.

Law: the root is checked by the token's digest before the token's secret is told to anybody.
"""

from agent.identity.identity import Identity, IdentityStore
from agent.identity.joining import join
from agent.identity.keeper import Keeper, Wish
from agent.identity.renewal import renew, renewal_time_ns

__all__ = ["Identity", "IdentityStore", "Keeper", "Wish", "join", "renew", "renewal_time_ns"]
