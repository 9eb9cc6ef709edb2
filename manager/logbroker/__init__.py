"""The log broker: logs of services and tasks, from every node through any manager."""
