#!/usr/bin/env bash
# The whole loop by its commands, as a deployment would run them: what `pickapic demo` does, one stage at a time.
# Usage: runs/miniature.sh [FOLDER]     (a new folder; about six minutes on two cores)
set -euo pipefail

out=${1:-miniature-run}
mkdir "$out"
export PICKAPIC_HOME="$out/data" PICKAPIC_PORT=${PICKAPIC_PORT:-8000}
url="http://127.0.0.1:$PICKAPIC_PORT"

# Collect: a server, a worker, and simulated people who use the same HTTP API as everybody.
pickapic serve --no-worker & server=$!
pickapic worker & worker=$!
trap 'kill $server $worker 2>/dev/null || true; wait' EXIT
until curl --silent --fail "$url/readyz" >/dev/null; do sleep 0.2; done
pickapic simulate --url "$url" --picks 16000 --people 2500 --concurrency 60 --truth "$out/truth.json"

# Dataset: the picks in the released schema, checked, divided by the paper's rule.
pickapic export "$out/picks"
pickapic dataset split "$out/picks" "$out/dataset" --prompts 560
pickapic dataset check "$out/dataset"
pickapic dataset stats "$out/dataset" --split train

# Train, then evaluate beside the zero-shot model, the aesthetic head and guessing.
pickapic train miniature --set "data=$out/dataset" --set "out=$out/pickscore"
pickapic evaluate preferences "$out/dataset" --split test --report "$out/report.html" \
    --scorer "pickscore=$out/pickscore/best" --scorer miniature --scorer aesthetic
pickapic ratings "$out/dataset"
