"""The cluster's certificate authority: root CA, node certificates with id and role, join tokens, root rotation."""
