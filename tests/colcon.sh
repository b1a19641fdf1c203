#!/usr/bin/env bash
# Does the package build and install the way a ROS 2 workspace does it?
# Covers: the message types alone; the whole package; what each installs; that the installed types and programs load.
# Needs: `source scripts/env.sh`. Builds in the set-up folder, not in the tree; shares Cargo's target folder with
# `cargo test`, so that r2r is not built a second time.
# Not covered: starting the launch file, for which ROS 2's launch is needed.
set -euo pipefail

looptrans_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/paths.sh
source "$looptrans_root/scripts/paths.sh"
# By checkout: several may share one set-up folder, and CMake refuses another's build.
work=$looptrans_deps/colcon/$(printf '%s' "$looptrans_root" | cksum | cut -d ' ' -f 1)

# A workspace has no copy of our types yet: forget the one that env.sh brought.
without_our_interfaces() {
  local ament=:$AMENT_PREFIX_PATH:
  ament=${ament//":$looptrans_interfaces:"/:}
  ament=${ament#:}
  export AMENT_PREFIX_PATH=${ament%:}
  unset PYTHONPATH
}

build() { # name, CMake arguments...
  local name=$1
  shift
  echo "colcon: building $name ..."
  # A fresh install folder: what an older run left must not hide a missing rule.
  rm -rf "${work:?}/$name/install"
  colcon --log-level error --log-base "$work/$name/log" build --base-paths "$looptrans_root" \
    --build-base "$work/$name/build" --install-base "$work/$name/install" --cmake-args "$@"
}

installs() { # name, test operator, files under its install folder...
  local name=$1 operator=$2 file # operator: of `test`
  shift 2
  for file in "$@"; do
    test "$operator" "$work/$name/install/looptrans_ros/$file" || { echo "colcon: $name does not install $file"; exit 1; }
  done
}

imports_types() { # name
  ( set +u # colcon's scripts read unset variables
    # shellcheck source=/dev/null
    source "$work/$1/install/local_setup.bash"
    "$LOOPTRANS_PYTHON" -c "
import looptrans_ros
from looptrans_ros.msg import GraspRegionArray
assert looptrans_ros.__file__.startswith('$work/$1/'), looptrans_ros.__file__
# The C type support loads with the first use only.
GraspRegionArray.__class__.__import_type_support__()
assert GraspRegionArray.__class__._TYPE_SUPPORT is not None" )
}

finds_onnx_runtime() { # name
  ( expected=$ORT_DYLIB_PATH
    unset ORT_DYLIB_PATH
    set +u # colcon's scripts read unset variables
    # shellcheck source=/dev/null
    source "$work/$1/install/local_setup.bash"
    test "${ORT_DYLIB_PATH:-}" = "$expected" || { echo "colcon: $1's environment does not name $expected"; exit 1; } )
}

without_our_interfaces

build interfaces -DLOOPTRANS_INTERFACES_ONLY=ON
installs interfaces -f share/looptrans_ros/package.xml share/looptrans_ros/msg/GraspRegionArray.msg
imports_types interfaces
test ! -e "$work/interfaces/install/looptrans_ros/lib/looptrans_ros/affordance_node"

build package -DLOOPTRANS_CARGO_PROFILE=dev \
  -DLOOPTRANS_CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$looptrans_root/target}" \
  -DLOOPTRANS_INTERFACES_PREFIX="$looptrans_interfaces"
installs package -x lib/looptrans_ros/affordance_node lib/looptrans_ros/looptrans
installs package -f share/looptrans_ros/launch/affordance.launch.xml share/looptrans_ros/config/{affordance_node.yaml,fastdds_node.xml}
imports_types package
"$work/package/install/looptrans_ros/lib/looptrans_ros/looptrans" --help >/dev/null
finds_onnx_runtime package

# This build took set-up's copy of the types; the one that a build by itself takes must be whole too.
stage=$work/package/build/looptrans_ros/stage
test -f "$stage/share/ament_index/resource_index/rosidl_interfaces/looptrans_ros"
test -f "$stage/include/looptrans_ros/looptrans_ros/msg/grasp_region_array.h"
test -f "$stage/lib/liblooptrans_ros__rosidl_typesupport_introspection_c.so"

echo "colcon: the package and its types build, install and load"
