"""The containers of this host: their configuration, their state on disk, and the one service that drives them."""
