#!/usr/bin/env bash
# Our node beside one in Python, in turns, over the same camera streams, with a ViT-S/16 of seeded weights and the model of
# models/default: tables on the terminal, all numbers and a figure in out/bench-peer. It takes half an hour and says so at the
# start; arguments choose less (--help). Timings never make it fail. Needs: source scripts/env.sh (`make bench-peer` does it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/demo/programs.sh
source scripts/demo/programs.sh

build_programs
seeded_bundle vit_small_16 agd20k-seen "$target/seeded/vit_small_16"
export PYTHONPATH=$PWD/benches:$PYTHONPATH:${LOOPTRANS_PEER_PACKAGES:?Run this by make bench-peer}
exec "$LOOPTRANS_PYTHON" -m peer.measure --programs "$programs" --out out/bench-peer \
  --model "$target/seeded/vit_small_16" models/default "$@"
