#!/usr/bin/env bash
# `make bench`: measures BIN, which was built with PROFILE, and writes bench/results/DATE.md.
# PARTS takes some of: raw bad visible pipeline flush start commits.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
need_tools
target=$(target_folder)
BIN=${BIN:-$target/release/vitalake} PROFILE=${PROFILE:-release}
say "Building what is measured and the load generator"
build_release
[ -x "$BIN" ] || fail "$BIN is not there" "leave BIN out, or BIN=$target/debug/vitalake PROFILE=dev after cargo build"
exec "${PYTHON:-python3}" bench/measure.py --bin "$BIN" --profile "$PROFILE" --loadgen "$target/release/loadgen" ${PARTS:+--parts "$PARTS"} "$@"
