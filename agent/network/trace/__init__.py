"""Traces of packets: the path from one place to another over the states that were read from the kernels on the way. Pure."""
