"""Output formats: tables, JSON and Go templates. Pure."""
