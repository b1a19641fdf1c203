"""The demo's pictures: a mug, a knife, a hammer and a drawer, each on a cluttered table.

    PYTHONPATH=scripts python -m demo.scenes --out FOLDER

Drawn from a seed: the same seed gives the same bytes. A clip of one scene is a slow pan and zoom over one large still.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from demo import materials, things
from demo.render import Camera, Gloss, Scene, Solid, render

SEED = 3
NAMES = ("mug", "knife", "hammer", "drawer")
# A still is wider and higher than a frame by this factor: room for the pan.
MARGIN = 1.14
Thing = Callable[[], list[Solid]]


@dataclass(frozen=True)
class Clutter:
    """A thing that lies about, and the radius of free table that it wants [cm]."""

    thing: Thing
    radius_cm: float
    # On what lies below the main thing, rather than beside it.
    on_top: bool = False


@dataclass(frozen=True)
class Setting:
    """What one scene shows."""

    main: Thing
    position: tuple[float, float]
    yaw_rad: float
    table: Callable[[int], materials.Colour]
    clutter: list[Clutter]
    camera: Camera
    # What the main thing lies on, if not on the table, and its height [cm].
    below: tuple[Thing, float] | None = None
    table_gloss: Gloss = Gloss(0.02, 25.0)


ABOVE = Camera((3.0, -44.0, 40.0), (0.5, -0.5, 2.2), 0.335)
LOWER = Camera((-10.0, -58.0, 34.0), (0.0, 1.0, 7.0), 0.335)


def setting(name: str) -> Setting:
    return {"mug": mug, "knife": knife, "hammer": hammer, "drawer": drawer}[name]()


def mug() -> Setting:
    clutter = [
        Clutter(lambda: things.book("7a2f35"), 9.0),
        Clutter(lambda: things.bowl("e9e2d4"), 7.0),
        Clutter(lambda: things.apple("b3261c"), 4.0),
        Clutter(lambda: things.apple("c23a1e"), 4.0),
        Clutter(lambda: things.pencil("d9a514"), 5.0),
        Clutter(lambda: things.pencil("2d5fa8"), 5.0),
        Clutter(lambda: things.toy_block("2f7d5b"), 3.4),
        Clutter(lambda: things.toy_block("c4452f", 1.5), 2.8),
    ]
    return Setting(
        main=lambda: things.mug("2f6f8f", "f1e7d6"), position=(-1.0, -1.0), yaw_rad=-0.55,
        table=lambda seed: materials.planks(seed, "c99563", "8d5a30"), clutter=clutter, camera=ABOVE,
    )


def knife() -> Setting:
    clutter = [
        Clutter(things.tomato, 3.4, on_top=True),
        Clutter(things.tomato, 3.4, on_top=True),
        Clutter(lambda: things.bowl("dfe7ea"), 6.5),
        Clutter(lambda: things.apple("b3261c"), 4.0),
        Clutter(lambda: things.apple("c23a1e"), 4.0),
        Clutter(things.tomato, 3.4),
        Clutter(lambda: things.bowl("b9553d"), 6.5),
    ]
    return Setting(
        main=things.knife, position=(-3.5, -2.2), yaw_rad=0.42,
        table=lambda seed: materials.stone(seed, "8f959b", "5c6268"), clutter=clutter,
        camera=replace(ABOVE, half_width=0.37), below=(things.cutting_board, 1.6), table_gloss=Gloss(0.04, 60.0),
    )


def hammer() -> Setting:
    clutter = [
        Clutter(lambda: things.tape_roll("2f6fb3"), 4.6),
        Clutter(lambda: things.tape_roll("d9d3c4"), 4.6),
        Clutter(lambda: things.toy_block("d8a032", 2.3), 4.0),
        Clutter(lambda: things.pencil("c8402c"), 5.0),
        Clutter(things.nail, 3.2),
        Clutter(things.nail, 3.2),
        Clutter(lambda: things.nail(5.0), 2.8),
        Clutter(things.hex_nut, 2.0),
        Clutter(lambda: things.hex_nut(1.2), 1.8),
        Clutter(lambda: things.hex_nut(1.0), 1.6),
    ]
    return Setting(
        main=things.hammer, position=(-0.5, 0.0), yaw_rad=0.5,
        table=lambda seed: materials.planks(seed, "8a6a4c", "4b3524", 16.0), clutter=clutter,
        camera=replace(ABOVE, half_width=0.36),
    )


def drawer() -> Setting:
    clutter = [
        Clutter(lambda: things.mug("c8553d", "f1e7d6"), 6.0),
        Clutter(lambda: things.book("2f4a6d"), 8.5),
        Clutter(lambda: things.apple("a8321e"), 4.0),
        Clutter(lambda: things.pencil("3f8f4f"), 5.0),
        Clutter(lambda: things.tape_roll("d9d3c4"), 4.6),
        Clutter(lambda: things.toy_block("3d7f9c"), 3.2),
    ]
    return Setting(
        main=lambda: things.drawers(4.5), position=(0.5, 2.0), yaw_rad=0.22,
        table=lambda seed: materials.linen(seed, "e6ded0", "6f8ea3"), clutter=clutter, camera=LOWER,
    )


def compose(name: str, seed: int) -> Scene:
    """The named scene with its clutter spread out by the seed."""
    plan = setting(name)
    chance = np.random.default_rng([seed, NAMES.index(name)])
    height = plan.below[1] if plan.below else 0.0
    yaw = plan.yaw_rad + chance.uniform(-0.08, 0.08)
    placed = put(plan.main(), (*plan.position, height), yaw)
    board = put(plan.below[0](), (0.0, 0.0, 0.0), chance.uniform(-0.05, 0.05)) if plan.below else []
    for item in plan.clutter:
        floor = height if item.on_top else 0.0
        solids = placed if item.on_top else [*placed, *board]
        spot = free_spot(chance, solids, item, floor)
        if spot is not None:
            placed = [*placed, *put(item.thing(), spot, chance.uniform(-np.pi, np.pi))]
    return Scene(plan.camera, plan.table(seed), [*placed, *board], plan.table_gloss)


def put(solids: list[Solid], position: tuple[float, float, float], yaw_rad: float) -> list[Solid]:
    return [replace(solid, position=position, yaw_rad=yaw_rad) for solid in solids]


def free_spot(
    chance: np.random.Generator, solids: list[Solid], item: Clutter, floor: float
) -> tuple[float, float, float] | None:
    """A random place where nothing stands within the item's radius; none if the table is full."""
    half_x, half_y = (16.0, 8.5) if item.on_top else (21.0, 18.0)
    heights = floor + np.array([0.6, 2.0, 4.0], dtype=np.float32)
    for _ in range(400):
        x, y = chance.uniform(-half_x, half_x), chance.uniform(-half_y, half_y)
        column = np.stack([np.full(3, x), np.full(3, y), heights]).astype(np.float32)
        if all(solid.distance_in_table(column).min() > item.radius_cm for solid in solids):
            return x, y, floor
    return None


def still(name: str, seed: int, width: int, height: int, supersampling: int = 2) -> Image.Image:
    """The named scene with room for the pan around a frame of that size, `supersampling` times as fine."""
    scale = MARGIN * supersampling
    return Image.fromarray(render(compose(name, seed), round(width * scale), round(height * scale)))


def clip(picture: Image.Image, frames: int, width: int, height: int) -> list[np.ndarray]:
    """A slow pan and zoom over a still: that many frames, uint8 [height, width, 3]."""
    shots = []
    for progress in np.linspace(0, 1, frames):
        turn = progress * np.pi
        share = (1 + 0.05 * np.sin(turn)) / MARGIN / 1.05
        crop_w, crop_h = picture.width * share, picture.height * share
        left = (picture.width - crop_w) * (0.5 - 0.45 * np.cos(turn))
        top = (picture.height - crop_h) * (0.5 + 0.35 * np.sin(2 * turn))
        window = (left, top, left + crop_w, top + crop_h)
        shots.append(np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, box=window)))
    return shots


def save_stills(seed: int, width: int, height: int, folder: Path) -> None:
    """Draw all scenes for frames of that size into NAME.png, two at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max_workers=2) as pool:
        drawn = {name: pool.submit(still, name, seed, width, height) for name in NAMES}
        for name, picture in drawn.items():
            picture.result().save(folder / f"{name}.png", compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the stills that demo.camera pans over, one PNG per scene.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=SEED, help="what the clutter's places are drawn from")
    parser.add_argument("--width", type=int, default=640, help="of a frame [pixels]; the still is larger")
    parser.add_argument("--height", type=int, default=480, help="of a frame [pixels]")
    options = parser.parse_args()
    save_stills(options.seed, options.width, options.height, options.out)


if __name__ == "__main__":
    main()
