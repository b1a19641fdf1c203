"""The node a robot engineer would write in Python: rclpy, OpenCV, ONNX Runtime. What ours is measured against.

    PYTHONPATH=scripts:benches python -m peer.affordance_node --model BUNDLE --affordances cut_with hold --report FILE

Same bundle, topics, messages and heat as affordance_node (src/ros); written as such nodes are: one callback that does
everything, with the fastest calls that NumPy and OpenCV offer. With --cameras, topics are <camera>/image and
~/<camera>/heatmap. Ends at SIGINT and then writes its own times to --report.
"""

import argparse
import math
import sys
import time
from array import array
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import rclpy
import yaml
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point32
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from bench.figures import percentile
from demo.processes import make_room
from demo.report import write_json
from looptrans_ros.msg import GraspRegion, GraspRegionArray

NANOS = 1_000_000_000
# affordance_node's defaults (config/affordance_node.yaml).
MIN_SCORE, MIN_AREA, MAX_REGIONS, MAX_POINTS = 0.3, 0.0005, 16, 64


class Model:
    """A bundle in ONNX Runtime, with the settings our node uses: all cores, no spinning."""

    def __init__(self, bundle: Path, affordances: list[str]) -> None:
        contract = yaml.safe_load((bundle / "model.yaml").read_text())
        self.id = f"{contract['name']}:{contract['sha256'][:12]}"
        self.height, self.width = contract["input"]["height"], contract["input"]["width"]
        self.threshold = contract["heat_threshold"]
        self.names = [name for name in contract["actions"] if name in affordances or not affordances]
        self.classes = [contract["actions"].index(name) for name in self.names]
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])

    def run(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class maps [A, h, w] and presence [A] of the affordances asked for, of an RGB picture of the network's size."""
        heatmap, presence = self._session.run(["heatmap", "presence"], {"image": picture[None]})
        return heatmap[0, self.classes], presence[0, self.classes]


@dataclass(frozen=True)
class Outputs:
    """Where one camera's results go."""

    heatmap: Publisher
    regions: Publisher


class AffordanceNode(Node):
    """Subscribes to each camera's `image`; publishes its ~/heatmap and ~/grasp_regions.

    The executor's one thread is the worker: it serves the subscriptions in turns, and since they keep the last message only,
    each camera's newest picture. Pictures that are replaced before their turn are not even deserialised, as they would be by
    threads that receive beside it and compete with it for the interpreter's lock.
    """

    def __init__(self, model: Model, cameras: list[str]) -> None:
        super().__init__("affordance_node")
        self._model = model
        self.times_ms: dict[str, list[float]] = {"run": [], "beside_run": []}
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        for prefix in [f"{camera}/" for camera in cameras] or [""]:
            outputs = Outputs(
                heatmap=self.create_publisher(Image, f"~/{prefix}heatmap", 1),
                regions=self.create_publisher(GraspRegionArray, f"~/{prefix}grasp_regions", 1),
            )
            self.create_subscription(Image, f"{prefix}image", partial(self._on_image, outputs), newest)

    def _on_image(self, outputs: Outputs, message: Image) -> None:
        started = time.perf_counter()
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        picture = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
        if message.encoding == "bgr8":
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        elif message.encoding != "rgb8":
            self.get_logger().error(f"encoding {message.encoding} is not supported", once=True)
            return
        small = cv2.resize(picture, (self._model.width, self._model.height), interpolation=cv2.INTER_AREA)
        before_run = time.perf_counter()
        maps, presence = self._model.run(small)
        after_run = time.perf_counter()
        heats = [heat_of(map_, message.width, message.height) for map_ in maps]
        if outputs.heatmap.get_subscription_count():
            outputs.heatmap.publish(image_message(message, np.maximum.reduce(heats)))
        outputs.regions.publish(self._regions_message(message, heats, presence))
        run = after_run - before_run
        self.times_ms["run"].append(1e3 * run)
        self.times_ms["beside_run"].append(1e3 * (time.perf_counter() - started - run))

    def _regions_message(self, message: Image, heats: list[np.ndarray], presence: np.ndarray) -> GraspRegionArray:
        array_message = GraspRegionArray(header=message.header, model_id=self._model.id)
        array_message.source_width, array_message.source_height = message.width, message.height
        found = [
            region
            for name, class_id, heat, present in zip(self._model.names, self._model.classes, heats, presence, strict=True)
            if present >= MIN_SCORE
            for region in regions_of(heat, float(present), self._model.threshold, (name, class_id))
        ]
        found.sort(key=lambda region: -region.score)
        array_message.regions = found[:MAX_REGIONS]
        stamp = message.header.stamp
        age = self.get_clock().now().nanoseconds - (stamp.sec * NANOS + stamp.nanosec)
        array_message.age = Duration(sec=age // NANOS, nanosec=age % NANOS)
        return array_message


def heat_of(class_map: np.ndarray, width: int, height: int) -> np.ndarray:
    """A class map at the picture's size, min-max normalised to bytes."""
    large = cv2.resize(class_map, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.normalize(large, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)


def image_message(source: Image, heat: np.ndarray) -> Image:
    height, width = heat.shape
    message = Image(header=source.header, height=height, width=width, encoding="mono8", step=width)
    message.data = array("B", heat.tobytes())
    return message


def regions_of(heat: np.ndarray, presence: float, threshold: float, action: tuple[str, int]) -> list[GraspRegion]:
    """Connected hot areas with outline, rectangle and contact point."""
    hot = cv2.threshold(heat, 255 * threshold, 1, cv2.THRESH_BINARY)[1]
    outlines = cv2.findContours(hot, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    found = []
    for outline in outlines:
        if len(outline) < 3 or cv2.contourArea(outline) < MIN_AREA * heat.size:
            continue
        x, y, width, height = cv2.boundingRect(outline)
        inside = np.zeros((height, width), np.uint8)
        cv2.drawContours(inside, [outline], 0, 1, cv2.FILLED, offset=(-x, -y))
        part = heat[y : y + height, x : x + width]
        score = presence * cv2.mean(part, inside)[0] / 255
        if score < MIN_SCORE:
            continue
        found.append(region_message(outline, (part, inside, x, y), score, action))
    return found


def region_message(
    outline: np.ndarray, area: tuple[np.ndarray, np.ndarray, int, int], score: float, action: tuple[str, int]
) -> GraspRegion:
    part, inside, x, y = area
    (center_x, center_y), (side_a, side_b), degrees = cv2.minAreaRect(outline)
    long, short = max(side_a, side_b), min(side_a, side_b)
    theta = math.radians(degrees if side_a >= side_b else degrees + 90)
    theta = (theta + math.pi / 2) % math.pi - math.pi / 2
    _, _, _, (point_x, point_y) = cv2.minMaxLoc(cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3)[1:-1, 1:-1])
    points = cv2.approxPolyDP(outline, 1.0, True).reshape(-1, 2)[:MAX_POINTS]
    closing = theta + math.pi / 2
    return GraspRegion(
        affordance=action[0], class_id=action[1], score=score, score_peak=float(cv2.minMaxLoc(part, inside)[1]) / 255,
        contour=[Point32(x=float(px), y=float(py)) for px, py in points],
        center_x=center_x, center_y=center_y, size_x=float(long), size_y=float(short), theta=theta,
        point_x=float(x + point_x), point_y=float(y + point_y),
        closing_angle=closing - math.pi if closing > math.pi / 2 else closing,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="An affordance node in Python, to measure against.")
    parser.add_argument("--model", type=Path, required=True, help="bundle")
    parser.add_argument("--affordances", nargs="*", default=[], help="actions to look for; all, if none is given")
    parser.add_argument("--cameras", nargs="*", default=[], help="names of the cameras, where there are several")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write at the end")
    options, ros_args = parser.parse_known_args()
    make_room("fastdds_node.xml")
    rclpy.init(args=ros_args)
    node = AffordanceNode(Model(options.model, options.affordances), options.cameras)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    medians = {name: percentile(times, 50) for name, times in node.times_ms.items() if times}
    write_json(options.report, {"processed": len(node.times_ms["run"]), **medians})
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
