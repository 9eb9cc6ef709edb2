"""The request table: requests of the Engine API as data, replayed against Docker's engine and Covey, whose answers are compared.

Each concept has a file of rows, in the order in which they are sent. ``row`` defines a row, ``replay`` sends rows, ``comparison`` compares
two answers, ``deviations`` holds the reasons of the known differences, and ``page`` writes them for ``docs/compatibility.md``.
"""
