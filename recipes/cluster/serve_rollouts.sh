#!/usr/bin/env bash
# Serves the model whose rollouts a training asks for (vllm_mode: server), with vLLM 0.30 or newer. Not run here: GPUs.
#
#   recipes/cluster/serve_rollouts.sh runs/longvt_7b/sft 8                     8 copies on 8 GPUs of this node
#   recipes/cluster/serve_rollouts.sh runs/longvt_7b/sft 16 --data-parallel-size-local 8 --data-parallel-address $HEAD
#                                                                             over two nodes; see vLLM's own manual
#
# Whoever reaches the port can replace the model's weights: keep it inside the cluster. 53,248 tokens hold a prompt
# of 36,000 and 16,384 of turns and replies; a conversation may show 512 frames and five crops of 128.
set -euo pipefail

model=${1:?a checkpoint, the one that model_name_or_path names}
copies=${2:-1}
shift $(($# < 2 ? $# : 2))

# TRL asks for the development routes (weights, /server_info), processed log-probabilities, and the scale-out routes
# through which pictures and tokens travel apart.
exec env VLLM_SERVER_DEV_MODE=1 vllm serve "$model" --host 0.0.0.0 --port 8000 --data-parallel-size "$copies" \
  --max-model-len 53248 --limit-mm-per-prompt '{"image": 1152}' --enable-prefix-caching --enable-scale-out \
  --weight-transfer-config '{"backend": "nccl"}' --logprobs-mode processed_logprobs --max-logprobs -1 "$@"
