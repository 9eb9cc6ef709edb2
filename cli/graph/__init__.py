"""Drawings of networks: who is where on a network, as Mermaid and as SVG. Pure."""
