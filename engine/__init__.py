"""Docker Engine API over HTTP: routes, streams, and pure translation between Docker's JSON and Covey's objects.

Invariant: a part of the API that Covey lacks answers 501 with a sentence; no field of a request is ever ignored silently.
"""
