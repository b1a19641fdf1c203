#!/usr/bin/env bash
# The node for minutes (MINUTES, 10 if not given) with four cameras that misbehave and somebody who works with it; fails if
# anything grows, gets lost or goes unanswered. Needs: source scripts/env.sh (`make soak` does it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/demo/programs.sh
source scripts/demo/programs.sh

build_programs
seeded_bundle toy cut_with,hit,hold,open "$target/seeded/toy"
exec "$LOOPTRANS_PYTHON" -m soak.run --programs "$programs" --models models/default "$target/seeded/toy" \
  --minutes "${MINUTES:-10}" --out out/soak
