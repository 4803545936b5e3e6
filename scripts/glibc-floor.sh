#!/usr/bin/env bash
# Which glibc a binary asks for at least, and what else it links: glibc-floor.sh BINARY
set -euo pipefail
symbols=$(objdump -T "$1")
floor=$(grep -oE 'GLIBC_[0-9]+\.[0-9]+' <<<"$symbols" | sort -Vu | tail -1)
echo "${floor/_/ } $(objdump -p "$1" | awk '/NEEDED/ {print $2}' | paste -sd' ')"
