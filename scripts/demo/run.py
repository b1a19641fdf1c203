"""The demo: a camera peer, the affordance node and a planner peer, talking over ROS 2.

    PYTHONPATH=scripts python -m demo.run --programs target/release --model models/default --out out/demo
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from demo.command import SCENES, arguments, carry_out
from demo.launch_args import Installed, node_command
from demo.planner import CONNECT_SECONDS, CONNECTED
from demo.processes import Team, isolated_environment

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "looptrans_ros"
CAMERA_TOPIC = "/cam/image"
RATE_HZ = 10.0
# How long the first regions may take beyond the stream's own length, once the planner has found the node.
FIRST_REGIONS_SECONDS = 20.0
AFFORDANCES = ["hold", "cut_with", "open", "hit"]


def node_from_launch_file(programs: Path, settings: dict[str, Any], out: Path) -> list[str]:
    """The node's command line, as `ros2 launch` would make it from our launch file; its parameter file lies in `out`."""
    parameters = out / "affordance_node.yaml"
    parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": settings}}))
    installed = Installed(share={PACKAGE: REPOSITORY}, programs={PACKAGE: programs.resolve()})
    arguments = {"image": CAMERA_TOPIC, "camera_info": "/cam/camera_info", "params_file": str(parameters)}
    return node_command(REPOSITORY / "launch" / "affordance.launch.xml", installed, arguments)


def peer(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def stream(node: list[str], out: Path, seconds: float) -> None:
    """Run all three until the camera's last frame is accounted for; leaves the planner's files in `out`."""
    frames = round(seconds * RATE_HZ)
    with Team(isolated_environment(), out) as team:
        team.start("node", node)
        team.start("planner", peer("demo.planner", "--out", str(out), "--wait", str(seconds + FIRST_REGIONS_SECONDS)))
        # From the first frame on, so that none goes unseen.
        team.wait_for_word("planner", CONNECTED, CONNECT_SECONDS + 5)
        team.start("camera", peer("demo.camera", "--stills", str(out / SCENES), "--topics", CAMERA_TOPIC,
                                  "--frames", str(frames), "--rate", str(RATE_HZ)))
        team.wait("camera", seconds=seconds + 90)
        team.wait("planner", seconds=FIRST_REGIONS_SECONDS + 20)
        team.stop_cleanly("node")


def is_trained(model: Path) -> bool:
    contract = yaml.safe_load((model / "model.yaml").read_text())
    return bool(contract["provenance"]["trained"])


def tell(out: Path, trained: bool) -> None:
    """The results, in a few lines."""
    report = json.loads((out / "report.json").read_text())
    latency = report["latency_ms"]
    print(f"demo: {report['frames_in']} frames in = {report['processed']} processed + {report['dropped']} dropped"
          f" + {report['rejected']} rejected")
    print(f"demo: from camera to planner {latency['p50']} ms (median), {latency['p99']} ms (99 %),"
          f" on {report['provider']}, model {report['model_id']}")
    print(f"demo: pictures in {out}/overlays and {out}/sheet.png, regions in {out}/regions.json, numbers in {out}/report.json")
    if not trained:
        print("demo: this model's weights are seeded random numbers, not trained: where its heat lies means nothing yet.")


def run(programs: Path, model: Path, seconds: float, out: Path) -> int:
    """The whole demo; its exit status."""
    node = node_from_launch_file(programs, {"model": str(model.resolve()), "affordances": AFFORDANCES}, out)
    print(f"demo: streaming {seconds:.0f} s of them through the node at {RATE_HZ:.0f} Hz ...", flush=True)
    stream(node, out, seconds)
    tell(out, is_trained(model))
    return 0


def main() -> int:
    parser = arguments("Stream pictures through the affordance node over ROS 2.")
    parser.add_argument("--model", type=Path, required=True, help="model bundle")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the stream")
    options = parser.parse_args()
    return carry_out("demo", options.out, lambda: run(options.programs, options.model, options.seconds, options.out))


if __name__ == "__main__":
    sys.exit(main())
