"""Table rows of API objects, with docker's field names and headers. Pure."""
