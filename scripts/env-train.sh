# shellcheck shell=bash
# Source this (bash or zsh), after `make setup setup-train`, to work on training: `cargo build --features train` then works,
# and after `make setup-distributed` also `--features distributed`.
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
# Of `make setup-distributed`: an MPI of the machine's own comes first on PATH.
if [ -e "$looptrans_mpi_prefix/.done" ]; then
  export PATH=$PATH:$looptrans_mpi_prefix/bin
  export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$looptrans_mpi_prefix/lib
  if [ -z "${LIBCLANG_PATH:-}" ]; then
    LIBCLANG_PATH=$(echo "$looptrans_mpi_prefix"/lib/python3*/site-packages/clang/native)
    # This libclang comes without the compiler's own headers (stddef.h and such): take cc's.
    BINDGEN_EXTRA_CLANG_ARGS="-isystem $(cc -print-file-name=include)"
    export LIBCLANG_PATH BINDGEN_EXTRA_CLANG_ARGS
  fi
  # mpirun's Ctrl-C asks the processes to end and kills them this many seconds later: a step may take as long.
  export PRTE_MCA_odls_base_sigkill_timeout=${PRTE_MCA_odls_base_sigkill_timeout:-300}
fi
