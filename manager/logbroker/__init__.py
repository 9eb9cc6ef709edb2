"""Logs of services and tasks, from every node through any manager."""
