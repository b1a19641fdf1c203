"""Makes the JPEG files of this folder (kinds that the image crate does not write). Needs Pillow and numpy."""

import pathlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 33, 21


def save(name, picture, **options):
    picture.save(HERE / f"{name}.jpg", quality=95, **options)


# The same rule is in src/perceive/decode/tests/codec.rs.
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
rgb = Image.fromarray(np.stack([x * 7, y * 11, (x + y) * 4], -1).astype(np.uint8))
turned = Image.Exif()
turned[0x0112] = 6  # orientation: turn by 90 degrees clockwise to see it upright

save("420", rgb, subsampling=2)
save("422", rgb, subsampling=1)
save("444", rgb, subsampling=0)
save("progressive", rgb, subsampling=2, progressive=True)
save("restart", rgb, subsampling=2, restart_marker_blocks=1)
save("rgb", rgb, keep_rgb=True)
save("grey", rgb.convert("L"))
save("cmyk", rgb.convert("CMYK"))
save("turned", rgb, subsampling=0, exif=turned)
