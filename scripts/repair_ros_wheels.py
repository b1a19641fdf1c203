"""Make a Python environment that holds the ros-jazzy-* wheels a working ROS 2 prefix.

    <prefix>/bin/python repair_ros_wheels.py

The wheels were made to be imported by Python. Four things keep programs that are not Python from
building against them and loading them; each function mends one. Running it twice changes nothing more.
"""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy

PREFIX = Path(sys.prefix)
LIB = PREFIX / "lib"
PURELIB = Path(sysconfig.get_path("purelib"))


def patchelf(*arguments: str) -> str:
    command = [str(PREFIX / "bin" / "patchelf"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def libraries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.so*") if not path.is_symlink())


def link_rmw_implementation() -> None:
    """The wheels know one middleware and leave out the library that picks one; r2r links to it by name."""
    link = LIB / "librmw_implementation.so"
    if not link.is_symlink():
        link.symlink_to("librmw_fastrtps_cpp.so")


def drop_python_support_libraries() -> None:
    """Some C libraries, librcl among them, list Python support libraries, which only Python can load."""
    for library in libraries(LIB):
        if "generator_py" in library.name:
            continue
        for needed in patchelf("--print-needed", str(library)).split():
            if "generator_py" in needed:
                patchelf("--remove-needed", needed, str(library))


def set_run_paths() -> None:
    """Third-party libraries lie in site-packages/ros_*.libs: let all libraries find them, and they each other."""
    bundled = sorted(PURELIB.glob("ros_*.libs"))
    for folder in [LIB, *bundled]:
        run_path = ":".join(["$ORIGIN", str(LIB), *map(str, bundled)])
        for library in libraries(folder):
            patchelf("--force-rpath", "--set-rpath", run_path, str(library))


def rewrite_cmake_paths() -> None:
    """The CMake exports name the Python and numpy headers of the machine that made the wheels."""
    python = re.compile(r"/opt/python/[^/;\"]+/include/python3\.\d+")
    numpy_headers = re.compile(r"/opt/python/[^/;\"]+/lib/python3\.\d+/site-packages/numpy/_core/include")
    for path in (PREFIX / "share").rglob("*.cmake"):
        before = path.read_text()
        after = numpy_headers.sub(numpy.get_include(), before)
        after = python.sub(sysconfig.get_path("include"), after)
        if after != before:
            path.write_text(after)


if __name__ == "__main__":
    link_rmw_implementation()
    drop_python_support_libraries()
    set_run_paths()
    rewrite_cmake_paths()
