"""A camera peer, or several: streams pictures over ROS 2 as sensor_msgs/Image rgb8, with a CameraInfo beside each.

    PYTHONPATH=scripts python -m demo.camera --stills FOLDER --frames 150

Frames are serialised before the first is sent; then only the stamp changes. A camera costs the node no processor time,
and neither should this one.
"""

import argparse
import struct
import sys
import time
from array import array
from pathlib import Path

import numpy as np
import rclpy
from PIL import Image as Picture
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image

from demo.processes import make_room
from demo.report import write_json
from demo.scenes import ABOVE, NAMES, clip

FRAME_ID = "camera_optical_frame"
# A serialised message begins with 4 bytes on its encoding; both our types begin with the stamp: int32 s, uint32 ns.
STAMP = struct.Struct("<iI")
STAMP_OFFSET = 4
NANOS = 1_000_000_000


def image_message(frame: np.ndarray) -> Image:
    height, width, _ = frame.shape
    message = Image(height=height, width=width, encoding="rgb8", step=width * 3, is_bigendian=0)
    message.header.frame_id = FRAME_ID
    message.data = array("B", frame.tobytes())
    return message


def info_message(width: int, height: int) -> CameraInfo:
    """A nominal calibration: no distortion, the optical axis in the middle."""
    focal = width / (2 * ABOVE.half_width)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    message.header.frame_id = FRAME_ID
    message.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


class Camera(Node):
    """Publishes prepared frames in turn, each with the time of its sending as stamp, on the topic of each camera."""

    def __init__(self, topics: list[str], frames: list[np.ndarray]) -> None:
        super().__init__("demo_camera")
        height, width, _ = frames[0].shape
        self._images = [bytearray(serialize_message(image_message(frame))) for frame in frames]
        self._info = bytearray(serialize_message(info_message(width, height)))
        self._image_publishers = [self.create_publisher(Image, topic, qos_profile_sensor_data) for topic in topics]
        info_topics = [f"{topic.rsplit('/', 1)[0]}/camera_info" for topic in topics]
        self._info_publishers = [self.create_publisher(CameraInfo, topic, qos_profile_sensor_data) for topic in info_topics]

    def wait_for_listeners(self, seconds: float) -> bool:
        """Whether someone listens to the images of every camera before the time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if all(publisher.get_subscription_count() > 0 for publisher in self._image_publishers):
                return True
            rclpy.spin_once(self, timeout_sec=0.05)
        return False

    def send(self, camera: int, index: int) -> None:
        image = self._images[index % len(self._images)]
        stamp = divmod(self.get_clock().now().nanoseconds, NANOS)
        for message, publisher in ((self._info, self._info_publishers[camera]), (image, self._image_publishers[camera])):
            STAMP.pack_into(message, STAMP_OFFSET, *stamp)
            publisher.publish(bytes(message))

    def stream(self, count: int, rate_hz: float) -> float:
        """Send that many frames of each camera at that rate, the cameras evenly apart; the seconds that it took.

        A frame that is late does not delay those after it.
        """
        cameras = len(self._image_publishers)
        start = time.monotonic()
        for turn in range(count * cameras):
            time.sleep(max(0.0, start + turn / (rate_hz * cameras) - time.monotonic()))
            index, camera = divmod(turn, cameras)
            self.send(camera, index)
        return time.monotonic() - start


def load_frames(folder: Path, count: int, width: int, height: int) -> list[np.ndarray]:
    """`count` frames: the scenes one after the other, each a slow pan over its still."""
    shares = np.diff(np.linspace(0, count, len(NAMES) + 1).round().astype(int))
    frames: list[np.ndarray] = []
    for name, share in zip(NAMES, shares, strict=True):
        with Picture.open(folder / f"{name}.png") as still:
            frames += clip(still.convert("RGB"), int(share), width, height)
    return frames


def main() -> int:
    parser = argparse.ArgumentParser(description="Stream the demo's pictures as a camera.")
    parser.add_argument("--stills", type=Path, required=True, help="folder that demo.scenes wrote")
    parser.add_argument("--topics", nargs="+", default=["/cam/image"], help="image topic of each camera; camera_info lies beside it")
    parser.add_argument("--frames", type=int, default=150, help="how many frames each camera sends")
    parser.add_argument("--distinct", type=int, help="how many different frames, sent in turn; all, if not given")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second of each camera [Hz]")
    parser.add_argument("--width", type=int, default=640, help="pixels")
    parser.add_argument("--height", type=int, default=480, help="pixels")
    parser.add_argument("--wait", type=float, default=60.0, help="how long to wait for listeners [s]")
    parser.add_argument("--out", type=Path, help="JSON file to write at the end: how many frames, and how long it took to send them")
    options = parser.parse_args()

    frames = load_frames(options.stills, options.distinct or options.frames, options.width, options.height)
    make_room("fastdds_camera.xml")
    rclpy.init()
    camera = Camera(options.topics, frames)
    try:
        topics = ", ".join(options.topics)
        if not camera.wait_for_listeners(options.wait):
            print(f"camera: nobody listens to {topics} after {options.wait:.0f} s", file=sys.stderr)
            return 1
        print(f"camera: streaming {options.frames} frames to {topics} at {options.rate:g} Hz")
        seconds = camera.stream(options.frames, options.rate)
        print("camera: done")
        if options.out is not None:
            write_json(options.out, {"frames": options.frames, "seconds": seconds})
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        camera.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
