"""Pure translation between Docker's JSON and our objects, both ways. Nothing here reads a clock, a disk or a socket."""
