#!/usr/bin/env bash
# `make accept`: the black-box checks that lie in $ACCEPTANCE, with their own Python packages in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
need_tools
python=${PYTHON:-python3}
if ! cmp -s "$ACCEPTANCE/requirements.txt" .venv/requirements.txt; then
  say "Installing the checks' Python packages into .venv (a minute)"
  "$python" -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r "$ACCEPTANCE/requirements.txt"
  cp "$ACCEPTANCE/requirements.txt" .venv/requirements.txt
fi
cargo build --locked --bin vitalake
exec .venv/bin/python "$ACCEPTANCE/spine.py" --bin "$(target_folder)/debug/vitalake" ${ONLY:+--only "$ONLY"}
