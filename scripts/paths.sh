# shellcheck shell=bash disable=SC2034 # used by the files that source this
# Where set-up puts things, and what all work in the repository shares. Needs $looptrans_root, the repository.

looptrans_deps=${LOOPTRANS_DEPS_DIR:-$looptrans_root/.deps}

# A Python environment with cmake, libclang and colcon. Without a sourced ROS 2 it is the ROS 2 prefix as well.
looptrans_python_prefix=$looptrans_deps/python

# ONNX Runtime's wheel, for its library.
looptrans_onnx_runtime=$looptrans_python_prefix/onnxruntime

# A Python environment with torch, for training.
looptrans_train_prefix=$looptrans_deps/train

# Open MPI, where the machine has no MPI of its own, and libclang: for training on several processes.
looptrans_mpi_prefix=$looptrans_deps/mpi

# Python packages that only `make bench-peer` needs.
looptrans_peer_packages=$looptrans_deps/peer

# Our message types, built. The path changes with the messages, because r2r generates its bindings anew
# only when AMENT_PREFIX_PATH changes, not when the files behind it do.
looptrans_message_hash=$(cat "$looptrans_root"/msg/*.msg "$looptrans_root"/srv/*.srv | sha256sum | cut -c1-12)
looptrans_interfaces=$looptrans_deps/interfaces/$looptrans_message_hash

# "sourced DISTRO": a ROS 2 is sourced and is used as it is. "wheels": set-up brings its own.
# LOOPTRANS_ROS_PREFIX tells that the sourced one is the one that env.sh brought.
if [ -n "${AMENT_PREFIX_PATH:-}" ] && [ -n "${ROS_DISTRO:-}" ] && [ -z "${LOOPTRANS_ROS_PREFIX:-}" ]; then
  looptrans_ros="sourced $ROS_DISTRO"
else
  looptrans_ros=wheels
fi

looptrans_outside() { # of a path list, what lies outside our folder; each entry after a colon
  printf '%s' "$1" | awk -v RS=: -v ours="$looptrans_deps/" 'NF && index($0, ours) != 1 { printf ":%s", $0 }'
}

# To ONNX Runtime's users in Python and in tests: our programs refuse by themselves (src/telemetry.rs).
export ORT_DISABLE_TELEMETRY=1
