"""Colours by place: wood, cloth, plain paint. Linear light, arrays of shape (3, n)."""

from collections.abc import Callable

import numpy as np

from demo.sdf import Floats

Colour = Callable[[Floats], Floats]


def rgb(hexadecimal: str) -> Floats:
    """A web colour such as "c8553d" as linear light, shape (3, 1)."""
    srgb = np.array([int(hexadecimal[i : i + 2], 16) for i in (0, 2, 4)], dtype=np.float32) / 255
    return (srgb ** np.float32(2.2))[:, None]


def plain(hexadecimal: str) -> Colour:
    colour = rgb(hexadecimal)
    return lambda p: np.broadcast_to(colour, p.shape)


def mix(a: Floats, b: Floats, share: Floats) -> Floats:
    return a + (b - a) * share


class Noise:
    """Smooth random values in [0, 1] over the plane, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._lattice = np.random.default_rng(seed).random((256, 256), dtype=np.float32)

    def __call__(self, x: Floats, y: Floats) -> Floats:
        column, row = np.floor(x), np.floor(y)
        u, v = x - column, y - row
        u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
        i, j = row.astype(np.int64) & 255, column.astype(np.int64) & 255
        below, right = (i + 1) & 255, (j + 1) & 255
        top = self._lattice[i, j] * (1 - u) + self._lattice[i, right] * u
        bottom = self._lattice[below, j] * (1 - u) + self._lattice[below, right] * u
        return top * (1 - v) + bottom * v

    def octaves(self, x: Floats, y: Floats, count: int) -> Floats:
        """Several scales added, in [0, 1]."""
        total, weight = np.zeros_like(x), 0.0
        for octave in range(count):
            share = 0.5**octave
            total += share * self(x * 2**octave + 17.3 * octave, y * 2**octave + 5.1 * octave)
            weight += share
        return total / np.float32(weight)


def planks(seed: int, light: str, dark: str, plank_cm: float = 13.0) -> Colour:
    """A table of planks along x."""
    noise, bright, deep = Noise(seed), rgb(light), rgb(dark)

    def colour(p: Floats) -> Floats:
        x, y = p[0], p[1]
        row = np.floor(y / plank_cm)
        own = row * np.float32(7.31)
        warp = noise.octaves(x * 0.05 + own, y * 0.16, 3) * 6
        rings = 0.5 + 0.5 * np.sin((y * 0.55 + warp * 2.2 + own) * 3.1)
        fibres = noise.octaves(x * 0.35 + own * 3, y * 9.0, 3)
        share = np.clip(0.30 * rings + 0.55 * fibres + 0.45 * (noise(row * 3.7 + 0.5, row * 1.9 + 0.5) - 0.5), 0, 1)
        seam = np.abs(y / plank_cm - np.round(y / plank_cm)) * plank_cm
        return mix(bright, deep, share) * np.clip(0.25 + seam / 0.13, 0.25, 1)

    return colour


def wood(seed: int, light: str, dark: str, axis: int = 0) -> Colour:
    """A piece of wood whose grain runs along the axis."""
    noise, bright, deep = Noise(seed), rgb(light), rgb(dark)
    first, second = [other for other in range(3) if other != axis]

    def colour(p: Floats) -> Floats:
        along, across = p[axis], p[first] + 0.6 * p[second]
        bend = noise.octaves(along * 0.12, across * 0.3, 2) * 4
        rings = 0.5 + 0.5 * np.sin(across * 2.4 + bend * 2.5)
        fibres = noise.octaves(along * 0.7, across * 11, 2)
        return mix(bright, deep, np.clip(0.45 * rings + 0.5 * fibres, 0, 1))

    return colour


def linen(seed: int, light: str, dark: str) -> Colour:
    """Woven cloth with a checked border pattern."""
    noise, bright, deep = Noise(seed), rgb(light), rgb(dark)

    def colour(p: Floats) -> Floats:
        x, y = p[0], p[1]
        weave = 0.5 + 0.25 * (np.sin(x * 21) + np.sin(y * 21))
        stripes = (np.abs(np.mod(x, 12) - 6) < 1.5).astype(np.float32) + (np.abs(np.mod(y, 12) - 6) < 1.5)
        share = 0.30 * stripes + 0.10 * weave + 0.18 * noise.octaves(x * 0.4, y * 0.4, 3)
        return mix(bright, deep, np.clip(share, 0, 1))

    return colour


def stone(seed: int, light: str, dark: str) -> Colour:
    """A speckled worktop."""
    noise, bright, deep = Noise(seed), rgb(light), rgb(dark)

    def colour(p: Floats) -> Floats:
        clouds = noise.octaves(p[0] * 0.12, p[1] * 0.12, 4)
        # Two turned lattices multiplied: no grid shows.
        specks = noise(p[0] * 2.6 + p[1] * 1.7, p[1] * 2.6 - p[0] * 1.7) * noise(p[0] * 3.4 - p[1] * 1.1, p[1] * 3.4 + p[0] * 1.1)
        return mix(bright, deep, np.clip(0.9 * clouds - 0.15 + 2.2 * np.clip(specks - 0.45, 0, 1), 0, 1))

    return colour
