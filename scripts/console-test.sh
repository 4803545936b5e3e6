#!/usr/bin/env bash
# `make console-test`: the console's types, its unit tests, and its pages in a browser against the real binary.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "skipped: node and npm are not installed"
  exit 0
fi
scripts/console.sh
cd console
npx --no-install svelte-check --tsconfig ./tsconfig.json --fail-on-warnings
npx --no-install vitest run tests/unit

CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
if [ -z "$CHROMIUM" ]; then
  echo "skipped: the pages in a browser: chromium is not installed"
  exit 0
fi
BIN=${BIN:-$(target_folder)/debug/vitalake}
if [ ! -x "$BIN" ]; then
  echo "skipped: the pages in a browser: there is no $BIN; cargo build --locked --bin vitalake, or BIN=PATH"
  exit 0
fi
CHROMIUM=$CHROMIUM BIN=$BIN PROJECT=$(cd .. && cd "${PROJECT:-examples/remote-care}" && pwd) node --test tests/pages/*.test.mjs
