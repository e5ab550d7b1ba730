#!/usr/bin/env bash
# Serves a judge with SGLang, as `judge` on http://127.0.0.1:1234/v1. Not run here: it wants GPUs.
#
#   recipes/judge/sglang.sh                                Qwen2.5-72B-Instruct over 8 GPUs, as LongVT's scripts do
#   recipes/judge/sglang.sh Qwen/Qwen3-8B 1 --reasoning-parser qwen3
#
# Then: export LLM_AS_A_JUDGE_BASE=http://127.0.0.1:1234/v1
# Only this machine reaches it; for others add --host 0.0.0.0 and --api-key. A prompt has at most 18,000 characters.
set -euo pipefail

model=${1:-Qwen/Qwen2.5-72B-Instruct}
gpus=${2:-8}
shift $(($# < 2 ? $# : 2))

exec python3 -m sglang.launch_server --model-path "$model" --served-model-name judge --host 127.0.0.1 --port 1234 \
  --tp-size "$gpus" --context-length 16384 "$@"
