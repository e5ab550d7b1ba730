#!/usr/bin/env bash
# Serves a checkpoint for an evaluation with vLLM, as `longvt` on http://127.0.0.1:8000/v1. Not run here: it wants GPUs.
#
#   recipes/eval/serve.sh runs/longvt_7b/rft 8                      a copy on each of 8 GPUs
#   TEMPLATE= recipes/eval/serve.sh Qwen/Qwen3-VL-8B-Instruct 8     its own template has tools
#
# Qwen2.5-VL's own template has none, so ours is given. 128,000 tokens are all that Qwen2.5-VL takes: 768 frames of 64
# tokens and five crops of 128 frames are 90,112. Each picture is counted, so that as many must be allowed.
set -euo pipefail

model=${1:?a checkpoint}
copies=${2:-1}
shift $(($# < 2 ? $# : 2))
template=${TEMPLATE-$(python -c "import longvt_plugins as p; print(p.__path__[0])")/chat_templates/qwen2_5_vl.jinja}

exec vllm serve "$model" --served-model-name longvt --host 127.0.0.1 --port 8000 --data-parallel-size "$copies" \
  --max-model-len 128000 --limit-mm-per-prompt '{"image": 1408}' --enable-prefix-caching \
  --enable-auto-tool-choice --tool-call-parser hermes ${template:+--chat-template "$template"} "$@"
