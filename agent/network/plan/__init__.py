"""Pure planning of namespace states: fragments, their union, and differences. Nothing here touches the kernel."""
