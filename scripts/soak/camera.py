"""A camera that misbehaves: it restarts, and some of its messages are broken in ways that real drivers were seen to produce.

    PYTHONPATH=scripts python -m soak.camera --stills FOLDER --topic /left/image --seconds 60 --seed 1 --out FILE

Writes how many messages of each kind it has sent. What happens is drawn from the seed; when, from the clock.
"""

import argparse
import random
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from demo.camera import NANOS, STAMP, STAMP_OFFSET, image_message, load_frames
from demo.processes import make_room
from demo.report import write_json

# One message in so many is broken.
BROKEN_ONE_IN = 40
# How long a stream lasts before the camera is unplugged, and how long it is away [s].
STREAM_SECONDS, AWAY_SECONDS = (15.0, 40.0), (0.2, 1.5)


def edited(message: bytes, edit: Callable[[Image], None]) -> bytearray:
    """The message with some fields changed."""
    image = deserialize_message(message, Image)
    edit(image)
    return bytearray(serialize_message(image))


def empty(image: Image) -> None:
    image.data = array("B")


def short(image: Image) -> None:
    image.data = image.data[: len(image.data) // 2]


def no_width(image: Image) -> None:
    image.width = 0


def unknown_encoding(image: Image) -> None:
    image.encoding = "rgb7"


def short_step(image: Image) -> None:
    image.step = image.width


def endless_rows(image: Image) -> None:
    image.height, image.step = 2**32 - 1, 2**32 - 1


EDITS = (empty, short, no_width, unknown_encoding, short_step, endless_rows)
# Stamps that are wrong, as seconds from now; None: zero.
WRONG_STAMPS = {"stamp zero": None, "stamp in the future": 3600, "stamp of yesterday": -86400}


class Messages:
    """Serialised messages, sound and broken; made once."""

    def __init__(self, sound: list[bytearray], draw: random.Random) -> None:
        self._sound, self._draw = sound, draw
        first = bytes(sound[0])
        self._broken = {edit.__name__: edited(first, edit) for edit in EDITS}
        # Not the end of a message, which may be padding: half of it.
        self._broken["cut off"] = bytearray(first[: len(first) // 2])
        self._broken["noise"] = bytearray(draw.randbytes(4096))
        self._kinds = [*self._broken, *WRONG_STAMPS]

    def next(self, index: int, now_nanos: int) -> tuple[str, bytearray]:
        kind = self._draw.choice(self._kinds) if self._draw.randrange(BROKEN_ONE_IN) == 0 else "sound"
        if kind in self._broken:
            message = self._broken[kind]
            if kind != "noise":
                STAMP.pack_into(message, STAMP_OFFSET, *divmod(now_nanos, NANOS))
            return kind, message
        message = self._sound[index % len(self._sound)]
        offset = WRONG_STAMPS.get(kind, 0)
        stamp = (0, 0) if offset is None else divmod(now_nanos + offset * NANOS, NANOS)
        STAMP.pack_into(message, STAMP_OFFSET, *stamp)
        return kind, message


def stream(node: rclpy.node.Node, topic: str, messages: Messages, rate_hz: float, until: float) -> Counter[str]:
    """Sends until the time (monotonic) is up."""
    sent: Counter[str] = Counter()
    publisher = node.create_publisher(Image, topic, qos_profile_sensor_data)
    started, index = time.monotonic(), 0
    while time.monotonic() < until:
        time.sleep(max(0.0, started + index / rate_hz - time.monotonic()))
        kind, message = messages.next(index, node.get_clock().now().nanoseconds)
        publisher.publish(bytes(message))
        sent[kind] += 1
        index += 1
    node.destroy_publisher(publisher)
    return sent


def main() -> int:
    parser = argparse.ArgumentParser(description="Stream pictures as a camera that misbehaves.")
    parser.add_argument("--stills", type=Path, required=True, help="folder that demo.scenes wrote")
    parser.add_argument("--topic", required=True, help="image topic")
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second [Hz]")
    parser.add_argument("--width", type=int, default=640, help="pixels")
    parser.add_argument("--height", type=int, default=480, help="pixels")
    parser.add_argument("--seconds", type=float, required=True, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of what goes wrong")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write at the end")
    options = parser.parse_args()

    draw = random.Random(options.seed)
    frames = load_frames(options.stills, 8, options.width, options.height)
    messages = Messages([bytearray(serialize_message(image_message(frame))) for frame in frames], draw)
    make_room("fastdds_camera.xml")
    rclpy.init()
    node = rclpy.create_node(f"soak_camera_{options.seed}")
    sent: Counter[str] = Counter()
    restarts = -1
    until = time.monotonic() + options.seconds
    print("streaming", flush=True)
    try:
        while (now := time.monotonic()) < until:
            sent += stream(node, options.topic, messages, options.rate, min(until, now + draw.uniform(*STREAM_SECONDS)))
            restarts += 1
            time.sleep(draw.uniform(*AWAY_SECONDS))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    write_json(options.out, {"sent": dict(sent), "total": sent.total(), "restarts": max(restarts, 0)})
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
