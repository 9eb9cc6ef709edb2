"""The benchmark of ``make bench``: real hosts in namespaces, measured through the Engine API that people use.

Law: it reports and does not judge. A missed target is a line in the table; only what could not be measured at all is a failure. The same
measurements run on Covey and on Docker Swarm, because both answer the same API.
"""
