# shellcheck shell=bash
# Source this (bash or zsh) to work by hand; `cargo build --features ros` then works:
#   source scripts/env.sh
# Sourcing it again, or after the messages changed, replaces what it set before.

looptrans_root=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)
# shellcheck source=scripts/paths.sh
. "$looptrans_root/scripts/paths.sh"

if [ ! -e "$looptrans_interfaces/.done" ]; then
  echo "looptrans_ros: set-up has not run, or the messages changed since. Run: make setup" >&2
  return 1
fi

# The Python that can import rclpy, our messages, numpy and PIL.
export LOOPTRANS_PYTHON=$looptrans_python_prefix/bin/python
export LOOPTRANS_PEER_PACKAGES=$looptrans_peer_packages
looptrans_site=$("$LOOPTRANS_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
looptrans_package() { # the folder of a Python package: ours, or the machine's own of the same version
  "$LOOPTRANS_PYTHON" -c 'import importlib.util, sys; print(*importlib.util.find_spec(sys.argv[1]).submodule_search_locations)' "$1"
}

looptrans_ament=$(looptrans_outside "${AMENT_PREFIX_PATH:-}")
looptrans_path=$(looptrans_outside "$PATH")
looptrans_libraries=$(looptrans_outside "${LD_LIBRARY_PATH:-}")
looptrans_modules=$(looptrans_outside "${PYTHONPATH:-}")
if [ "$looptrans_ros" = wheels ]; then
  export LOOPTRANS_ROS_PREFIX=$looptrans_python_prefix ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3
  # The only one that the wheels hold.
  export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
  export AMENT_PREFIX_PATH=$looptrans_interfaces:$looptrans_python_prefix$looptrans_ament
  export LD_LIBRARY_PATH=$looptrans_interfaces/lib:$looptrans_python_prefix/lib$looptrans_libraries
  export PATH=$looptrans_python_prefix/bin$looptrans_path
  # The wheels' Python adds their folders to LD_LIBRARY_PATH and leaves this for its children: for them they are gone now.
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
else
  export AMENT_PREFIX_PATH=$looptrans_interfaces$looptrans_ament
  export LD_LIBRARY_PATH=$looptrans_interfaces/lib$looptrans_libraries
  # Last, so that the machine's own cmake, colcon and Python come first.
  export PATH=${looptrans_path#:}:$looptrans_python_prefix/bin
fi
# Our messages are installed under the same lib/python3.X/site-packages as the environment has.
export PYTHONPATH=$looptrans_interfaces${looptrans_site#"$looptrans_python_prefix"}$looptrans_modules

# A library of the user's own choice, for example a GPU build, stays.
case ${ORT_DYLIB_PATH:-$looptrans_deps/} in
  "$looptrans_deps"/*) ORT_DYLIB_PATH=$(echo "$looptrans_onnx_runtime"/onnxruntime/capi/libonnxruntime.so.*) ;;
esac
export ORT_DYLIB_PATH
case ${LIBCLANG_PATH:-$looptrans_deps/} in
  "$looptrans_deps"/*)
    LIBCLANG_PATH=$(looptrans_package clang)/native
    # This libclang comes without the compiler's own headers (stddef.h and such): take cc's.
    BINDGEN_EXTRA_CLANG_ARGS="-isystem $(cc -print-file-name=include)"
    export LIBCLANG_PATH BINDGEN_EXTRA_CLANG_ARGS
    ;;
esac

unset -f looptrans_outside looptrans_package
unset looptrans_root looptrans_deps looptrans_python_prefix looptrans_onnx_runtime looptrans_message_hash looptrans_interfaces looptrans_ros looptrans_peer_packages \
  looptrans_site looptrans_ament looptrans_path looptrans_libraries looptrans_modules
