"""ROS 2 for tests written in Rust: one JSON command a line on stdin, one JSON event a line on stdout.

Commands (all have "op"):
  subscribe   topic type [reliability] [durability] [depth]   -> a "message" event for each message
  unsubscribe topic
  advertise   topic type [reliability] [depth]
  publish     topic message          bytes are written {"hex": "..."}
  flood       topic message count    the same message again and again, its stamp's nanoseconds counting up
  matched     topic count            -> a "matched" event once that many subscriptions and publishers are there
  call        service type request [times]  -> a "responses" event: that many answers to that many parallel requests
  ask         service type request [times]  -> an "answers" event once all are there; other commands go on
  vanish      service type request   a client sends a request and is gone before the answer
  services    node                   -> a "services" event: what that node serves
  topics      node                   -> a "topics" event: what that node subscribes to and publishes, with types
  qos         node topic             -> a "qos" event: what that node's ends of the topic offer and ask for
Every command is answered by a "done" event. Errors end the program.

Also: bridge.py --vanish SERVICE TYPE JSON   sends a request and is gone
      bridge.py --deserialize TYPE FILE    prints the serialised message in FILE as JSON
      bridge.py --serialize TYPE           writes the JSON message on stdin, serialised, to stdout
"""

import array
import importlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from typing import Any, TextIO

import numpy
import rclpy
from answers import answers_alone_on_stdout
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message

MATCH_SECONDS = 55.0
# rclpy's default is ten: of more answers at once the oldest are lost.
ANSWERS_KEPT = 100


def service_class(name: str) -> type:
    package, _, service = name.split("/")
    return getattr(importlib.import_module(f"{package}.srv"), service)


def message_class(name: str) -> type:
    package, _, message = name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), message)


def to_json(value: Any) -> Any:
    """A message as JSON: bytes in hex, NaN and infinity as strings (JSON has neither)."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: to_json(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, bytes) or (isinstance(value, array.array) and value.typecode == "B"):
        return {"hex": bytes(value).hex()}
    if isinstance(value, (list, tuple, array.array, numpy.ndarray)):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.item() if isinstance(value, numpy.generic) else value


def fill(message: Any, values: dict[str, Any]) -> Any:
    for name, value in values.items():
        current = getattr(message, name)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            # The element's class is only in the field's type: "sequence<package/Message>".
            kind = message.get_fields_and_field_types()[name].removeprefix("sequence<").removesuffix(">")
            package, message_name = kind.split("/")
            value = [fill(message_class(f"{package}/msg/{message_name}")(), item) for item in value]
        if isinstance(value, dict) and "hex" in value:
            setattr(message, name, array.array("B", bytes.fromhex(value["hex"])))
        elif isinstance(value, dict):
            fill(current, value)
        else:
            setattr(message, name, value)
    return message


def profile(command: dict[str, Any]) -> QoSProfile:
    return QoSProfile(
        depth=command.get("depth", 10),
        reliability=ReliabilityPolicy[command.get("reliability", "reliable").upper()],
        durability=DurabilityPolicy[command.get("durability", "volatile").upper()],
    )


class Bridge:
    def __init__(self, events: TextIO) -> None:
        self.events = events
        self.node = rclpy.create_node("test_peer")
        self.subscriptions: dict[str, Any] = {}
        self.publishers: dict[str, Any] = {}
        self.types: dict[str, type] = {}
        self.clients: dict[str, Any] = {}
        self.lock = threading.Lock()

    def say(self, event: str, **fields: Any) -> None:
        with self.lock:
            print(json.dumps({"event": event, **fields}), file=self.events, flush=True)

    def subscribe(self, command: dict[str, Any]) -> None:
        topic = command["topic"]

        def heard(message: Any) -> None:
            self.say("message", topic=topic, message=to_json(message))

        kind = message_class(command["type"])
        self.subscriptions[topic] = self.node.create_subscription(kind, topic, heard, profile(command))

    def unsubscribe(self, command: dict[str, Any]) -> None:
        self.node.destroy_subscription(self.subscriptions.pop(command["topic"]))

    def advertise(self, command: dict[str, Any]) -> None:
        topic = command["topic"]
        self.types[topic] = message_class(command["type"])
        self.publishers[topic] = self.node.create_publisher(self.types[topic], topic, profile(command))

    def publish(self, command: dict[str, Any]) -> None:
        topic = command["topic"]
        self.publishers[topic].publish(fill(self.types[topic](), command["message"]))

    def flood(self, command: dict[str, Any]) -> None:
        topic = command["topic"]
        message = fill(self.types[topic](), command["message"])
        for _ in range(command["count"]):
            self.publishers[topic].publish(message)
            message.header.stamp.nanosec += 1

    def matched(self, command: dict[str, Any]) -> None:
        topic, count = command["topic"], command["count"]
        deadline = time.monotonic() + MATCH_SECONDS
        while self.partners(topic) != count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{topic}: {self.partners(topic)} partners after {MATCH_SECONDS} s, not {count}")
            time.sleep(0.02)
        self.say("matched", topic=topic)

    def partners(self, topic: str) -> int:
        """Endpoints of other nodes that our own one on this topic talks to."""
        if topic in self.publishers:
            return self.publishers[topic].get_subscription_count()
        return self.node.count_publishers(topic)

    def client(self, kind: type, service: str) -> Any:
        """One for each service: a node remembers clients that are not destroyed, and its memory is measured."""
        if service not in self.clients:
            qos = QoSProfile(depth=ANSWERS_KEPT)
            self.clients[service] = self.node.create_client(kind, service, qos_profile=qos)
        if not self.clients[service].wait_for_service(MATCH_SECONDS):
            raise SystemExit(f"no service {service} after {MATCH_SECONDS} s")
        return self.clients[service]

    def call(self, command: dict[str, Any]) -> None:
        kind = service_class(command["type"])
        client = self.client(kind, command["service"])
        requests = [fill(kind.Request(), command["request"]) for _ in range(command.get("times", 1))]
        futures = [client.call_async(request) for request in requests]
        deadline = time.monotonic() + MATCH_SECONDS
        while not all(future.done() for future in futures):
            if time.monotonic() > deadline:
                done = sum(future.done() for future in futures)
                raise SystemExit(f"{command['service']}: {done} of {len(futures)} requests were answered")
            time.sleep(0.001)
        self.say("responses", responses=[to_json(future.result()) for future in futures])

    def ask(self, command: dict[str, Any]) -> None:
        kind = service_class(command["type"])
        client = self.client(kind, command["service"])
        requests = [fill(kind.Request(), command["request"]) for _ in range(command.get("times", 1))]
        answers: list[Any] = []

        def answered(future: Any) -> None:
            answers.append(to_json(future.result()))
            if len(answers) == len(requests):
                self.say("answers", answers=answers)

        for request in requests:
            client.call_async(request).add_done_callback(answered)

    def vanish(self, command: dict[str, Any]) -> None:
        arguments = [command["service"], command["type"], json.dumps(command["request"])]
        # Its shared memory stays behind, so it has none of a camera's size.
        environment = {name: value for name, value in os.environ.items() if name != "FASTRTPS_DEFAULT_PROFILES_FILE"}
        subprocess.run([sys.executable, __file__, "--vanish", *arguments], check=True, env=environment)

    def topics(self, command: dict[str, Any]) -> None:
        space, _, name = command["node"].rpartition("/")
        deadline = time.monotonic() + MATCH_SECONDS
        while (name, space or "/") not in self.node.get_node_names_and_namespaces():
            if time.monotonic() > deadline:
                raise SystemExit(f"no node {command['node']} after {MATCH_SECONDS} s")
            time.sleep(0.02)
        subscribed = self.node.get_subscriber_names_and_types_by_node(name, space or "/")
        published = self.node.get_publisher_names_and_types_by_node(name, space or "/")
        self.say("topics", subscribed=dict(subscribed), published=dict(published))

    def qos(self, command: dict[str, Any]) -> None:
        topic = command["topic"]

        def ends(found: list[Any]) -> list[dict[str, Any]]:
            return [
                {
                    "reliability": end.qos_profile.reliability.name.lower(),
                    "durability": end.qos_profile.durability.name.lower(),
                    "liveliness": end.qos_profile.liveliness.name.lower(),
                    "deadline": end.qos_profile.deadline.nanoseconds,
                    "lifespan": end.qos_profile.lifespan.nanoseconds,
                    "liveliness_lease_duration": end.qos_profile.liveliness_lease_duration.nanoseconds,
                }
                for end in found
                if f"{end.node_namespace.rstrip('/')}/{end.node_name}" == command["node"]
            ]

        deadline = time.monotonic() + MATCH_SECONDS
        while True:
            publishers = ends(self.node.get_publishers_info_by_topic(topic))
            subscriptions = ends(self.node.get_subscriptions_info_by_topic(topic))
            if publishers or subscriptions:
                self.say("qos", publishers=publishers, subscriptions=subscriptions)
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"{command['node']} has no end of {topic} after {MATCH_SECONDS} s")
            time.sleep(0.02)

    def services(self, command: dict[str, Any]) -> None:
        space, _, name = command["node"].rpartition("/")
        served = self.node.get_service_names_and_types_by_node(name, space or "/")
        self.say("services", services=sorted(name for name, _ in served))

    def serve(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            getattr(self, command["op"])(command)
            self.say("done", op=command["op"])


def run() -> None:
    events = answers_alone_on_stdout()
    rclpy.init()
    bridge = Bridge(events)
    executor = SingleThreadedExecutor()
    executor.add_node(bridge.node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    bridge.say("ready")
    bridge.serve()
    rclpy.try_shutdown()
    thread.join(5)


def vanish(service: str, kind_name: str, request: str) -> None:
    rclpy.init()
    kind = service_class(kind_name)
    client = rclpy.create_node("vanishing_peer").create_client(kind, service)
    client.wait_for_service(MATCH_SECONDS)
    client.call_async(fill(kind.Request(), json.loads(request)))
    os._exit(0)  # as a killed process does: no goodbye


def main() -> None:
    match sys.argv[1:]:
        case []:
            run()
        case ["--vanish", service, kind, request]:
            vanish(service, kind, request)
        case ["--deserialize", kind, file]:
            with open(file, "rb") as bytes_of:
                print(json.dumps(to_json(deserialize_message(bytes_of.read(), message_class(kind)))))
        case ["--serialize", kind]:
            message = fill(message_class(kind)(), json.load(sys.stdin))
            sys.stdout.buffer.write(serialize_message(message))
        case other:
            raise SystemExit(f"unknown arguments {other}\n{__doc__}")


if __name__ == "__main__":
    main()
