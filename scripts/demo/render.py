"""A small renderer for tables with things on them: marches rays through signed distances.

Lengths are cm, z is up, the table top is z = 0. Everything is float32 and free of chance, so that the same
scene gives the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from demo.sdf import Floats

# Towards the main light, a large lamp up left behind the camera.
LIGHT = np.array([-0.52, -0.30, 0.80], dtype=np.float32) / np.float32(np.sqrt(0.52**2 + 0.30**2 + 0.80**2))
LIGHT_COLOUR = np.array([1.0, 0.93, 0.82], dtype=np.float32)[:, None] * 2.3
SKY_COLOUR = np.array([0.74, 0.85, 1.0], dtype=np.float32)[:, None] * 0.62
# How quickly a shadow's edge goes from light to dark: larger is sharper.
SHADOW_HARDNESS = 11.0
HIT_CM = 0.004


@dataclass(frozen=True)
class Gloss:
    """How a surface mirrors: `mirror` is the share of light mirrored head-on, tinted by its own colour in metals."""

    mirror: float = 0.03
    shininess: float = 60.0
    metal: bool = False


@dataclass(frozen=True)
class Solid:
    """A thing on the table. `distance` and `colour` take points in its own space."""

    distance: Callable[[Floats], Floats]
    colour: Callable[[Floats], Floats]
    # A ball around it, in its own space.
    centre: tuple[float, float, float]
    radius: float
    gloss: Gloss = field(default_factory=Gloss)
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    # About the vertical, from +x towards +y.
    yaw_rad: float = 0.0
    # How much of a computed step is taken; below 1 for shapes whose distance is only an estimate.
    stride: float = 0.95

    def own_from_table(self, p: Floats) -> Floats:
        x, y = p[0] - self.position[0], p[1] - self.position[1]
        c, s = np.float32(np.cos(self.yaw_rad)), np.float32(np.sin(self.yaw_rad))
        return np.stack([c * x + s * y, c * y - s * x, p[2] - np.float32(self.position[2])])

    def centre_in_table(self) -> Floats:
        c, s = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        x, y, z = self.centre
        own = np.array([c * x - s * y, s * x + c * y, z])
        return (own + np.array(self.position)).astype(np.float32)

    def distance_in_table(self, p: Floats) -> Floats:
        return self.distance(self.own_from_table(p))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at a point on the table."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    # Half the picture's width at distance 1.
    half_width: float

    def rays(self, width: int, height: int) -> tuple[Floats, Floats]:
        """Origin (3,) and unit directions (3, height * width), row by row from the top left."""
        origin = np.array(self.position, dtype=np.float64)
        forward = np.array(self.target) - origin
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        x = ((np.arange(width) + 0.5) / width * 2 - 1) * self.half_width
        y = ((np.arange(height) + 0.5) / height * 2 - 1) * self.half_width * height / width
        grid_x, grid_y = (axis.ravel() for axis in np.meshgrid(x, y))
        rays = forward[:, None] + right[:, None] * grid_x + down[:, None] * grid_y
        rays /= np.linalg.norm(rays, axis=0)
        return origin.astype(np.float32), rays.astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """A camera, a table (its colour by place) and the things on it."""

    camera: Camera
    table: Callable[[Floats], Floats]
    solids: list[Solid]
    table_gloss: Gloss = field(default_factory=lambda: Gloss(0.02, 25.0))


def render(scene: Scene, width: int, height: int) -> np.ndarray:
    """The scene as uint8 [height, width, 3], sRGB."""
    origin, rays = scene.camera.rays(width, height)
    depth = -origin[2] / np.minimum(rays[2], -1e-4)
    owner = np.full(depth.shape, -1, dtype=np.int32)
    for index, solid in enumerate(scene.solids):
        pixels, hit = _first_hits(solid, origin, rays, depth)
        depth[pixels], owner[pixels] = hit, index

    light = np.empty_like(rays)
    for index in range(-1, len(scene.solids)):
        pixels = np.flatnonzero(owner == index)
        if pixels.size:
            points = origin[:, None] + rays[:, pixels] * depth[pixels]
            light[:, pixels] = _shade(scene, index, points, rays[:, pixels])
    return _develop(light.reshape(3, height, width))


def _ball_span(centre: Floats, radius: float, points: Floats, rays: Floats) -> tuple[Floats, Floats]:
    """Where rays enter and leave a ball; enter > leave for those that miss it."""
    offset = points - centre[:, None]
    along = -np.einsum("in,in->n", np.broadcast_to(offset, rays.shape), rays)
    nearest = np.einsum("in,in->n", offset, offset) - along * along
    half = np.sqrt(np.maximum(radius * radius - nearest, 0))
    leave = np.where(nearest < radius * radius, along + half, np.float32(-1))
    return np.maximum(along - half, 0), leave


def _first_hits(solid: Solid, origin: Floats, rays: Floats, depth: Floats) -> tuple[np.ndarray, Floats]:
    """Pixels where the solid is in front of what is there already, and its distances."""
    enter, leave = _ball_span(solid.centre_in_table(), solid.radius, origin[:, None], rays)
    pixels = np.flatnonzero((leave > 0) & (enter < np.minimum(leave, depth)))
    t, end, directions = enter[pixels], np.minimum(leave, depth)[pixels], rays[:, pixels]
    found_pixels, found_depths = [], []
    for _ in range(120):
        if not pixels.size:
            break
        gap = solid.distance_in_table(origin[:, None] + directions * t)
        hit = gap < HIT_CM
        found_pixels.append(pixels[hit])
        found_depths.append(t[hit])
        t = t + gap * np.float32(solid.stride)
        on = ~hit & (t < end)
        t, end, pixels, directions = t[on], end[on], pixels[on], directions[:, on]
    return np.concatenate(found_pixels or [pixels]), np.concatenate(found_depths or [t])


def _shade(scene: Scene, index: int, points: Floats, rays: Floats) -> Floats:
    """Light [3, n] that comes from the points against the rays; index -1 is the table."""
    if index < 0:
        normals = np.zeros_like(points)
        normals[2] = 1
        albedo, gloss = scene.table(points), scene.table_gloss
    else:
        solid = scene.solids[index]
        normals = _normals(solid, points)
        albedo, gloss = solid.colour(solid.own_from_table(points)), solid.gloss
    lifted = points + normals * np.float32(0.05)
    lamp = np.maximum(np.einsum("in,i->n", normals, LIGHT), 0)
    lamp *= _shadow(scene, lifted, lamp > 0)
    open_sky = _openness(scene, points, normals)
    up = normals[2] * 0.5 + 0.5
    bounce = np.array([0.34, 0.27, 0.20], dtype=np.float32)[:, None]
    diffuse = LIGHT_COLOUR * lamp + (SKY_COLOUR * up + bounce * (1 - up)) * open_sky
    facing = np.clip(-np.einsum("in,in->n", normals, rays), 0, 1)
    mirror = gloss.mirror + (1 - gloss.mirror) * (1 - facing) ** 5 * min(1.0, gloss.shininess / 100)
    mirrored = rays + 2 * facing * normals
    room = _room(mirrored) * open_sky
    shine = np.maximum(np.einsum("in,i->n", mirrored, LIGHT), 0) ** gloss.shininess * lamp
    glint = room + LIGHT_COLOUR * shine * (gloss.shininess / 24)
    if gloss.metal:
        return albedo * (diffuse * 0.25 + glint * 0.9)
    return albedo * diffuse * (1 - mirror) + glint * mirror


def _normals(solid: Solid, points: Floats) -> Floats:
    step = np.float32(0.01)
    gradient = np.empty_like(points)
    for axis in range(3):
        offset = np.zeros((3, 1), dtype=np.float32)
        offset[axis] = step
        gradient[axis] = solid.distance_in_table(points + offset) - solid.distance_in_table(points - offset)
    return gradient / np.maximum(np.sqrt((gradient * gradient).sum(axis=0)), 1e-9)


def _shadow(scene: Scene, points: Floats, wanted: np.ndarray) -> Floats:
    """How much of the lamp each point sees, 0 to 1, with soft edges."""
    seen = np.where(wanted, 1, 0).astype(np.float32)
    for solid in scene.solids:
        # The penumbra reaches beyond the solid itself.
        reach = solid.radius * 1.25
        rays = np.broadcast_to(LIGHT[:, None], points.shape)
        enter, leave = _ball_span(solid.centre_in_table(), reach, points, rays)
        chosen = np.flatnonzero((seen > 0.01) & (leave > 0.05))
        seen[chosen] = np.minimum(seen[chosen], _soft_block(solid, points[:, chosen], enter[chosen], leave[chosen]))
    return seen * seen * (3 - 2 * seen)


def _soft_block(solid: Solid, points: Floats, enter: Floats, leave: Floats) -> Floats:
    seen = np.ones(points.shape[1], dtype=np.float32)
    on = np.arange(points.shape[1])
    t = np.maximum(enter, np.float32(0.04))
    for _ in range(48):
        if not on.size:
            break
        gap = solid.distance_in_table(points[:, on] + LIGHT[:, None] * t[on])
        # Half the lamp shows past an edge that the ray just touches.
        seen[on] = np.minimum(seen[on], np.clip(0.5 + 0.5 * SHADOW_HARDNESS * gap / t[on], 0, 1))
        t[on] += np.clip(np.abs(gap), 0.06, 2.5)
        on = on[(seen[on] > 0.01) & (t[on] < leave[on])]
    return seen


def _openness(scene: Scene, points: Floats, normals: Floats) -> Floats:
    """How open the surroundings are, 0 to 1: corners and contacts are dark."""
    closed = np.zeros(points.shape[1], dtype=np.float32)
    for reach, weight in ((0.35, 0.28), (1.1, 0.32), (2.8, 0.34)):
        probe = points + normals * np.float32(reach)
        gap = np.clip(probe[2], 0, np.float32(reach))
        for solid in scene.solids:
            offset = probe - solid.centre_in_table()[:, None]
            near = np.flatnonzero(np.einsum("in,in->n", offset, offset) < (solid.radius + reach) ** 2)
            if near.size:
                gap[near] = np.minimum(gap[near], solid.distance_in_table(probe[:, near]))
        closed += weight * np.clip((reach - gap) / reach, 0, 1)
    return 1 - np.minimum(closed, 0.92)


def _room(directions: Floats) -> Floats:
    """What shiny things mirror: a warm floor, a grey room, a bright window and a lamp above."""
    x, y, z = directions
    floor = np.array([0.30, 0.22, 0.15], dtype=np.float32)[:, None]
    wall = np.array([0.42, 0.44, 0.48], dtype=np.float32)[:, None]
    ceiling = np.array([0.95, 0.97, 1.0], dtype=np.float32)[:, None]
    light = floor + (wall - floor) * _ramp(z, -0.15, 0.10) + (ceiling - wall) * _ramp(z, 0.15, 0.95)
    window = _ramp(z, 0.25, 0.32) * (1 - _ramp(z, 0.80, 0.87)) * _ramp(-x, 0.25, 0.32) * (1 - _ramp(np.abs(y), 0.55, 0.62))
    return light + window * np.array([2.4, 2.5, 2.6], dtype=np.float32)[:, None]


def _ramp(value: Floats, low: float, high: float) -> Floats:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _develop(light: Floats) -> np.ndarray:
    """Linear light [3, h, w] to sRGB bytes: a film-like curve, darker towards the corners."""
    _, height, width = light.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    exposed = light * (0.62 * (1 - 0.16 * (x * x + y * y)))
    film = exposed * (2.51 * exposed + 0.03) / (exposed * (2.43 * exposed + 0.59) + 0.14)
    srgb = np.clip(film, 0, 1) ** np.float32(1 / 2.2)
    return np.ascontiguousarray((srgb * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))
