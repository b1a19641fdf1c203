import unittest

import numpy as np

from demo import scenes

SIZE = {"width": 96, "height": 72, "supersampling": 1}


class Scenes(unittest.TestCase):
    def test_the_same_seed_draws_the_same_bytes(self) -> None:
        for name in scenes.NAMES:
            first, second = (scenes.still(name, 3, **SIZE).tobytes() for _ in range(2))
            self.assertEqual(first, second, name)

    def test_scenes_and_seeds_differ(self) -> None:
        pictures = {scenes.still(name, seed, **SIZE).tobytes() for name in scenes.NAMES for seed in (3, 4)}
        self.assertEqual(len(pictures), 2 * len(scenes.NAMES))

    def test_a_clip_moves_a_little_from_frame_to_frame(self) -> None:
        frames = scenes.clip(scenes.still("mug", 3, 160, 120, 1), 20, 160, 120)
        self.assertEqual({(frame.shape, frame.dtype.name) for frame in frames}, {((120, 160, 3), "uint8")})
        steps = [np.abs(a.astype(int) - b.astype(int)).mean() for a, b in zip(frames, frames[1:])]
        whole = np.abs(frames[0].astype(int) - frames[-1].astype(int)).mean()
        self.assertGreater(min(steps), 0)
        self.assertLess(max(steps), whole)

    def test_nothing_is_placed_inside_something_else(self) -> None:
        for name in scenes.NAMES:
            placed = scenes.compose(name, 3).solids
            middles = np.array([solid.centre_in_table() for solid in placed])
            # Solids of one thing share a position; their own bodies may touch, those of other things may not.
            for i, solid in enumerate(placed):
                others = [j for j, other in enumerate(placed) if other.position != solid.position]
                depth = solid.distance_in_table(middles[others].T.astype(np.float32))
                self.assertGreater(depth.min(), 0, f"{name}: {i}")


if __name__ == "__main__":
    unittest.main()
