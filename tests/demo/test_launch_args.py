import tempfile
import unittest
from pathlib import Path

import yaml

from demo.launch_args import Installed, LaunchError, node_command

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = Installed(share={"looptrans_ros": Path("/share")}, programs={"looptrans_ros": Path("/lib")})


class LaunchArguments(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.scratch = Path(folder.name)

    def command(self, body: str, **arguments: str) -> list[str]:
        file = self.scratch / "x.launch.xml"
        file.write_text(f"<launch>{body}</launch>")
        return node_command(file, INSTALLED, arguments, self.scratch)

    def test_our_launch_file_starts_the_node_with_its_names_parameters_and_topics(self) -> None:
        command = node_command(
            ROOT / "launch" / "affordance.launch.xml", INSTALLED,
            {"image": "/cam/image", "params_file": "/tmp/own.yaml", "namespace": "arm"}, self.scratch,
        )
        self.assertEqual(command[0], "/lib/affordance_node")
        pairs = list(zip(command, command[1:]))
        for pair in (
            ("-r", "__node:=affordance_node"), ("-r", "__ns:=/arm"),
            ("--params-file", "/tmp/own.yaml"), ("-r", "image:=/cam/image"),
        ):
            self.assertIn(pair, pairs)
        self.assertNotIn("$(", " ".join(command))

    def test_our_launch_file_takes_the_installed_parameters_by_default(self) -> None:
        command = node_command(ROOT / "launch" / "affordance.launch.xml", INSTALLED, {}, self.scratch)
        file = command[command.index("--params-file") + 1]
        self.assertEqual(file, "/share/config/affordance_node.yaml")
        self.assertTrue((ROOT / "config" / "affordance_node.yaml").is_file())
        self.assertNotIn("__ns", " ".join(command))

    def test_named_parameters_become_one_file_with_typed_values(self) -> None:
        command = self.command(
            '<node pkg="looptrans_ros" exec="n" name="m"><param name="rate" value="2.5"/><param name="count" value="3"/>'
            '<param name="actions" value="[cut, hold]"/><param name="on" value="true"/><remap from="a" to="/b"/></node>'
        )
        file = command[command.index("--params-file") + 1]
        self.assertEqual(command, ["/lib/n", "--ros-args", "-r", "__node:=m", "--params-file", file, "-r", "a:=/b"])
        expected = {"rate": 2.5, "count": 3, "actions": ["cut", "hold"], "on": True}
        self.assertEqual(yaml.safe_load(Path(file).read_text()), {"/**": {"ros__parameters": expected}})

    def test_a_default_may_use_an_argument_before_it(self) -> None:
        body = '<arg name="a" default="x"/><arg name="b" default="$(var a)/y"/><node pkg="looptrans_ros" exec="$(var b)"/>'
        self.assertEqual(self.command(body)[0], "/lib/x/y")
        self.assertEqual(self.command(body, a="z")[0], "/lib/z/y")

    def test_what_it_cannot_interpret_is_refused(self) -> None:
        node = '<node pkg="looptrans_ros" exec="n"/>'
        for body, arguments, word in (
            (node, {"typo": "1"}, "typo"),
            (f'<arg name="must"/>{node}', {}, "must"),
            (f"<group>{node}</group>", {}, "<node>"),
            (node + node, {}, "one <node>"),
            ('<node pkg="looptrans_ros" exec="n" if="false"/>', {}, "if"),
            ('<node pkg="other" exec="n"/>', {}, "other"),
            ('<node pkg="looptrans_ros" exec="$(env X)"/>', {}, "env"),
            ('<node pkg="looptrans_ros" exec="n"><env name="A" value="B"/></node>', {}, "<env>"),
        ):
            with self.subTest(body), self.assertRaisesRegex(LaunchError, word):
                self.command(body, **arguments)


if __name__ == "__main__":
    unittest.main()
