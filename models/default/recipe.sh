#!/usr/bin/env bash
# How the model in this folder was made, in about an hour on two cores. Needs: `make setup setup-train`, then
# `source scripts/env-train.sh` and `cargo build --release --features train --target-dir target/train`, that `looptrans` in PATH.
# Writes to ./work.
set -euo pipefail
mkdir -p work && cd work

looptrans synth --out synthaff --seed 1 --size full

# The backbone: first small views, then a little at the size that it is used at.
looptrans pretrain synthaff/Seen/trainset --out runs/dino112 --dim 128 --depth 4 --heads 4 --patch 16 --side 112 \
  --local-side 48 --local-crops 4 --batch 32 --epochs 24 --warmup 2 --lr 0.0007 --momentum 0.992 --scored 600 --threads 2
looptrans pretrain synthaff/Seen/trainset/egocentric --init runs/dino112/backbone.safetensors --side 224 --local-crops 0 \
  --batch 32 --epochs 1 --warmup 0 --lr 0.00005 --momentum 0.99 --seed 1 --scored 0 --threads 2 --out runs/dino224

options=(--backbone runs/dino224/backbone.safetensors --split Seen_none)
looptrans store build synthaff "${options[@]}" --variants 1 --half --out stores/none
looptrans train synthaff "${options[@]}" --store stores/none --out runs/looptrans --epochs 6 --lr 0.002 \
  --set optimizer.step_epochs=4 --set threads=2 --set looptrans.parts=6 --set looptrans.options.fg_threshold=0.7 \
  --set looptrans.options.saliency=border_contrast --set looptrans.options.background=below_mean
looptrans export runs/looptrans/best.safetensors --name default --out default

# Drawn from a seed that was looked at only for the figures in README.md.
looptrans synth --out fresh --seed 90001
looptrans eval default fresh --split Seen
looptrans eval default fresh --split Unseen
