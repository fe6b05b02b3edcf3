#!/usr/bin/env bash
# All figures of a GPU within ten minutes on one machine: gpu.md and gpu.json, into $OUT or here.
#
#   PYTHON=/path/to/python benchmarks/gpu.sh        an environment with this project and a CUDA build of torch
#   benchmarks/gpu.sh --tiny                        whether it runs, on a processor
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
test -x "$(command -v "$python")" || { echo "error: there is no $python; run make setup, or set PYTHON" >&2; exit 2; }
export TOKENIZERS_PARALLELISM=false
# What it has measured by then stays written.
exec timeout 590 "$python" -m benchmarks.gpu --out "${OUT:-.}" "$@"
