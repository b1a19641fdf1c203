"""A planner peer that waits for heatmaps, and notes how long after its stamp each arrived.

    PYTHONPATH=scripts:benches python -m peer.planner --topics /affordance_node/heatmap --out FILE

Messages stay serialised: what a planner does with them is not the node's doing. Ends at SIGINT.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from demo.camera import NANOS, STAMP, STAMP_OFFSET
from demo.planner import CONNECTED
from demo.report import write_json
from looptrans_ros.msg import GraspRegionArray


class Planner(Node):
    """Hears heatmaps and grasp regions."""

    def __init__(self, topics: list[str]) -> None:
        super().__init__("peer_planner")
        self.latencies_ms: dict[str, list[float]] = {topic: [] for topic in topics}
        for topic in topics:
            self.create_subscription(Image, topic, partial(self._on_heatmap, self.latencies_ms[topic]), QoSProfile(depth=5), raw=True)
            regions = f"{topic.rsplit('/', 1)[0]}/grasp_regions"
            self.create_subscription(GraspRegionArray, regions, lambda _: None, QoSProfile(depth=5), raw=True)

    def _on_heatmap(self, latencies_ms: list[float], message: bytes) -> None:
        seconds, nanos = STAMP.unpack_from(message, STAMP_OFFSET)
        latencies_ms.append((self.get_clock().now().nanoseconds - (seconds * NANOS + nanos)) * 1e-6)


def main() -> int:
    parser = argparse.ArgumentParser(description="Note the latency of heatmaps.")
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
    write_json(options.out, planner.latencies_ms)
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
