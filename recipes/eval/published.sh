#!/usr/bin/env bash
# LongVT's published evaluation, in one of its three forms; needs a server (serve.sh) and, to be judged, a judge.
#
#   recipes/eval/published.sh tool                                   every benchmark of the paper's table
#   recipes/eval/published.sh reasoning lvbench_reasoning --limit 8  one, and options of lmms-eval behind it
#
# 1 frame a second, at most 768 of at most 50,176 pixels, chosen and scaled as qwen-vl-utils does, without their seconds;
# five turns, five calls, crops of at most 128 frames; 4,096 tokens a turn, temperature 0. Its evaluation had no limit of
# turns: these are the limits of its training. FRAMES=512 is the other setting that it reports.
set -euo pipefail

form=${1:?non_think, reasoning or tool}
tasks=${2:-videosiah_eval_$form,videomme_w_subtitle_$form,video_mmmu_$form,lvbench_$form}
shift $(($# < 2 ? $# : 2))
limits=(--gen_kwargs max_new_tokens=4096)
# Where the model answers at once, each task says how long an answer may be.
[ "$form" != non_think ] || limits=()

show=overview_fps=1,overview_max_frames=${FRAMES:-768},crop_fps=1,crop_max_frames=128,max_pixels=50176
show+=,sampling_mode=qwen,scaling=exact,labels=none
out=${OUT:-runs/eval/published/$form}
LONGVT_JUDGE=${LONGVT_JUDGE-"{judge: cascade, judge_options: {model: judge, rubric: binary, maths: true}}"}
export LONGVT_JUDGE

exec longvt eval --model longvt --tasks "$tasks" ${limits[@]+"${limits[@]}"} \
  --model_args "base_url=${BASE_URL:-http://127.0.0.1:8000/v1},model=${MODEL:-longvt},timeout=1200,$show,max_calls=5,max_turns=5,rollouts=$out/traces" \
  --output_path "$out" --use_cache "$out/cache" "$@"
