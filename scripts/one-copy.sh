#!/usr/bin/env bash
# Fails when the tree holds two versions of a crate whose types cross our borders. deny.toml says the same to
# cargo-deny; this takes a second and no tool.
set -euo pipefail
cd "$(dirname "$0")/.."
twice=$(cargo tree --workspace --locked --edges normal,build --prefix none --format '{p}' |
  sed -E 's/ \(.*//' | sort -u | awk '{print $1}' |
  grep -E '^(arrow|arrow-array|arrow-buffer|arrow-schema|datafusion|datafusion-common|datafusion-expr|object_store|parquet|sqlparser)$' |
  uniq -d || true)
if [ -n "$twice" ]; then
  echo "error: more than one version of: $twice" >&2
  echo "  help: cargo tree --invert $(echo "$twice" | head -1) shows who asks for which" >&2
  exit 1
fi
echo "one copy of arrow, datafusion, object_store and parquet"
