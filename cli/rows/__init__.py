"""Objects of the API as rows of tables: the names, headers and words are Docker's. Pure."""
