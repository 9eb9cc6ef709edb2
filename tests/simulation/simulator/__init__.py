"""The seeded simulator: managers, disks and networks with faults, and the invariants that are checked after every event."""
