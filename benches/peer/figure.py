"""The comparison as a picture: one row of bars for each scenario, one column for each measure."""

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from bench.figures import Json

LEFT, CELL, ROW, BAR = 330, 130, 58, 16
COLOURS = ("#2a7fb8", "#d08770")


def save_figure(results: Json, columns: Mapping[str, str], path: Path) -> None:
    """Writes an SVG: bars are scaled within each cell, numbers beside them; shorter is better but for `per second`."""
    rows = results["scenarios"]
    width, height = LEFT + CELL * len(columns) + 20, 60 + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, who in enumerate(rows[0]["median"]):
        parts.append(f'<rect x="{20 + 150 * index}" y="12" width="12" height="12" fill="{COLOURS[index]}"/>')
        parts.append(f'<text x="{38 + 150 * index}" y="23">{escape(who)}</text>')
    for column, title in enumerate(columns.values()):
        parts.append(f'<text x="{LEFT + CELL * column}" y="46" font-weight="bold">{escape(title)}</text>')
    for line, row in enumerate(rows):
        top = 56 + ROW * line
        parts.append(f'<text x="20" y="{top + 22}">{escape(row["scenario"])}</text>')
        for column, key in enumerate(columns):
            values = [figures[key] for figures in row["median"].values()]
            for index, value in enumerate(values):
                length = (CELL - 60) * max(value, 0.0) / max(*values, 1e-9)
                left, y = LEFT + CELL * column, top + 4 + (BAR + 3) * index
                parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[index]}"/>')
                parts.append(f'<text x="{left + length + 4:.1f}" y="{y + 12}">{value:.1f}</text>')
    path.write_text("\n".join([*parts, "</svg>", ""]))
