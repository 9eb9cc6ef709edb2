"""The Docker Engine API over HTTP: routes, streams, and pure translation between its JSON and our objects.

Law: what the API promises and Covey lacks answers 501 with a sentence; no field of a request is ever dropped in silence.
"""
