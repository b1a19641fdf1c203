"""A peer that subscribes to chosen outputs of the node and notes how old its results are.

    PYTHONPATH=scripts python -m bench.listener --topics grasp_regions overlay --out FILE

Only grasp_regions is deserialised: a planner's work must not take the node's processor time. Ends at SIGINT.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from demo.planner import CONNECTED
from demo.report import write_json
from looptrans_ros.msg import GraspRegionArray, HeatmapArray

TYPES = {
    "grasp_regions": GraspRegionArray,
    "heatmaps": HeatmapArray,
    "heatmap": Image,
    "heatmap/camera_info": CameraInfo,
    "overlay": Image,
    "overlay/compressed": CompressedImage,
}


class Listener(Node):
    """Counts messages by topic; keeps the ages that the node itself tells."""

    def __init__(self, node_name: str, topics: list[str], cameras: list[str]) -> None:
        super().__init__("bench_listener")
        self.received: Counter[str] = Counter()
        self.ages_ms: list[float] = []
        self.names: list[str] = []
        for topic in topics:
            raw = topic != "grasp_regions"
            heard = (lambda _, topic=topic: self.received.update([topic])) if raw else self._on_regions
            for camera in cameras or [""]:
                name = f"/{node_name}/{camera}/{topic}" if camera else f"/{node_name}/{topic}"
                self.create_subscription(TYPES[topic], name, heard, QoSProfile(depth=5), raw=raw)
                self.names.append(name)

    def _on_regions(self, message: GraspRegionArray) -> None:
        self.received["grasp_regions"] += 1
        self.ages_ms.append(message.age.sec * 1e3 + message.age.nanosec * 1e-6)


def main() -> int:
    parser = argparse.ArgumentParser(description="Subscribe to outputs of an affordance node and count.")
    parser.add_argument("--topics", nargs="+", choices=list(TYPES), required=True, help="outputs to subscribe to")
    parser.add_argument("--cameras", nargs="*", default=[], help="the cameras, where the node has several")
    parser.add_argument("--node", default="affordance_node", help="the affordance node's name")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write at the end")
    options = parser.parse_args()
    rclpy.init()
    listener = Listener(options.node, options.topics, options.cameras)
    try:
        while listener.count_publishers(listener.names[-1]) == 0:
            rclpy.spin_once(listener, timeout_sec=0.1)
        print(CONNECTED, flush=True)
        rclpy.spin(listener)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    write_json(options.out, {"received": dict(listener.received), "ages_ms": listener.ages_ms})
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
