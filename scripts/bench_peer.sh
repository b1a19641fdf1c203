#!/usr/bin/env bash
# Our node beside one in Python, in turns, over the same camera stream: table on the terminal, all numbers and a figure in
# out/bench-peer. Timings never make it fail. Needs: source scripts/env.sh (`make bench-peer` does it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/demo/programs.sh
source scripts/demo/programs.sh

build_programs
seeded_bundle vit_small_16 agd20k-seen "$target/seeded/vit_small_16"
export PYTHONPATH=$PWD/benches:$PYTHONPATH:${LOOPTRANS_PEER_PACKAGES:?Run this by make bench-peer}
exec "$LOOPTRANS_PYTHON" -m peer.measure --programs "$programs" --model "$target/seeded/vit_small_16" --out out/bench-peer "$@"
