# shellcheck shell=bash
# Source this (bash or zsh) to build and run what needs libtorch by hand: cargo test --features train --test train

looptrans_root=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)
# shellcheck source=scripts/paths.sh
. "$looptrans_root/scripts/paths.sh"

# The build asks the first python3 for its torch, and the tests run PyTorch with it.
export PATH=$looptrans_train_prefix/bin:$PATH LIBTORCH_USE_PYTORCH=1
looptrans_libtorch=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib") + "/torch/lib")')
export LD_LIBRARY_PATH=$looptrans_libtorch:${LD_LIBRARY_PATH:-}
unset looptrans_root looptrans_libtorch
