#!/usr/bin/env bash
# Whether a wheel installs into an empty environment and the binary runs from it: wheel-try.sh WHEEL
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet --disable-pip-version-check --no-index "$1"
(cd "$place" && env -i PATH="$place/env/bin" vitalake --version && env -i PATH="$place/env/bin" vitalake init lake >/dev/null && env -i PATH="$place/env/bin" vitalake validate lake)
"$place/env/bin/pip" uninstall --quiet --yes vitalake
[ ! -e "$place/env/bin/vitalake" ] || { echo "error: it is still there after pip uninstall" >&2; exit 1; }
