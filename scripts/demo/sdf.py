"""Shapes as signed distances: each function tells how far points [cm] are from a surface, negative inside.

Points are float32 arrays of shape (3, n), in the shape's own space; distances are (n,). The formulas are the
well-known ones of distance-field modelling.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def length(*components: Floats) -> Floats:
    return np.sqrt(sum(component * component for component in components))


def sphere(p: Floats, centre: Sequence[float], radius: float) -> Floats:
    x, y, z = p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]
    return length(x, y, z) - radius


def box(p: Floats, centre: Sequence[float], half: Sequence[float], rounding: float = 0.0) -> Floats:
    """A box with rounded edges; `half` are half its outer sides."""
    x, y, z = (np.abs(p[axis] - centre[axis]) - (half[axis] - rounding) for axis in range(3))
    outside = length(np.maximum(x, 0), np.maximum(y, 0), np.maximum(z, 0))
    return outside + np.minimum(np.maximum(x, np.maximum(y, z)), 0) - rounding


def cylinder(across: Floats, along: Floats, radius: float | Floats, half: float, rounding: float = 0.0) -> Floats:
    """A rounded cylinder from the distance to its axis and the place along it, counted from its middle."""
    radial, axial = across - (radius - rounding), np.abs(along) - (half - rounding)
    return length(np.maximum(radial, 0), np.maximum(axial, 0)) + np.minimum(np.maximum(radial, axial), 0) - rounding


def capsule(p: Floats, start: Sequence[float], end: Sequence[float], radius: float) -> Floats:
    """Everything within `radius` of the line from start to end."""
    ax, ay, az = (end[axis] - start[axis] for axis in range(3))
    x, y, z = p[0] - start[0], p[1] - start[1], p[2] - start[2]
    along = np.clip((x * ax + y * ay + z * az) / (ax * ax + ay * ay + az * az), 0, 1)
    return length(x - ax * along, y - ay * along, z - az * along) - radius


def ring(across: Floats, along: Floats, radius: float, tube: float) -> Floats:
    """A torus, from the distance to its axis and the height above its plane."""
    return length(across - radius, along) - tube


def polygon(x: Floats, y: Floats, corners: Sequence[tuple[float, float]]) -> Floats:
    """Signed distance in the plane to a closed polygon, convex or not."""
    squared = np.full_like(x, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        ex, ey = bx - ax, by - ay
        wx, wy = x - ax, y - ay
        along = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0, 1)
        squared = np.minimum(squared, (wx - ex * along) ** 2 + (wy - ey * along) ** 2)
        if ay != by:
            # A ray towards +x from an inside point crosses the outline an odd number of times.
            inside ^= ((ay > y) != (by > y)) & (x < (y - ay) * (ex / ey) + ax)
    return np.where(inside, -1, 1).astype(np.float32) * np.sqrt(squared)


def extrude(flat: Floats, along: Floats, half: float | Floats, rounding: float = 0.0) -> Floats:
    """A flat outline given thickness: `half` to each side of its plane."""
    across, axial = flat + rounding, np.abs(along) - (half - rounding)
    return np.minimum(np.maximum(across, axial), 0) + length(np.maximum(across, 0), np.maximum(axial, 0)) - rounding


def smooth_union(a: Floats, b: Floats, blend: float) -> Floats:
    """The union of two shapes with a fillet of about `blend` [cm] where they meet."""
    mix = np.maximum(blend - np.abs(a - b), 0) / blend
    return np.minimum(a, b) - mix * mix * (blend / 4)


def smooth_difference(a: Floats, cut: Floats, blend: float) -> Floats:
    """Shape `a` without `cut`, its new edges rounded by about `blend` [cm]."""
    return -smooth_union(-a, cut, blend)


def turn(x: Floats, y: Floats, angle_rad: float) -> tuple[Floats, Floats]:
    """Coordinates in axes that are turned by the angle."""
    c, s = float(np.cos(angle_rad)), float(np.sin(angle_rad))
    return c * x + s * y, c * y - s * x
