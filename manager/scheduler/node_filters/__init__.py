"""The scheduling filters, each with its own sentence and its own suggestions. ``manager.scheduler.filters`` has their order."""
