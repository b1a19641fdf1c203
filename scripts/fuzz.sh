#!/usr/bin/env bash
# Looks for inputs that break a promise: scripts/fuzz.sh TARGET SECONDS (`make fuzz` does it). Starts from the kept
# inputs in fuzz/corpus/TARGET; what it adds lies in fuzz/target/found/TARGET, what breaks in fuzz/artifacts/TARGET.
#
#   scripts/fuzz.sh TARGET keep     replaces the kept inputs by the 50 that reach most of what was reached
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

targets=$(ls fuzz/fuzz_targets | sed 's/\.rs$//' | paste -sd' ')
target=${1:-} seconds=${2:-60}
if [ ! -e "fuzz/fuzz_targets/$target.rs" ] || ! [[ $seconds =~ ^([1-9][0-9]*|keep)$ ]]; then
  echo "looptrans_ros: expected TARGET=(one of $targets) SECONDS=(a whole number)" >&2
  exit 2
fi
if ! cargo +nightly --version > /dev/null 2>&1; then
  rustup toolchain install nightly --profile minimal ||
    { echo "looptrans_ros: fuzzing needs Rust's nightly toolchain, which can't be installed here" >&2; exit 1; }
fi
if ! cargo fuzz --version > /dev/null 2>&1; then
  cargo install cargo-fuzz --locked ||
    { echo "looptrans_ros: fuzzing needs cargo-fuzz, which can't be installed here" >&2; exit 1; }
fi

kept=fuzz/corpus/$target found=fuzz/target/found/$target
mkdir -p "$kept" "$found" "fuzz/artifacts/$target"
# An input of more than a few kilobytes says nothing that a short one can't. Absurd memory and hangs are findings.
options=(-rss_limit_mb=1024 -timeout=10 -max_len=8192 -len_control=0)
case $target in
  # Checkpoints and models are as large as their smallest sound file.
  checkpoint) options+=(-max_len=32768) ;;
  # ONNX Runtime keeps what it once allocated, and its own leaks are not what is looked for.
  bundle_load) options+=(-detect_leaks=0 -rss_limit_mb=2560) ;;
esac

if [ "$seconds" = keep ]; then
  exec python3 scripts/fuzz_keep.py "$target" "${options[@]}"
fi
exec cargo +nightly fuzz run "$target" "$found" "$kept" -- "${options[@]}" -max_total_time="$seconds" -print_final_stats=1
