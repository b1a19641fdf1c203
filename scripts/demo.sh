#!/usr/bin/env bash
# A camera, the affordance node and a planner, talking over ROS 2; pictures and numbers go to out/demo.
# Needs: source scripts/env.sh (`make demo` does it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/demo/programs.sh
source scripts/demo/programs.sh

build_programs
model=models/default
if [ ! -e "$model/model.yaml" ]; then
  model=$target/seeded/demo
  echo "There is no trained model in models/default: making a ViT-S/16 of seeded random weights. Its heat means nothing yet."
  seeded_bundle vit_small_16 agd20k-seen "$model"
else
  echo "The model in $model was trained on drawings and is often wrong (see its README.md); for real things train your own."
fi
exec "$LOOPTRANS_PYTHON" -m demo.run --programs "$programs" --model "$model" --out out/demo
