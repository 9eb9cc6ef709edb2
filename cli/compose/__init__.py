"""``covey compose``: plans what a project needs on one host, and does it over the Engine API. The plan and the bodies are pure."""
