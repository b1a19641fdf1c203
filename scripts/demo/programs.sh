# shellcheck shell=bash
# What the demo and the bench start; sourced by both, in the repository, after scripts/env.sh.

: "${LOOPTRANS_PYTHON:?Run this by make, or first: source scripts/env.sh}"
export PYTHONPATH=$PWD/scripts${PYTHONPATH:+:$PYTHONPATH}
target=${CARGO_TARGET_DIR:-target}
programs=$target/release

build_programs() {
  echo "Building the programs (the first time takes minutes) ..."
  cargo build --release --locked --features ros --bins
}

# A bundle of seeded weights, made anew each time so that it is never older than the code: it takes seconds.
seeded_bundle() { # architecture, actions, folder
  mkdir -p "$target/seeded"
  "$programs/looptrans" seed-weights --arch "$1" --actions "$2" --out "$target/seeded/$1.safetensors" >/dev/null
  "$programs/looptrans" export "$target/seeded/$1.safetensors" --name "seeded-$1" --out "$3" --force >/dev/null
}
