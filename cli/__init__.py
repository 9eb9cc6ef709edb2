"""``covey``, the command. It speaks the Engine API over the daemon's socket and nothing else; it imports late, so help is quick."""
