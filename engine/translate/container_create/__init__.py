"""Translation of the body of `POST /containers/create` to the configuration of a container, one module per subject. Pure."""
