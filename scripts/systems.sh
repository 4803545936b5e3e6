#!/usr/bin/env bash
# `make systems`: the checks of systems/ against an everyday build with every part, or against the binary $BIN.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
lake_tests=${LAKE_TESTS:-}

systems/install.sh || say "What is missing is skipped below."
python=${VITALAKE_TOOLS:-$HOME/.cache/vitalake}/systems/python/bin/python
[ -x "$python" ] || fail "the checks' own Python packages could not be had" "systems/install.sh python shows why"

if [ -z "${BIN:-}" ]; then
  need_tools
  need_headers
  cargo build --locked --workspace --bins --features "$EVERY_PART"
  BIN=$(target_folder)/debug/vitalake
  # The lake's tests read the tables that Spark writes.
  lake_tests=$(cargo test --locked --workspace --features "$EVERY_PART" --no-run --message-format=json |
    sed -n '/"reason":"compiler-artifact".*crates\/lake\/tests\/it/s/.*"executable":"\([^"]*\)".*/\1/p')
fi
exec "$python" systems/run.py --bin "$BIN" --acceptance "$ACCEPTANCE" \
  ${lake_tests:+--lake-tests "$lake_tests"} ${ONLY:+--only "$ONLY"}
