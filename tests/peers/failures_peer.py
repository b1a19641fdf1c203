"""A camera at 10 Hz and a listener to the node's outputs, until SIGINT or the end of stdin. Started by tests/ros_failures.rs."""

import os
import signal
import sys
import threading
import time
from array import array

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from looptrans_ros.msg import HeatmapArray

NODE = "/affordance_node"


def stream() -> None:
    rclpy.init()
    node = rclpy.create_node("failures_peer")
    images = node.create_publisher(Image, "/cam/image", qos_profile_sensor_data)
    calibrations = node.create_publisher(CameraInfo, "/camera_info", qos_profile_sensor_data)
    for kind, topic in ((Image, "heatmap"), (CameraInfo, "heatmap/camera_info"), (HeatmapArray, "heatmaps"), (Image, "overlay")):
        node.create_subscription(kind, f"{NODE}/{topic}", lambda _: None, 5, raw=True)
    image = Image(height=48, width=64, encoding="rgb8", step=192, data=array("B", bytes(range(192)) * 48))
    while rclpy.ok():
        image.header.stamp = node.get_clock().now().to_msg()
        images.publish(image)
        calibrations.publish(CameraInfo(header=image.header, height=48, width=64))
        rclpy.spin_once(node, timeout_sec=0.0)
        time.sleep(0.1)


def end_with_stdin() -> None:
    """For the one end that the test can't catch, being killed."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    threading.Thread(target=end_with_stdin, daemon=True).start()
    try:
        stream()
    except BaseException:
        # SIGINT may come at any time, also while rclpy starts.
        if rclpy.ok():
            raise
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
