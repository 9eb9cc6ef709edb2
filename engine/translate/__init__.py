"""Pure translation between Docker's JSON and the cluster's objects. Nothing here reads a clock, a disk or a socket."""
