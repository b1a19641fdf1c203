"""What `ros2 launch` would start for the one <node> of a launch file, where ROS 2's launch is not installed.

    PYTHONPATH=scripts python -m demo.launch_args launch/affordance.launch.xml --share looptrans_ros=. \
        --programs looptrans_ros=target/release image:=/cam/image

Understands what our launch file uses and refuses the rest, rather than start something else than launch would:
<arg> with a default, one <node> with <env>, <param from> and <remap>, $(var X), $(find-pkg-share P), $(env X DEFAULT), one
within another.
"""

import argparse
import os
import re
import shlex
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from demo.processes import RunError

# One with none within it.
SUBSTITUTION = re.compile(r"\$\(([\w-]+) ([^()\s]+)(?: ([^()]+))?\)")
# How launch treats the process; none of it reaches the command line.
PROCESS_ATTRIBUTES = {"output", "respawn", "respawn_delay"}
NODE_ELEMENTS = {"env", "param", "remap"}
NODE_ATTRIBUTES = {"pkg", "exec", "name", "namespace", "args", "ros_args"} | PROCESS_ATTRIBUTES


class LaunchError(RunError):
    """The launch file, or what it was given, is not something this module can start faithfully."""


@dataclass(frozen=True)
class Installed:
    """Where packages lie: their share folders, and the folders of their programs."""

    share: dict[str, Path]
    programs: dict[str, Path]


@dataclass
class Substitutions:
    """Values for $(...) in the file's texts."""

    installed: Installed
    variables: dict[str, str] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        replaced = text
        while match := SUBSTITUTION.search(replaced):
            value = self._one(*match.groups())
            if "$(" in value:
                raise LaunchError(f"can't take {value} as the value of {match[0]}")
            replaced = replaced[:match.start()] + value + replaced[match.end():]
        if "$(" in replaced:
            raise LaunchError(f"can't read the substitution in: {text}")
        return replaced

    def _one(self, kind: str, name: str, default: str | None) -> str:
        if kind == "env" and default is not None:
            return os.environ.get(name, default)
        if kind == "var" and default is None and name in self.variables:
            return self.variables[name]
        if kind == "find-pkg-share" and default is None and name in self.installed.share:
            return str(self.installed.share[name])
        raise LaunchError(f"no value for $({kind} {name})")


def node_command(launch_file: Path, installed: Installed, arguments: dict[str, str]) -> list[str]:
    """The node's command line, with the environment in front of it."""
    root = ElementTree.parse(launch_file).getroot()
    _require(root.tag == "launch", f"expected <launch>, found <{root.tag}>")
    substitute = Substitutions(installed)
    _declare(root, arguments, substitute)
    nodes = [element for element in root if element.tag != "arg"]
    _require(len(nodes) == 1 and nodes[0].tag == "node", "expected one <node> beside <arg>")
    return _command(nodes[0], substitute)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise LaunchError(message)


def _declare(root: ElementTree.Element, arguments: dict[str, str], substitute: Substitutions) -> None:
    left = dict(arguments)
    for element in root.iter("arg"):
        name = element.attrib["name"]
        value = left.pop(name, element.get("default"))
        if value is None:
            raise LaunchError(f"the launch argument {name} has no default: give {name}:=VALUE")
        # A given value is literal; a default may use what was declared before it.
        substitute.variables[name] = value if name in arguments else substitute(value)
    _require(not left, f"no such launch argument: {', '.join(sorted(left))}")


def _command(node: ElementTree.Element, substitute: Substitutions) -> list[str]:
    unknown = (set(node.attrib) - NODE_ATTRIBUTES) | {f"<{element.tag}>" for element in node if element.tag not in NODE_ELEMENTS}
    unknown |= {f"<param {name}>" for param in node.iter("param") for name in set(param.attrib) - {"from"}}
    _require(not unknown, f"can't interpret the node's {', '.join(sorted(unknown))}")
    texts = {name: substitute(value) for name, value in node.attrib.items()}
    programs = substitute.installed.programs
    _require(texts["pkg"] in programs, f"don't know where the programs of {texts['pkg']} are")

    command = [str(programs[texts["pkg"]] / texts["exec"]), *shlex.split(texts.get("args", ""))]
    variables = [f"{variable.attrib['name']}={substitute(variable.attrib['value'])}" for variable in node.iter("env")]
    if variables:
        command = ["env", *variables, *command]
    if texts.get("ros_args"):
        command += ["--ros-args", *shlex.split(texts["ros_args"])]
    command.append("--ros-args")
    if texts.get("name"):
        command += ["-r", f"__node:={texts['name']}"]
    if texts.get("namespace"):
        command += ["-r", f"__ns:=/{texts['namespace'].lstrip('/')}"]
    for param in node.iter("param"):
        command += ["--params-file", substitute(param.attrib["from"])]
    for remap in node.iter("remap"):
        command += ["-r", f"{substitute(remap.attrib['from'])}:={substitute(remap.attrib['to'])}"]
    return command


def _pairs(texts: list[str], separator: str) -> dict[str, str]:
    for text in texts:
        _require(separator in text, f"expected NAME{separator}VALUE, found {text}")
    return dict(text.split(separator, 1) for text in texts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the command that ros2 launch would start for a node.")
    parser.add_argument("file", type=Path, help="launch file (XML)")
    parser.add_argument("arguments", nargs="*", metavar="NAME:=VALUE", help="launch arguments")
    parser.add_argument("--share", action="append", default=[], metavar="PACKAGE=FOLDER", help="a package's share folder")
    parser.add_argument("--programs", action="append", default=[], metavar="PACKAGE=FOLDER", help="where its programs are")
    options = parser.parse_args()
    try:
        share, programs = (
            {name: Path(folder) for name, folder in _pairs(texts, "=").items()} for texts in (options.share, options.programs)
        )
        arguments = _pairs(options.arguments, ":=")
        command = node_command(options.file, Installed(share, programs), arguments)
    except (LaunchError, OSError, ElementTree.ParseError) as error:
        parser.exit(1, f"{options.file}: {error}\n")
    print(shlex.join(command))


if __name__ == "__main__":
    main()
