#!/usr/bin/env bash
# What of an image is ours: the binary, stripped, the libraries that it links and the base image does not have, and a data folder of the
# user that it runs as.
#
#   image-root.sh BINARY FOLDER [--whole]
#
# --whole adds what the base image (distroless cc) brings, from this machine: loader, C library, authorities. The folder is then a root
# in which the binary can be tried (scripts/image-try.sh) where no container engine runs.
set -euo pipefail
binary=$1 root=$2 whole=${3:-}
user=65532

mkdir -p "$root/usr/local/bin" "$root/data"
strip --strip-all -o "$root/usr/local/bin/vitalake" "$binary"
chmod 755 "$root/usr/local/bin/vitalake"
chown "$user:$user" "$root/data" 2>/dev/null || echo "note: not root: $root/data has your own user" >&2

# libc, libm, libgcc and their loader are the base image's.
base='^(linux-vdso|libc|libm|libgcc_s|libpthread|libdl|librt|ld-linux-x86-64|ld-linux-aarch64)\.'
while read -r name path; do
  if [ "$path" = not ]; then
    echo "error: $name, which the binary links, is not on this machine" >&2
    exit 1
  fi
  if [ -n "$whole" ] || ! [[ $name =~ $base ]]; then
    [ -e "$path" ] || continue
    mkdir -p "$root$(dirname "$path")"
    cp -L "$path" "$root$path"
  fi
done < <(ldd "$binary" | sed -nE 's/^\s*(\S+) => (\S+).*/\1 \2/p')

if [ -n "$whole" ]; then
  loader=$(ldd "$binary" | sed -nE 's/^\s*(\/\S*ld-linux\S*).*/\1/p')
  mkdir -p "$root$(dirname "$loader")" "$root/etc/ssl/certs" "$root/tmp" "$root/proc" "$root/dev"
  cp -L "$loader" "$root$loader"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  chmod 1777 "$root/tmp"
  echo "nonroot:x:$user:$user::/home/nonroot:/sbin/nologin" >"$root/etc/passwd"
fi
du -sk "$root" | awk '{printf "%.1f MB in %s\n", $1 / 1024, $2}' | tee /dev/stderr | cat >/dev/null
