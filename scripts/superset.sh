#!/usr/bin/env bash
# `make superset`: the example project, and a Superset that shows its dashboards. Stays in the foreground; Ctrl-C stops both.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

need_tools
systems/install.sh superset || fail "Superset could not be had" "the lines above name the log that says why"
cargo build --locked --bin vitalake
exec "${PYTHON:-python3}" systems/superset_shown.py --bin "$(target_folder)/debug/vitalake" --project "${PROJECT:-examples/remote-care}" \
  --data "${DATA:-data}" --kafka "${KAFKA:-127.0.0.1:9092}" --http "${HTTP:-127.0.0.1:8888}" --wearers "${WEARERS:-50}"
