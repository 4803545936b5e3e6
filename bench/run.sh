#!/usr/bin/env bash
# `make bench`: measures BIN, which was built with PROFILE, and writes bench/results/DATE.md.
# PARTS takes some of: raw bad visible pipeline flush start commits.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
need_tools
target=$(target_folder)
BIN=${BIN:-$target/release/vitalake} PROFILE=${PROFILE:-release}
[ -x "$BIN" ] || fail "$BIN is not there" "cargo build --release --bin vitalake, or BIN=$target/debug/vitalake PROFILE=dev"
say "Building the load generator"
cargo build --release --locked --quiet -p vitalake-bench --bin loadgen
exec "${PYTHON:-python3}" bench/measure.py --bin "$BIN" --profile "$PROFILE" --loadgen "$target/release/loadgen" ${PARTS:+--parts "$PARTS"} "$@"
