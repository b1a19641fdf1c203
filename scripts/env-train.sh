# shellcheck shell=bash
# Source this (bash or zsh), after `make setup setup-train`, to work on training: `cargo build --features train` then works.
# A file of its own, because crate `tch` takes libtorch from the first python3 on PATH, and ROS 2 wants another there.

looptrans_root=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)
# shellcheck source=scripts/paths.sh
. "$looptrans_root/scripts/paths.sh"

if [ ! -e "$looptrans_train_prefix/.done" ]; then
  echo "looptrans_ros: libtorch is not installed. Run: make setup setup-train" >&2
  return 1
fi
export LIBTORCH_USE_PYTORCH=1
export PATH=$looptrans_train_prefix/bin:$PATH
looptrans_torch=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch/lib
export LD_LIBRARY_PATH=$looptrans_torch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# For `looptrans export`, `eval` and `predict`; a library of the user's own choice stays. Missing without `make setup`.
if [ -z "${ORT_DYLIB_PATH:-}" ] && [ -d "$looptrans_onnx_runtime" ]; then
  ORT_DYLIB_PATH=$(echo "$looptrans_onnx_runtime"/onnxruntime/capi/libonnxruntime.so.*)
  export ORT_DYLIB_PATH
fi
