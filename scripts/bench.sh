#!/usr/bin/env bash
# What the node costs: time by stage, age of results under overload, memory. Table on the terminal, all of it in
# out/bench/bench.json. Timings never make it fail. Needs: source scripts/env.sh (`make bench` does it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/demo/programs.sh
source scripts/demo/programs.sh

build_programs
seeded_bundle vit_small_16 agd20k-seen "$target/seeded/bench"
seeded_bundle toy cut_with,hit,hold,open "$target/seeded/toy"
exec "$LOOPTRANS_PYTHON" -m bench.measure --programs "$programs" --model "$target/seeded/bench" \
  --small-model "$target/seeded/toy" --out out/bench "$@"
