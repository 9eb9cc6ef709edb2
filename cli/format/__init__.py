"""What the command prints: tables, JSON and the Go-style templates that people's scripts use."""
