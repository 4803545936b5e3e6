#!/usr/bin/env bash
# `make azure`: the deployment checked as far as it can be without an account, by a parser, by Microsoft's types, by tests of our own, and by
# checkov's policies. Skipped with a word where systems/install.sh has not fetched the tools.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${VITALAKE_TOOLS:-$HOME/.cache/vitalake}/systems/azure
if [ ! -e "$tools/whole" ]; then
  echo "skipped: the deployment is not checked; systems/install.sh azure fetches what does it"
  exit 0
fi
"$tools/bin/python" deploy/azure/check/check.py
"$tools/bin/python" deploy/azure/check/test_check.py
"$tools/bin/checkov" --directory deploy/azure --framework bicep --config-file deploy/azure/check/checkov.yaml
