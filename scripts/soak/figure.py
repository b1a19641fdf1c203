"""A soak run as a picture: what the node held and how old its results were, from second to second."""

from pathlib import Path

from bench.figures import Json

WIDTH, PANEL, LEFT, GAP = 900, 110, 70, 34
LINES = [("memory_mib", "memory without DDS's [MiB]"), ("threads", "threads"), ("files", "open files")]


def panel(top: int, title: str, points: list[tuple[float, float]]) -> list[str]:
    """One curve from 0 to its greatest value."""
    known = [(x, y) for x, y in points if y == y]
    right = max((x for x, _ in known), default=1.0) or 1.0
    most = max((y for _, y in known), default=1.0) or 1.0
    curve = " ".join(
        f"{LEFT + (WIDTH - LEFT - 20) * x / right:.1f},{top + PANEL * (1 - y / most):.1f}" for x, y in known
    )
    return [
        f'<text x="{LEFT}" y="{top - 6}" font-weight="bold">{title}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - 20}" height="{PANEL}" fill="none" stroke="#ccc"/>',
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>',
        f'<text x="{LEFT - 6}" y="{top + PANEL}" text-anchor="end">0</text>',
        f'<text x="{WIDTH - 20}" y="{top + PANEL + 14}" text-anchor="end">{right:.0f} s</text>',
        f'<polyline points="{curve}" fill="none" stroke="#2a7fb8" stroke-width="1.5"/>',
    ]


def save_figure(samples: list[Json], statuses: list[Json], path: Path) -> None:
    """Writes an SVG with one panel for each quantity."""
    curves = [(title, [(one["seconds"], one[key]) for one in samples]) for key, title in LINES]
    start = statuses[0]["monotonic"] if statuses else 0.0
    curves.append(("p99 of age [ms]", [(one["monotonic"] - start, one["age_p99_ms"]) for one in statuses]))
    height = 20 + (PANEL + GAP) * len(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for index, (title, points) in enumerate(curves):
        parts += panel(24 + (PANEL + GAP) * index, title, points)
    path.write_text("\n".join([*parts, "</svg>", ""]))
