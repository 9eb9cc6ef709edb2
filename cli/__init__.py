"""The command line: ``covey``. It speaks the Engine API over the daemon's socket and imports of Covey only the shared kernel.

Modules of commands are imported when used; help of a group needs ``tree`` alone. What decides (flags to a spec, a manifest to a plan,
whether a service has converged) is pure and stands in ``cli.service`` and ``cli.stack``.
"""
