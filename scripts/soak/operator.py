"""Somebody who works with the node all the time: changes parameters, swaps models, asks for detections, switches it off and
on, and listens to everything.

    PYTHONPATH=scripts python -m soak.operator --cameras left right --models A B --seconds 60 --seed 1 --out FILE

Writes the answers it got, the ages of the regions it heard, and the node's status from second to second.
"""

import argparse
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import rclpy
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from demo.planner import CONNECTED
from demo.report import write_json
from looptrans_ros.msg import GraspRegionArray, HeatmapArray, NodeStatus
from looptrans_ros.srv import Detect, SetModel

NODE = "/affordance_node"
# An answer that takes longer is none.
ANSWER_SECONDS = 20.0
PAUSE_SECONDS = (0.3, 1.5)


def double(value: float) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)


def integer(value: int) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)


def text(value: str) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)


# What may be set, and whether the node must take it.
SETTINGS: list[tuple[str, Callable[[random.Random], ParameterValue], bool]] = [
    ("heat_threshold", lambda draw: double(draw.uniform(0.3, 0.9)), True),
    ("heat_threshold", lambda _: double(float("nan")), False),
    ("min_region_score", lambda draw: double(draw.uniform(0.0, 0.5)), True),
    ("max_regions", lambda draw: integer(draw.randint(1, 256)), True),
    ("max_regions", lambda _: integer(0), False),
    ("max_contour_points", lambda draw: integer(draw.randint(4, 1024)), True),
    ("heatmap_encoding", lambda draw: text(draw.choice(["mono8", "32FC1"])), True),
    ("heatmap_size", lambda draw: text(draw.choice(["source", "network"])), True),
    ("max_rate", lambda draw: double(draw.choice([0.0, 0.0, 15.0])), True),
    ("max_rate", lambda _: text("fast"), False),
    ("overlay_alpha", lambda draw: double(draw.random()), True),
    ("no_such_parameter", lambda _: double(1.0), False),
]

# What makes messages largest, and for how long, so that every camera has some.
LARGEST = {
    "heatmap_encoding": text("32FC1"), "heatmap_size": text("source"), "max_regions": integer(256),
    "max_contour_points": integer(1024), "min_region_score": double(0.0), "max_rate": double(0.0),
}
FILL_SECONDS = 5.0


class Operator(Node):
    def __init__(self, cameras: list[str], models: list[str], seed: int) -> None:
        super().__init__("soak_operator")
        self._cameras, self._models, self._draw = cameras, models, random.Random(seed)
        self.ages_ms: dict[str, list[float]] = defaultdict(list)
        self.heard: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.statuses: list[dict[str, float]] = []
        for camera in cameras:
            self.create_subscription(
                GraspRegionArray, f"{NODE}/{camera}/grasp_regions", lambda m, camera=camera: self._on_regions(camera, m), 5)
            for kind, name in ((HeatmapArray, "heatmaps"), (Image, "overlay")):
                self.create_subscription(kind, f"{NODE}/{camera}/{name}", lambda _, n=name: self.heard.update([n]), 5, raw=True)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(NodeStatus, f"{NODE}/status", self._on_status, latched)
        self._set = self.create_client(SetParameters, f"{NODE}/set_parameters")
        self._set_model = self.create_client(SetModel, f"{NODE}/set_model")
        self._detect = self.create_client(Detect, f"{NODE}/detect")
        self._enable = self.create_client(SetBool, f"{NODE}/enable")

    def _on_regions(self, camera: str, message: GraspRegionArray) -> None:
        self.heard["grasp_regions"] += 1
        self.ages_ms[camera].append(message.age.sec * 1e3 + message.age.nanosec * 1e-6)

    def _on_status(self, status: NodeStatus) -> None:
        self.heard["status"] += 1
        now = time.monotonic()
        row = {"monotonic": now, "fps_out": status.fps_out, "age_p99_ms": status.age_p99 * 1e3}
        for part in (status, *status.cameras):
            ended = part.processed + part.dropped + part.rejected
            if part.frames_in != ended:
                self.wrong.append(f"status: {part.frames_in} frames in, {ended} ended")
        self.statuses.append(row)

    def _ask(self, client: rclpy.client.Client, request: object, what: str) -> object | None:
        """The answer; None if none came, which is wrong."""
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self, future, timeout_sec=ANSWER_SECONDS)
        if not future.done():
            client.remove_pending_request(future)
            self.wrong.append(f"{what}: no answer within {ANSWER_SECONDS:.0f} s")
            return None
        return future.result()

    def _note(self, what: str, found: bool, expected: bool | None, why: str) -> None:
        self.answers[f"{what}: {'yes' if found else 'no'}"] += 1
        if expected is not None and found != expected:
            self.wrong.append(f"{what}: {'taken' if found else 'refused'} ({why})")

    def set_parameter(self) -> None:
        name, make, good = self._draw.choice(SETTINGS)
        self._set_to(name, make(self._draw), good)

    def _set_to(self, name: str, value: ParameterValue, good: bool = True) -> None:
        answer = self._ask(self._set, SetParameters.Request(parameters=[Parameter(name=name, value=value)]), name)
        if answer is not None:
            result = answer.results[0]
            self._note(f"set {name}", result.successful, good, result.reason)

    def swap_model(self) -> None:
        bundle = self._draw.choice([*self._models, *self._models, "/no/such/bundle"])
        dry_run = self._draw.random() < 0.2
        answer = self._ask(self._set_model, SetModel.Request(bundle=bundle, dry_run=dry_run), "set_model")
        if answer is not None:
            self._note("set_model", answer.success, bundle in self._models, answer.message)

    def detect(self) -> None:
        camera = self._draw.choice([*self._cameras, "no_such_camera"])
        self._look(Detect.Request(camera=camera, timeout=3.0, want_heatmaps=self._draw.random() < 0.3))

    def _look(self, request: Detect.Request) -> None:
        answer = self._ask(self._detect, request, "detect")
        if answer is not None:
            # A camera may be away at the moment; one that does not exist has no pictures ever.
            self._note("detect", answer.success, None if request.camera in self._cameras else False, answer.message)

    def rest(self) -> None:
        for on in (False, True):
            answer = self._ask(self._enable, SetBool.Request(data=on), "enable")
            if answer is not None:
                self._note(f"enable {on}", answer.success, True, answer.message)
            self.idle(0.3)

    def fill(self) -> None:
        """Has the node make its largest messages, on every camera: DDS keeps as much for each topic from then on."""
        for name, value in LARGEST.items():
            self._set_to(name, value)
        self.idle(FILL_SECONDS)
        for camera in self._cameras * 2:
            self._look(Detect.Request(camera=camera, timeout=3.0, want_heatmaps=True))

    def idle(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=left)

    def work(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.fill()
        acts = [self.set_parameter] * 6 + [self.detect] * 3 + [self.swap_model] * 2 + [self.rest]
        while time.monotonic() < until:
            self._draw.choice(acts)()
            self.idle(self._draw.uniform(*PAUSE_SECONDS))


def main() -> int:
    parser = argparse.ArgumentParser(description="Work with an affordance node all the time.")
    parser.add_argument("--cameras", nargs="+", required=True, help="names of the node's cameras")
    parser.add_argument("--models", nargs="+", required=True, help="bundles to swap between")
    parser.add_argument("--seconds", type=float, required=True, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of what is done")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write at the end")
    options = parser.parse_args()
    rclpy.init()
    operator = Operator(options.cameras, options.models, options.seed)
    try:
        while operator.count_publishers(f"{NODE}/status") == 0:
            rclpy.spin_once(operator, timeout_sec=0.1)
        print(CONNECTED, flush=True)
        operator.work(options.seconds)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    write_json(options.out, {
        "answers": dict(sorted(operator.answers.items())), "wrong": operator.wrong, "heard": dict(operator.heard),
        "ages_ms": operator.ages_ms, "statuses": operator.statuses,
    })
    operator.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
