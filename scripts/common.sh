# Sourced by the other scripts: what to say, what must be installed, where cargo puts things.

say() { printf '%s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  help: %s\n' "$2" >&2
  exit 1
}

need_tools() {
  command -v cargo >/dev/null || fail "cargo is not installed" \
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y, then open a new terminal"
  command -v cc >/dev/null || fail "no C compiler is installed" \
    "Debian, Ubuntu: sudo apt-get install -y gcc; Fedora: sudo dnf install -y gcc; macOS: xcode-select --install"
  # rustup takes the toolchain by itself; a distribution's cargo may be too old for this workspace.
  local want have
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  have=$(cargo --version | sed -E 's/^cargo ([0-9]+\.[0-9]+).*/\1/')
  [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -1)" = "$want" ] || fail \
    "cargo is $have and this workspace needs $want or later" "rustup update stable"
}

target_folder() {
  cargo metadata --no-deps --format-version 1 --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# What a binary has that speaks to everything.
EVERY_PART=vitalake/azure,vitalake/rdkafka

# librdkafka is built with the system's OpenSSL and zlib.
need_headers() {
  local header
  for header in openssl/ssl.h zlib.h; do
    printf '#include <%s>\n' "$header" | cc -E -x c - >/dev/null 2>&1 || fail "the C header $header is not installed" \
      "Debian, Ubuntu: sudo apt-get install -y libssl-dev zlib1g-dev pkg-config; Fedora: sudo dnf install -y openssl-devel zlib-devel"
  done
}

# Every release build is this one: other features or packages would compile the engine once more.
build_release() {
  need_headers
  cargo build --release --locked --workspace --bins --features "$EVERY_PART"
}
