"""The things that a scene may hold. Each stands or lies on z = 0 in its own space [cm]."""

import numpy as np

from demo import sdf
from demo.materials import mix, plain, rgb, wood
from demo.render import Gloss, Solid
from demo.sdf import Floats

CERAMIC = Gloss(0.085, 140.0)
STEEL = Gloss(0.75, 70.0, metal=True)
SATIN = Gloss(0.04, 40.0)
MATT = Gloss(0.015, 12.0)


def mug(colour: str, inside: str) -> list[Solid]:
    """A mug 9.6 high; its handle points along +x."""

    def shape(p: Floats) -> Floats:
        x, y, z = p
        across = sdf.length(x, y)
        body = sdf.cylinder(across, z - 4.8, 4.1, 4.8, 0.45)
        # The handle: an upright ring, taller than wide, its ends sunk in the body.
        ring = sdf.ring(sdf.length(x - 4.1, (z - 4.9) * 0.86), y * 0.8, 2.55, 0.52)
        hollow = sdf.cylinder(across, z - 6.0, 3.72, 5.5, 0.5)
        return sdf.smooth_difference(sdf.smooth_union(body, ring, 0.7), hollow, 0.22)

    outer, inner, foot = rgb(colour), rgb(inside), rgb("c9b79c")

    def paint(p: Floats) -> Floats:
        across = sdf.length(p[0], p[1])
        within = ((across < 3.93) & (p[2] > 0.5)) | (p[2] > 9.3)
        glazed = np.where(within, inner, outer)
        return np.where(p[2] < 0.75, foot, glazed)

    def drink(p: Floats) -> Floats:
        return sdf.cylinder(sdf.length(p[0], p[1]), p[2] - 4.2, 3.75, 3.4)

    coffee = Solid(drink, plain("2a130a"), (0, 0, 7.0), 4.0, Gloss(0.06, 160.0))
    return [Solid(shape, paint, (1.1, 0, 4.8), 7.6, CERAMIC, stride=0.8), coffee]


# The blade's outline [cm], from the heel along the back to the tip and along the belly home.
BLADE = [
    (2.0, -0.9), (2.0, 1.75), (3.0, 2.0), (12.5, 2.0), (15.0, 1.82), (17.2, 1.40), (19.2, 0.72), (20.8, -0.15),
    (19.4, -0.62), (17.6, -0.98), (15.2, -1.20), (12.0, -1.32), (2.6, -1.35),
]


def knife() -> list[Solid]:
    """A cook's knife that lies along x, its tip at +x and its edge at -y."""

    def blade(p: Floats) -> Floats:
        # Thick at the back, thin at the edge.
        half = np.clip(0.035 + (p[1] + 1.25) * 0.035, 0.03, 0.16)
        return sdf.extrude(sdf.polygon(p[0], p[1], BLADE), p[2] - 0.85, half)

    def handle(p: Floats) -> Floats:
        x, y, z = p
        swell = 0.12 * np.cos(x * 0.62) + 0.05 * x * 0.1
        grip = sdf.box(np.stack([x, y - 0.35 - swell, z]), (-4.4, 0.0, 0.85), (5.9, 1.2, 0.82), 0.62)
        return sdf.smooth_union(grip, sdf.box(p, (-9.6, 0.1, 0.85), (1.0, 1.45, 0.84), 0.7), 0.8)

    def bolster(p: Floats) -> Floats:
        return sdf.box(p, (1.7, 0.35, 0.85), (0.62, 1.22, 0.78), 0.3)

    def rivets(p: Floats) -> Floats:
        spots = (sdf.sphere(p, (x, 0.42, 0.95), 0.80) for x in (-1.7, -4.6, -7.5))
        nearest = np.minimum.reduce(list(spots))
        return np.maximum(nearest, handle(p) - 0.03)

    def steel(p: Floats) -> Floats:
        ground = np.clip((p[1] + 0.62) * 9, 0, 1)
        sheen = 0.62 + 0.38 * np.cos(p[0] * 0.42 - 1.2 - p[1] * 0.25) ** 2
        return mix(rgb("f7f9fb"), rgb("b4bac2") * sheen, ground)

    return [
        Solid(blade, steel, (11.4, 0.4, 0.85), 10.2, STEEL, stride=0.8),
        Solid(handle, wood(5, "5b3423", "2c150d"), (-4.6, 0.3, 0.85), 6.9, SATIN, stride=0.8),
        Solid(bolster, plain("c9cdd2"), (1.7, 0.35, 0.85), 1.7, STEEL),
        Solid(rivets, plain("d8c28a"), (-4.6, 0.42, 1.2), 4.0, STEEL),
    ]


def hammer() -> list[Solid]:
    """A claw hammer that lies along x: head at +x, face at -y, claw at +y."""
    height = 1.55

    def handle(p: Floats) -> Floats:
        x, y, z = p
        thick = 1.18 + 0.20 * np.cos((x + 6) * 0.33) - 0.012 * (x + 10)
        across = sdf.length(y * 0.92, z - height)
        return sdf.cylinder(across, x + 3.0, thick, 13.2, 0.55)

    def head(p: Floats) -> Floats:
        x, y, z = p[0] - 10.0, p[1], p[2] - height
        across = sdf.length(x, z)
        face = sdf.cylinder(across, y + 4.5, 1.55, 0.85, 0.22)
        neck = sdf.cylinder(across, y + 2.6, 1.05, 1.9, 0.1)
        cheek = sdf.box(np.stack([x, y, z]), (0, 0.1, 0), (1.55, 1.55, 1.35), 0.35)
        return sdf.smooth_union(sdf.smooth_union(face, neck, 0.6), sdf.smooth_union(cheek, claw(x, y, z), 0.7), 0.6)

    def claw(x: Floats, y: Floats, z: Floats) -> Floats:
        # An arc in the plane of the table that bends back towards the handle, parted into two prongs.
        across = sdf.length(x + 5.6, y - 1.0)
        turned = np.arctan2(y - 1.0, x + 5.6)
        taper = np.clip(turned / 1.0, 0, 1)
        flat = np.abs(across - 5.7) - (1.05 - 0.78 * taper)
        bar = np.maximum(np.maximum(flat, np.abs(z) - (1.25 + 0.1 * taper)), np.maximum(turned - 0.95, -turned - 0.3) * 5.0)
        slot = np.abs(z) - (0.04 + 0.42 * taper)
        return np.maximum(bar, -np.maximum(slot, 0.35 - turned))

    def steel(p: Floats) -> Floats:
        bright = np.clip((np.abs(p[1] + 0.4) - 2.4) * 4, 0, 1)
        return mix(rgb("6d7278"), rgb("d9dde1"), bright)

    def grip(p: Floats) -> Floats:
        rubber = np.clip((-5.2 - p[0]) * 20, 0, 1)
        grooves = 1 - 0.35 * (np.sin(p[0] * 4.2) > 0.55)
        return mix(wood(8, "d9a866", "a9713a")(p), rgb("b32d1e") * grooves, rubber)

    return [
        Solid(handle, grip, (-3.0, 0, height), 13.6, SATIN, stride=0.85),
        Solid(head, steel, (9.6, 0.3, height), 6.6, STEEL, stride=0.6),
    ]


def drawers(pulled_cm: float) -> list[Solid]:
    """A small chest with two drawers that face -y; the upper one is pulled out."""
    lower, upper = 5.1, 13.1

    def chest(p: Floats) -> Floats:
        shell = sdf.box(p, (0, 8.0, 9.1), (12.5, 8.0, 9.1), 0.35)
        bays = [sdf.box(p, (0, 6.8, z), (11.6, 7.6, 3.75)) for z in (lower, upper)]
        return sdf.smooth_difference(shell, np.minimum(*bays), 0.12)

    def drawer(z: float, pulled: float) -> list[Solid]:
        def body(p: Floats) -> Floats:
            q = np.stack([p[0], p[1] + pulled, p[2] - z])
            front = sdf.box(q, (0, 0.1, 0), (11.45, 0.6, 3.6), 0.28)
            panel = sdf.box(q, (0, -0.62, 0), (9.6, 0.30, 2.1), 0.2)
            tray = sdf.box(q, (0, 6.2, -0.3), (10.9, 5.8, 3.0), 0.1)
            tray = np.maximum(tray, -sdf.box(q, (0, 6.2, 0.6), (10.4, 5.3, 3.2)))
            return np.minimum(tray, sdf.smooth_union(front, panel, 0.15))

        def handle(p: Floats) -> Floats:
            q = np.stack([p[0], p[1] + pulled, p[2] - z])
            bar = sdf.capsule(q, (-3.6, -2.75, 0), (3.6, -2.75, 0), 0.46)
            posts = [sdf.capsule(q, (x, -0.6, 0), (x, -2.75, 0), 0.36) for x in (-3.0, 3.0)]
            plates = [sdf.sphere(q, (x, -0.45, 0), 0.75) for x in (-3.0, 3.0)]
            return sdf.smooth_union(sdf.smooth_union(bar, np.minimum(*posts), 0.35), np.minimum(*plates), 0.25)

        return [
            Solid(body, wood(11 + int(z), "d8a561", "9a6230"), (0, 5.5 - pulled, z), 14.5, SATIN),
            Solid(handle, plain("e8d3a0"), (0, -1.7 - pulled, z), 4.6, STEEL),
        ]

    shell = Solid(chest, wood(4, "8a5a33", "553018"), (0, 8.0, 9.1), 17.6, SATIN)
    return [shell, *drawer(lower, 0.0), *drawer(upper, pulled_cm)]


def cutting_board() -> list[Solid]:
    def board(p: Floats) -> Floats:
        slab = sdf.box(p, (0, 0, 0.8), (19.0, 11.5, 0.8), 0.5)
        hole = sdf.length(p[0] + 16.3, p[1] - 8.8) - 1.1
        return sdf.smooth_difference(slab, hole, 0.25)

    return [Solid(board, wood(21, "e3bd83", "c08d50"), (0, 0, 0.8), 22.4, SATIN)]


def apple(colour: str) -> list[Solid]:
    def shape(p: Floats) -> Floats:
        across = sdf.length(p[0], p[1])
        # A ring with no hole: round cheeks, a dimple above and below.
        return (sdf.length(across - 1.25, (p[2] - 2.95) * 0.86) - 2.45) * 0.95

    def stalk(p: Floats) -> Floats:
        return sdf.capsule(p, (0, 0, 4.4), (0.5, 0.2, 6.5), 0.17)

    def paint(p: Floats) -> Floats:
        angle = np.arctan2(p[1], p[0])
        blush = np.clip(0.5 + 0.35 * np.sin(angle + 0.6) + 0.12 * np.sin(angle * 9) * np.sin(angle * 4), 0, 1)
        crown = np.clip((p[2] - 4.5) * 0.6, 0, 1) * np.clip(1.7 - sdf.length(p[0], p[1]), 0, 1)
        return mix(mix(rgb("d9b23c"), rgb(colour), blush * 0.8 + 0.2), rgb("9aa53a"), crown)

    return [
        Solid(shape, paint, (0, 0, 2.95), 4.1, Gloss(0.045, 70.0), stride=0.85),
        Solid(stalk, plain("4a331f"), (0.25, 0.1, 5.4), 1.4, MATT),
    ]


def tomato() -> list[Solid]:
    def shape(p: Floats) -> Floats:
        across = sdf.length(p[0], p[1])
        lobes = 0.09 * np.cos(np.arctan2(p[1], p[0]) * 5)
        return (sdf.length(across - 0.8, (p[2] - 2.1) * 1.0) - 2.1 - lobes) * 0.9

    def leaves(p: Floats) -> Floats:
        across, angle = sdf.length(p[0], p[1]), np.arctan2(p[1], p[0])
        star = across - (0.35 + 1.1 * np.abs(np.cos(angle * 2.5)) ** 3)
        return np.maximum(star * 0.5, np.abs(p[2] - 4.0 + 0.07 * across * across) - 0.07) * 0.8

    return [
        Solid(shape, plain("c0271a"), (0, 0, 2.1), 3.2, Gloss(0.05, 110.0), stride=0.9),
        Solid(leaves, plain("4f7a2b"), (0, 0, 3.9), 1.7, MATT, stride=0.7),
    ]


def book(colour: str, half_length: float = 8.5, half_width: float = 6.0, thick: float = 2.4) -> list[Solid]:
    def cover(p: Floats) -> Floats:
        outer = sdf.box(p, (0, 0, thick / 2), (half_length, half_width, thick / 2), 0.18)
        return np.maximum(outer, -sdf.box(p, (0, -0.6, thick / 2), (half_length + 1, half_width, thick / 2 - 0.22)))

    def pages(p: Floats) -> Floats:
        return sdf.box(p, (0, -0.1, thick / 2), (half_length - 0.3, half_width - 0.3, thick / 2 - 0.2), 0.05)

    cloth, gold, paper = rgb(colour), rgb("d8b566"), rgb("efe6d2")

    def binding(p: Floats) -> Floats:
        frame = np.maximum(np.abs(p[0]) - (half_length - 1.2), np.abs(p[1]) - (half_width - 1.2))
        title = np.maximum(np.abs(p[0]) - half_length * 0.42, np.minimum(np.abs(p[1] - 1.6) - 0.32, np.abs(p[1] - 0.5) - 0.14))
        line = (np.abs(frame) < 0.12) | (title < 0)
        return np.where(line & (p[2] > thick * 0.8), gold, cloth)

    def leaf(p: Floats) -> Floats:
        return paper * (0.86 + 0.14 * np.sin(p[2] * 34))

    radius = float(np.hypot(np.hypot(half_length, half_width), thick / 2)) + 0.1
    middle = (0.0, 0.0, thick / 2)
    return [Solid(cover, binding, middle, radius, MATT), Solid(pages, leaf, middle, radius, MATT)]


def pencil(colour: str) -> list[Solid]:
    def shape(p: Floats) -> Floats:
        x, y, z = p[0], p[1], p[2] - 0.42
        third, half = 0.8660254, 0.5
        y, z = np.abs(y), np.abs(z)
        hexagon = np.maximum(y * half + z * third, y) - 0.40
        point = sdf.length(y, z) * 0.97 + (x - 8.5) * 0.24
        return np.maximum(np.maximum(hexagon, point), np.abs(x) - 8.3) * 0.95

    paint_, bare, lead = rgb(colour), rgb("e2bd8c"), rgb("26262a")
    metal, rubber = rgb("b9bcc0"), rgb("d8838a")

    def paint(p: Floats) -> Floats:
        x, around = p[0], sdf.length(p[1], p[2] - 0.42)
        painted = np.where((x > 6.6) & (around < (8.5 - x) * 0.255), bare, paint_)
        painted = np.where(x > 7.8, lead, painted)
        painted = np.where(x < -6.6, metal, painted)
        return np.where(x < -7.4, rubber, painted)

    return [Solid(shape, paint, (0, 0, 0.42), 8.5, SATIN, stride=0.9)]


def bowl(colour: str) -> list[Solid]:
    def shape(p: Floats) -> Floats:
        across = sdf.length(p[0], p[1])
        ball = sdf.length(across, p[2] - 6.2)
        shell = np.maximum(np.abs(ball - 6.0) - 0.16, p[2] - 4.6)
        foot = sdf.cylinder(across, p[2] - 0.35, 2.3, 0.35, 0.1)
        return sdf.smooth_union(shell, foot, 0.4) - 0.10

    return [Solid(shape, plain(colour), (0, 0, 2.4), 6.8, CERAMIC, stride=0.85)]


def toy_block(colour: str, half: float = 1.9) -> list[Solid]:
    def shape(p: Floats) -> Floats:
        return sdf.box(p, (0, 0, half), (half, half, half), 0.3)

    bright, bare = rgb(colour), rgb("e6c795")

    def paint(p: Floats) -> Floats:
        inner = np.sort(np.stack([np.abs(p[0]), np.abs(p[1]), np.abs(p[2] - half)]), axis=0)[1]
        return np.where(inner < half * 0.66, bright, bare)

    return [Solid(shape, paint, (0, 0, half), half * 1.75, SATIN)]


def hex_nut(size: float = 1.5) -> list[Solid]:
    def shape(p: Floats) -> Floats:
        x, y = np.abs(p[0]), np.abs(p[1])
        hexagon = np.maximum(x * 0.5 + y * 0.8660254, x) - size
        ring = np.maximum(hexagon, size * 0.55 - sdf.length(p[0], p[1]))
        dome = sdf.length(p[0], p[1], (p[2] - size * 0.45) * 1.6) - size * 1.22
        return np.maximum(np.maximum(ring, dome), np.abs(p[2] - size * 0.45) - size * 0.45)

    return [Solid(shape, plain("c3c7cb"), (0, 0, size * 0.45), size * 1.35, STEEL, stride=0.85)]


def nail(length_cm: float = 6.0) -> list[Solid]:
    def shape(p: Floats) -> Floats:
        x, y, z = p[0], p[1], p[2] - 0.5
        around = sdf.length(y, z)
        shank = np.maximum(around - np.clip((length_cm / 2 - x) * 0.35, 0, 0.2), np.abs(x) - length_cm / 2)
        return np.minimum(shank, sdf.cylinder(around, x + length_cm / 2, 0.48, 0.08, 0.05)) * 0.9

    return [Solid(shape, plain("b4b8bd"), (0, 0, 0.5), length_cm / 2 + 0.6, STEEL, stride=0.9)]


def tape_roll(colour: str) -> list[Solid]:
    def shape(p: Floats) -> Floats:
        across = sdf.length(p[0], p[1])
        return sdf.cylinder(np.abs(across - 3.3), p[2] - 1.2, 1.0, 1.2, 0.12)

    band, core = rgb(colour), rgb("b08b5f")

    def paint(p: Floats) -> Floats:
        across = sdf.length(p[0], p[1])
        rings = 0.92 + 0.08 * np.sin(across * 40)
        return np.where(across < 2.55, core, band * rings)

    return [Solid(shape, paint, (0, 0, 1.2), 4.6, SATIN)]
