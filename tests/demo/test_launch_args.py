import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

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
        return node_command(file, INSTALLED, arguments)

    def test_our_launch_file_starts_the_node_with_its_names_parameters_and_topics(self) -> None:
        command = node_command(
            ROOT / "launch" / "affordance.launch.xml", INSTALLED,
            {"image": "/cam/image", "params_file": "/tmp/own.yaml", "namespace": "arm"},
        )
        self.assertEqual(command[2], "/lib/affordance_node")
        pairs = list(zip(command, command[1:]))
        for pair in (
            ("-r", "__node:=affordance_node"), ("-r", "__ns:=/arm"),
            ("--params-file", "/tmp/own.yaml"), ("-r", "image:=/cam/image"),
        ):
            self.assertIn(pair, pairs)
        self.assertNotIn("$(", " ".join(command))

    def test_our_launch_file_takes_the_installed_parameters_by_default(self) -> None:
        command = node_command(ROOT / "launch" / "affordance.launch.xml", INSTALLED, {})
        file = command[command.index("--params-file") + 1]
        self.assertEqual(file, "/share/config/affordance_node.yaml")
        self.assertTrue((ROOT / "config" / "affordance_node.yaml").is_file())
        self.assertNotIn("__ns", " ".join(command))

    def test_our_launch_file_gives_fast_dds_the_node_s_profile_unless_there_is_another(self) -> None:
        name = "FASTRTPS_DEFAULT_PROFILES_FILE"
        for others, profile in (({}, "/share/config/fastdds_node.xml"), ({name: "/own.xml"}, "/own.xml")):
            with self.subTest(others), mock.patch.dict(os.environ, others):
                if not others:
                    os.environ.pop(name, None)
                command = node_command(ROOT / "launch" / "affordance.launch.xml", INSTALLED, {})
            self.assertEqual(command[:3], ["env", f"{name}={profile}", "/lib/affordance_node"])
        self.assertTrue((ROOT / "config" / "fastdds_node.xml").is_file())

    def test_substitutions_lie_within_each_other(self) -> None:
        body = '<arg name="a" default="$(env UNSET_XYZ $(env UNSET_ABC $(find-pkg-share looptrans_ros))/y)"/>'
        self.assertEqual(self.command(f'{body}<node pkg="looptrans_ros" exec="$(var a)"/>')[0], "/share/y")

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
            ('<node pkg="looptrans_ros" exec="n"><param name="rate" value="2.5"/></node>', {}, "<param name>"),
            ('<node pkg="looptrans_ros" exec="n"><unset_env name="A"/></node>', {}, "<unset_env>"),
            ('<arg name="a"/><node pkg="looptrans_ros" exec="$(var a)"/>', {"a": "$(var a)"}, "var a"),
        ):
            with self.subTest(body), self.assertRaisesRegex(LaunchError, word):
                self.command(body, **arguments)


if __name__ == "__main__":
    unittest.main()
