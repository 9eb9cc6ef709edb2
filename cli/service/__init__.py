"""What the commands of services decide: flags to a spec, a change of a spec, whether it has converged. Pure, but for ``env``, ``wait``
and ``logs``.
"""
