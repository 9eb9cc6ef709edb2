"""The command line client ``covey``: commands, output formats, Compose stacks. It talks to the daemon over the Engine API.

Invariant: of Covey's other packages it imports only the kernel ``covey``. Command modules are imported when their command runs.
Decisions (flags to a spec, a Compose file to a plan, convergence of a service) are pure and stand in ``cli.parse``, ``cli.service`` and
``cli.stack``.
"""
