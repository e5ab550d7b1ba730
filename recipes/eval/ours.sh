#!/usr/bin/env bash
# Our evaluation: as our recipes train, each frame after its second; needs a server (serve.sh) and, to be judged, a judge.
#
#   recipes/eval/ours.sh tool                                        every benchmark
#   recipes/eval/ours.sh reasoning lvbench_reasoning --limit 8       one, and options of lmms-eval behind it
#   recipes/eval/ours.sh reasoning longvt_suite_reasoning_no_visual  a control
#
# 1 frame a second, at most 512 of at most 50,176 pixels, evenly spaced, labelled; five calls of at most 128 frames, and
# two turns more, so that the last one can answer; 4,096 tokens a turn, temperature 0. PROCESSOR=runs/rl, the folder of
# the served checkpoint, gives rollouts the tokens of recipes/rl.yaml instead: 1,024 a turn, 16,384 with all replies.
set -euo pipefail

form=${1:?non_think, reasoning or tool}
tasks=${2:-longvt_suite_$form}
shift $(($# < 2 ? $# : 2))
limits=(--gen_kwargs max_new_tokens=4096)
# Where the model answers at once, each task says how long an answer may be.
[ "$form" != non_think ] || limits=()

show=overview_fps=1,overview_max_frames=${FRAMES:-512},crop_fps=1,crop_max_frames=128,max_pixels=50176
show+=,sampling_mode=grid,labels=seconds
[ -z "${PROCESSOR:-}" ] ||
  show+=,processor=$PROCESSOR,turn_tokens=1024,max_completion_length=16384,calls_per_turn=1
out=${OUT:-runs/eval/ours/$form}
LONGVT_JUDGE=${LONGVT_JUDGE-"{judge: cascade, judge_options: {model: judge, rubric: binary, maths: true}}"}
export LONGVT_JUDGE

exec longvt eval --model longvt --tasks "$tasks" ${limits[@]+"${limits[@]}"} \
  --model_args "base_url=${BASE_URL:-http://127.0.0.1:8000/v1},model=${MODEL:-longvt},timeout=1200,$show,max_calls=5,rollouts=$out/traces" \
  --output_path "$out" --use_cache "$out/cache" "$@"
