#!/usr/bin/env bash
# `make systems`: the checks of systems/ against an everyday build with every part, or against the binary $BIN.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
lake_tests=${LAKE_TESTS:-}
process_tests=${PROCESS_TESTS:-}

systems/install.sh || say "What is missing is skipped below."
python=${VITALAKE_TOOLS:-$HOME/.cache/vitalake}/systems/python/bin/python
[ -x "$python" ] || fail "the checks' own Python packages could not be had" "systems/install.sh python shows why"

if [ -z "${BIN:-}" ]; then
  need_tools
  need_headers
  cargo build --locked --workspace --bins --features "$EVERY_PART"
  BIN=$(target_folder)/debug/vitalake
  # The lake's tests read the tables that Spark writes, those of models ask Spark what they ask DataFusion.
  built=$(cargo test --locked --workspace --features "$EVERY_PART" --no-run --message-format=json)
  tests_of() { sed -n '/"reason":"compiler-artifact".*crates\/'"$1"'\/tests\/it/s/.*"executable":"\([^"]*\)".*/\1/p' <<<"$built"; }
  lake_tests=$(tests_of lake)
  process_tests=$(tests_of process)
fi
exec "$python" systems/run.py --bin "$BIN" --acceptance "$ACCEPTANCE" \
  ${lake_tests:+--lake-tests "$lake_tests"} ${process_tests:+--process-tests "$process_tests"} ${ONLY:+--only "$ONLY"}
