#!/usr/bin/env bash
# `make console`: builds the console's pages into console/dist, each file with its .gz beside it.
set -euo pipefail
cd "$(dirname "$0")/../console"

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "skipped: node and npm are not installed; the console needs Node 20.19 or newer to be built"
  exit 0
fi
# What is installed is asked of the lock file alone, and only where it differs.
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --no-audit --no-fund --ignore-scripts
fi
[ -f dist/index.html ] || first=yes
npx --no-install vite build --emptyOutDir
node pack.mjs
# Cargo looks for the pages where it found some before: that there are any now has to be said once.
[ -z "${first:-}" ] || touch ../crates/serve/build.rs
