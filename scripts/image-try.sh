#!/usr/bin/env bash
# Tries an image's root folder without a container engine: the binary, as user 65532, with that folder as its root, checks a project,
# starts it, answers /health/ready, takes a flush, and ends on SIGTERM.
#
#   image-try.sh BINARY PROJECT        needs root (chroot)
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$1 project=$2 port=${PORT:-18899}
root=$(mktemp -d) && chmod 755 "$root"
server=
clean() {
  [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
  rm -rf "$root"
}
trap clean EXIT

scripts/image-root.sh "$binary" "$root" --whole
mkdir "$root/project" && cp -r "$project/." "$root/project/" && rm -rf "$root/project/data"
[ -e "$root/dev/urandom" ] || mknod -m 666 "$root/dev/urandom" c 1 9
[ -e "$root/dev/null" ] || mknod -m 666 "$root/dev/null" c 1 3
# As the image starts it: its user, its environment, its root folder.
as_image=(env -i SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$(command -v chroot)" --userspec=65532:65532 "$root" /usr/local/bin/vitalake)
inside() { "${as_image[@]}" "$@"; }

inside --version
inside validate /project
"${as_image[@]}" up /project --data /data --http "127.0.0.1:$port" --kafka "127.0.0.1:$((port + 1))" &
server=$!
for _ in $(seq 150); do
  if curl --silent --fail --output /dev/null "http://127.0.0.1:$port/health/ready"; then ready=yes; break; fi
  kill -0 "$server" 2>/dev/null || { echo "error: it ended before it was ready" >&2; exit 1; }
  sleep 0.2
done
[ "${ready:-}" = yes ] || { echo "error: it was not ready within 30 s" >&2; exit 1; }
owner=$(stat -c %u "$root/data/LOCK" 2>/dev/null || stat -c %u "$root"/data/* | head -1)
[ "$owner" = 65532 ] || { echo "error: its data is of user $owner" >&2; exit 1; }
inside flush --server "http://127.0.0.1:$port" >/dev/null
kill -TERM "$server"
wait "$server"
server=
echo "the root folder runs as user 65532, and ends on SIGTERM"
