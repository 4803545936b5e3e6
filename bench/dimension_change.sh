#!/bin/sh
# A dimension that changes: one device of a hundred changes its patient, under ROWS derived rows and the rollup above them.
# Prints seconds from the delivery to the last commit, and bytes read and written. In memory, so that no disk is measured.
#   ROWS=10000000 bench/dimension_change.sh
set -eu
cd "$(dirname "$0")/.."
exec cargo test --release --locked -p vitalake-process --test it corrected::measured_change -- --ignored --nocapture
