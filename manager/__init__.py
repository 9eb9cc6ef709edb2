"""The manager of a Covey cluster: store, consensus, control API, orchestration, scheduling and dispatch, in a process of its own.

The daemon starts it (``manager.main``) and knows only ``manager.interface``.
"""
