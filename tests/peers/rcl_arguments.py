"""Gives command lines to rcl and says what it makes of them.

stdin: one JSON list of arguments per line, without the program's name.
stdout: per line, {"ok": false, "error": "..."} or {"ok": true, "name": "/ns/node", "parameters": {name: value}}.
A value is a text: the type, a space, and the value (doubles by their bits, so that NaN and -0.0 can be compared).
"""

import json
import struct
import sys

from answers import answers_alone_on_stdout
from rclpy.context import Context
from rclpy.node import Node

NODE = "affordance_node"


def written(parameter):
    kind, value = parameter.type_.name, parameter.value
    if kind == "DOUBLE":
        # One NaN is like another.
        value = "nan" if value != value else struct.pack(">d", value).hex()
    elif kind == "DOUBLE_ARRAY":
        value = ["nan" if item != item else struct.pack(">d", item).hex() for item in value]
    elif value is not None and not isinstance(value, (bool, int, str)):
        value = list(value)
    return f"{kind} {json.dumps(value, ensure_ascii=False)}"


def answer(arguments):
    context = Context()
    try:
        context.init(args=["program", *arguments])
    except Exception as error:  # rclpy has an exception of its own for each thing it refuses.
        return {"ok": False, "error": str(error)}
    try:
        node = Node(NODE, context=context, start_parameter_services=False, enable_rosout=False)
        parameters = {name: written(parameter) for name, parameter in node._parameter_overrides.items()}
        result = {"ok": True, "name": node.get_fully_qualified_name(), "parameters": parameters}
        node.destroy_node()
        return result
    except Exception as error:
        return {"ok": False, "error": str(error)}
    finally:
        context.try_shutdown()


answers = answers_alone_on_stdout()
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
