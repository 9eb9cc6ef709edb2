"""``covey compose watch``: changes of files on this machine bring services up to date. ``rules`` and ``plan`` are pure."""
