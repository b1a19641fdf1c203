"""A planner peer: subscribes to what the affordance node publishes, as a robot's planner would, and keeps a record.

    PYTHONPATH=scripts python -m demo.planner --out out/demo

Ends by itself when the stream is over and the node's accounting is complete. Writes overlays/*.png, sheet.png,
regions.json and report.json. The types come from the looptrans_ros package's interfaces.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from PIL import Image as Picture
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from demo.record import OVERLAYS, array_record, save_overlays, write_regions
from demo.report import Counters, EvenSample, report, write_json
from looptrans_ros.msg import GraspRegionArray, HeatmapArray, LabelInfo, NodeStatus

# After this long without regions the stream counts as over.
QUIET_SECONDS = 2.5
# How long the node may take after that to tell its final accounting.
ACCOUNTING_SECONDS = 10.0
RELIABLE = QoSProfile(depth=5)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Planner(Node):
    """Hears all outputs of one affordance node and remembers what the report needs."""

    def __init__(self, node_name: str) -> None:
        super().__init__("demo_planner")
        self.records: list[dict[str, Any]] = []
        self.latencies_ms: list[float] = []
        self.overlays: EvenSample[Picture.Image] = EvenSample(OVERLAYS)
        self.heatmap_arrays = 0
        self.labels: LabelInfo | None = None
        self.status: NodeStatus | None = None
        self.last_regions = self.last_status = time.monotonic()
        for kind, topic, heard, qos in (
            (GraspRegionArray, "grasp_regions", self._on_regions, RELIABLE),
            (HeatmapArray, "heatmaps", self._on_heatmaps, RELIABLE),
            (Image, "overlay", self._on_overlay, RELIABLE),
            (LabelInfo, "label_info", self._on_labels, LATCHED),
            (NodeStatus, "status", self._on_status, LATCHED),
        ):
            self.create_subscription(kind, f"/{node_name}/{topic}", heard, qos)

    def _on_regions(self, message: GraspRegionArray) -> None:
        self.last_regions = time.monotonic()
        stamp = message.header.stamp
        age_nanos = self.get_clock().now().nanoseconds - (stamp.sec * 1_000_000_000 + stamp.nanosec)
        self.latencies_ms.append(age_nanos / 1e6)
        self.records.append(array_record(message))

    def _on_heatmaps(self, _: HeatmapArray) -> None:
        self.heatmap_arrays += 1

    def _on_overlay(self, message: Image) -> None:
        rows = np.asarray(message.data, dtype=np.uint8).reshape(message.height, message.step)
        pixels = rows[:, : message.width * 3].reshape(message.height, message.width, 3)
        self.overlays.add(Picture.fromarray(pixels))

    def _on_labels(self, message: LabelInfo) -> None:
        self.labels = message

    def _on_status(self, message: NodeStatus) -> None:
        self.status, self.last_status = message, time.monotonic()

    def counters(self) -> Counters | None:
        """The accounting of the newest status."""
        if self.status is None:
            return None
        return Counters(self.status.frames_in, self.status.processed, self.status.dropped, self.status.rejected)

    def settled(self) -> bool:
        """Whether the newest status was taken after the stream's end and accounts for every frame."""
        counters = self.counters()
        return counters is not None and counters.complete and counters.processed > 0 and self.last_status > self.last_regions


def watch(planner: Planner, first_seconds: float) -> str | None:
    """Hear the stream to its end; what went wrong, if anything did."""
    deadline = time.monotonic() + first_seconds
    while not planner.records:
        if time.monotonic() > deadline:
            return f"no grasp regions arrived within {first_seconds:.0f} s"
        rclpy.spin_once(planner, timeout_sec=0.1)
    while time.monotonic() < planner.last_regions + QUIET_SECONDS:
        rclpy.spin_once(planner, timeout_sec=0.1)
    while not planner.settled():
        if time.monotonic() > planner.last_regions + QUIET_SECONDS + ACCOUNTING_SECONDS:
            return f"the node's status does not account for every frame: {planner.counters()}"
        rclpy.spin_once(planner, timeout_sec=0.1)
    return None


def save(planner: Planner, out: Path) -> None:
    """Write what was heard."""
    counters, status = planner.counters(), planner.status
    assert counters is not None and status is not None  # `watch` has seen to it
    save_overlays(planner.overlays.chosen(), out)
    write_regions(out / "regions.json", planner.records, list(planner.labels.affordances) if planner.labels else [])
    write_json(out / "report.json", report(counters, planner.latencies_ms, status.execution_provider, status.model_id))


def main() -> int:
    parser = argparse.ArgumentParser(description="Subscribe to an affordance node and record what it finds.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--node", default="affordance_node", help="the affordance node's name")
    parser.add_argument("--wait", type=float, default=60.0, help="how long to wait for the first regions [s]")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    rclpy.init()
    planner = Planner(options.node)
    try:
        if (fault := watch(planner, options.wait)) is not None:
            print(f"planner: {fault}", file=sys.stderr)
            return 1
        save(planner, options.out)
        print(f"planner: {len(planner.records)} region arrays, {planner.heatmap_arrays} heatmap arrays")
        return 0
    except KeyboardInterrupt:
        return 130
    finally:
        planner.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
