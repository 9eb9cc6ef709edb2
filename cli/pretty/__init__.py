"""Human-readable text of whole objects: ``inspect --pretty`` and ``covey info``. Pure."""
