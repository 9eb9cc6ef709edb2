"""Options of services that Docker has no field for: labels of the service with the prefix `covey.`, validated like fields.

One module for each option parses and formats its labels; `labels` knows them all.
"""
