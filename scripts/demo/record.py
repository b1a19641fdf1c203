"""What the planner keeps: regions as JSON that people can read, overlays as PNG and as one sheet."""

import json
from pathlib import Path
from typing import Any

from PIL import Image as Picture

from looptrans_ros.msg import GraspRegion, GraspRegionArray

OVERLAYS = 10
SHEET_COLUMNS = 5
THUMBNAIL_WIDTH = 320
GAP = 6
FLAGS = ("DEPTH_SPARSE", "DEPTH_EDGE", "TOO_WIDE", "TOO_NARROW", "TOUCHES_BORDER", "NORMAL_UNSTABLE", "LOW_CONTRAST")


def region_record(region: GraspRegion) -> dict[str, Any]:
    """The image part of a region; units as in GraspRegion.msg."""
    return {
        "affordance": region.affordance,
        "score": round(region.score, 4),
        "score_peak": round(region.score_peak, 4),
        "point": _rounded(region.point_x, region.point_y),
        "closing_angle_rad": round(region.closing_angle, 4),
        "rectangle": {
            "center": _rounded(region.center_x, region.center_y),
            "size": _rounded(region.size_x, region.size_y),
            "theta_rad": round(region.theta, 4),
        },
        "flags": [name for name in FLAGS if region.flags & getattr(GraspRegion, name)],
        "contour": [_rounded(corner.x, corner.y) for corner in region.contour],
    }


def array_record(message: GraspRegionArray) -> dict[str, Any]:
    """One frame's regions."""
    stamp, age = message.header.stamp, message.age
    return {
        "stamp": f"{stamp.sec}.{stamp.nanosec:09d}",
        "frame_id": message.header.frame_id,
        "model_id": message.model_id,
        "source": {"width": message.source_width, "height": message.source_height},
        "age_ms": round((age.sec + age.nanosec * 1e-9) * 1e3, 2),
        "frames_dropped": message.frames_dropped,
        "regions": [region_record(region) for region in message.regions],
    }


def _rounded(x: float, y: float) -> list[float]:
    return [round(x, 1), round(y, 1)]


def write_regions(path: Path, records: list[dict[str, Any]], affordances: list[str]) -> None:
    """All frames, one line per frame and one per region."""
    frames = []
    for record in records:
        head = json.dumps({key: value for key, value in record.items() if key != "regions"})
        lines = ",".join(f"\n      {json.dumps(region)}" for region in record["regions"])
        frames.append(f'    {head[:-1]}, "regions": [{lines}]}}')
    body = ",\n".join(frames)
    path.write_text(f'{{\n  "affordances": {json.dumps(affordances)},\n  "frames": [\n{body}\n  ]\n}}\n')


def save_overlays(overlays: list[Picture.Image], out: Path) -> None:
    """overlays/01.png and so on, and all of them small on sheet.png."""
    folder = out / "overlays"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for index, overlay in enumerate(overlays, 1):
        overlay.save(folder / f"{index:02d}.png")
    if overlays:
        sheet(overlays).save(out / "sheet.png")


def sheet(pictures: list[Picture.Image]) -> Picture.Image:
    """The pictures small, in rows."""
    height = round(THUMBNAIL_WIDTH * pictures[0].height / pictures[0].width)
    rows = -(-len(pictures) // SHEET_COLUMNS)
    step_x, step_y = THUMBNAIL_WIDTH + GAP, height + GAP
    page = Picture.new("RGB", (SHEET_COLUMNS * step_x + GAP, rows * step_y + GAP), "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, SHEET_COLUMNS)
        small = picture.resize((THUMBNAIL_WIDTH, height), Picture.Resampling.LANCZOS)
        page.paste(small, (GAP + column * step_x, GAP + row * step_y))
    return page
