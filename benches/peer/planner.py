"""A planner peer that waits for heatmaps and grasp regions, and notes when each arrived and how old it was.

    PYTHONPATH=scripts:benches python -m peer.planner --topics /affordance_node/heatmap --out FILE

Messages stay serialised until the end: what a planner does with them is not the node's doing. Ends at SIGINT.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from demo.camera import NANOS, STAMP, STAMP_OFFSET
from demo.planner import CONNECTED
from demo.report import write_json
from looptrans_ros.msg import GraspRegionArray


@dataclass
class Heard:
    """What came of one camera's pictures, each with the time of its arrival [s, monotonic]."""

    # From the stamp to the arrival [ms].
    heatmaps: list[tuple[float, float]] = field(default_factory=list)
    regions: list[tuple[float, bytes]] = field(default_factory=list)

    def told(self) -> dict[str, list[tuple[float, float]]]:
        """As above, and of the regions the ages that they tell of themselves [ms]."""
        return {"latencies_ms": self.heatmaps, "ages_ms": [(arrived, age_ms(message)) for arrived, message in self.regions]}


def age_ms(message: bytes) -> float:
    age = deserialize_message(message, GraspRegionArray).age
    return age.sec * 1e3 + age.nanosec * 1e-6


class Planner(Node):
    """Hears heatmaps and grasp regions."""

    def __init__(self, topics: list[str]) -> None:
        super().__init__("peer_planner")
        self.heard = {topic: Heard() for topic in topics}
        for topic, heard in self.heard.items():
            self.create_subscription(Image, topic, partial(self._on_heatmap, heard), QoSProfile(depth=5), raw=True)
            regions = f"{topic.rsplit('/', 1)[0]}/grasp_regions"
            self.create_subscription(GraspRegionArray, regions, partial(self._on_regions, heard), QoSProfile(depth=5), raw=True)

    def _on_heatmap(self, heard: Heard, message: bytes) -> None:
        seconds, nanos = STAMP.unpack_from(message, STAMP_OFFSET)
        latency = self.get_clock().now().nanoseconds - (seconds * NANOS + nanos)
        heard.heatmaps.append((time.monotonic(), latency * 1e-6))

    def _on_regions(self, heard: Heard, message: bytes) -> None:
        heard.regions.append((time.monotonic(), message))


def main() -> int:
    parser = argparse.ArgumentParser(description="Note the latency of heatmaps and the age of grasp regions.")
    parser.add_argument("--topics", nargs="+", required=True, help="heatmap topics")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write at the end")
    options = parser.parse_args()
    rclpy.init()
    planner = Planner(options.topics)
    try:
        while any(planner.count_publishers(topic) == 0 for topic in options.topics):
            rclpy.spin_once(planner, timeout_sec=0.1)
        print(CONNECTED, flush=True)
        rclpy.spin(planner)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    write_json(options.out, {topic: heard.told() for topic, heard in planner.heard.items()})
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
