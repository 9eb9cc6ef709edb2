"""A network as an SVG picture: the network above, services at the left, hosts as boxes of endpoints at the right. Pure."""

from __future__ import annotations

from html import escape

from cli.graph.model import GraphHost, NetworkGraph

_WIDTH, _GAP, _LINE, _PAD = 300, 24, 18, 10
_LEFT, _RIGHT = 20, 420
_TEXT_LENGTH = 36


class _Canvas:
    """Shapes so far, and the height that they need."""

    def __init__(self) -> None:
        self.shapes: list[str] = []
        self.height = 0

    def box(self, x: int, y: int, width: int, lines: tuple[str, ...], fill: str, *, height: int = 0) -> int:
        """A box with lines of text. Returns its lower edge."""
        tall = height or len(lines) * _LINE + 2 * _PAD
        self.shapes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{tall}" rx="6" fill="{fill}" stroke="#555"/>'
        )
        for number, line in enumerate(lines):
            weight = ' font-weight="bold"' if number == 0 else ""
            self.shapes.append(
                f'<text x="{x + _PAD}" y="{y + _PAD + _LINE * number + 13}"{weight}>{escape(_cut(line))}</text>'
            )
        self.height = max(self.height, y + tall)
        return y + tall

    def line(self, x1: int, y1: int, x2: int, y2: int) -> None:
        self.shapes.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#555"/>')


def svg(graph: NetworkGraph) -> str:
    """The picture as a document of its own."""
    canvas = _Canvas()
    bottom = canvas.box(_LEFT, 20, _RIGHT + _WIDTH - _LEFT, (graph.name, graph.driver, *graph.subnets), "#dbe9f6")
    middles = _draw_services(canvas, graph, bottom + _GAP)
    top = bottom + _GAP
    for host in graph.hosts:
        top = _draw_host(canvas, host, top, middles) + _GAP
    width, height = _RIGHT + _WIDTH + 20, canvas.height + 20
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *canvas.shapes, "</svg>"]) + "\n"


def _draw_services(canvas: _Canvas, graph: NetworkGraph, top: int) -> dict[str, int]:
    """Returns the middle of each service's right edge."""
    middles = {}
    for service in graph.services:
        bottom = canvas.box(_LEFT, top, _WIDTH, _words(service.name, service.address, *service.ports), "#e6f4e0")
        middles[service.name] = (top + bottom) // 2
        top = bottom + _GAP
    return middles


def _draw_host(canvas: _Canvas, host: GraphHost, top: int, middles: dict[str, int]) -> int:
    """Draws a host with its endpoints, and lines from their services. Returns its lower edge."""
    title = _words(host.name, host.address)
    heights = [(1 + len(endpoint.addresses)) * _LINE + 2 * _PAD for endpoint in host.endpoints]
    inner = top + len(title) * _LINE + 2 * _PAD
    tall = inner - top + sum(height + _PAD for height in heights)
    canvas.box(_RIGHT, top, _WIDTH, title, "#f4f4f4", height=tall)
    for endpoint, height in zip(host.endpoints, heights, strict=True):
        canvas.box(_RIGHT + _PAD, inner, _WIDTH - 2 * _PAD, (endpoint.name, *endpoint.addresses), "#fff4d6")
        if endpoint.service in middles:
            canvas.line(_LEFT + _WIDTH, middles[endpoint.service], _RIGHT + _PAD, inner + height // 2)
        inner += height + _PAD
    return top + tall


def _words(*words: str) -> tuple[str, ...]:
    return tuple(word for word in words if word)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"
