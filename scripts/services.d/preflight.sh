# shellcheck shell=bash
# Checks of the machine before anything is installed or started: Rust, the C compiler, make,
# memory. All findings are told at once, each with the command that helps.

FINDINGS=()

# finding PROBLEM REMEDY...: lines, as `complain` takes them.
finding() {
  local IFS=$'\n'
  FINDINGS+=("$*")
}

# stop_at_findings: tells all findings and ends; nothing was changed so far.
stop_at_findings() {
  local text
  [ "${#FINDINGS[@]}" -gt 0 ] || return 0
  for text in "${FINDINGS[@]}"; do
    complain "${text%%$'\n'*}" "${text#*$'\n'}"
  done
  printf '\nNothing was installed or started; run this again after that.\n' >&2
  exit 1
}

# minimum_rust: Cargo.toml's rust-version.
minimum_rust() {
  sed -nE 's/^rust-version = "([0-9.]+)".*/\1/p' "$REPO/Cargo.toml"
}

how_to_get_rust() {
  local curl=''
  if command -v rustup >/dev/null; then
    echo 'run: rustup update stable && rustup default stable'
    return
  fi
  command -v curl >/dev/null || curl="$(how_to_install curl) && "
  echo "run: ${curl}curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
  # shellcheck disable=SC2016 # for people to type
  echo 'then: . "$HOME/.cargo/env"   (a new shell does that by itself)'
}

# rust_is NAME VERSION_OUTPUT: a finding if the version is older than Cargo.toml asks for.
rust_is() {
  local name=$1 program version minimum note=''
  version=$(sed -nE "s/^$name ([0-9.]+).*/\1/p" <<<"$2")
  minimum=$(minimum_rust)
  at_least "$version" "$minimum" && return
  program=$(command -v "$name") || program=$name
  [[ $program != /usr/bin/* ]] || note=$'\n'"($program can stay: the one of rustup comes first on PATH)"
  finding "$name is $version ($program), and Rust $minimum or newer is needed" "$(how_to_get_rust)$note"
  return 1
}

# check_rust: the cargo that make was told to use, and the compiler that it will run.
check_rust() {
  local cargo version
  read -ra cargo <<<"${CARGO:-cargo}"
  if ! command -v "${cargo[0]}" >/dev/null; then
    if [ -x "${HOME:-}/.cargo/bin/cargo" ]; then
      # shellcheck disable=SC2016 # for people to type
      finding 'Rust is installed, but its programs are not on PATH' 'run: . "$HOME/.cargo/env"   (a new shell does that by itself)'
    else
      finding "${cargo[0]} is missing: Rust $(minimum_rust) or newer is needed" "$(how_to_get_rust)"
    fi
    return
  fi
  if ! version=$("${cargo[@]}" --version 2>&1); then
    finding "'${cargo[*]} --version' fails: ${version%%$'\n'*}" "$(how_to_get_rust)"
    return
  fi
  rust_is cargo "$version" || return 0
  # After `cargo +TOOLCHAIN`, a plain rustc would be the one of another toolchain.
  if [ "${cargo[*]}" = cargo ] && version=$("${RUSTC:-rustc}" --version 2>/dev/null); then
    rust_is rustc "$version" || true
  fi
}

# check_components: the parts of Rust for `make test`, of a Rust that is new enough.
check_components() {
  local cargo component missing=()
  [ "${#FINDINGS[@]}" -eq 0 ] || return 0
  read -ra cargo <<<"${CARGO:-cargo}"
  for component in rustfmt:fmt clippy:clippy; do
    "${cargo[@]}" "${component#*:}" --version >/dev/null 2>&1 || missing+=("${component%:*}")
  done
  [ "${#missing[@]}" -eq 0 ] || finding "Rust lacks ${missing[*]}, for \`make test\`" "run: rustup component add ${missing[*]}"
}

# check_compiler: Rust links with `cc`, and a dependency has parts in C. A compiler may
# be here without the C library's files.
check_compiler() {
  local folder works=no
  if command -v cc >/dev/null; then
    folder=$(mktemp -d)
    printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' >"$folder/try.c"
    ! cc -o "$folder/try" "$folder/try.c" >/dev/null 2>&1 || works=yes
    rm -rf "$folder"
    [ "$works" = no ] || return 0
    finding "the C compiler ($(command -v cc)) cannot build a program: files of the C library are missing" "run: $(how_to_install compiler)"
  else
    finding 'a C compiler (cc) is missing: Rust links with it' "run: $(how_to_install compiler)"
  fi
}

check_make() {
  command -v make >/dev/null || finding 'make is missing' "run: $(how_to_install make)"
}

# check_memory MEGABYTES: only warns, since the kernel can free more.
check_memory() {
  local available
  [ -r /proc/meminfo ] || return 0
  available=$(awk '/^(MemAvailable|SwapFree):/ { kb += $2 } END { printf "%d", kb / 1024 }' /proc/meminfo)
  [ "$available" -ge "$1" ] ||
    warn memory "$available MB are free, of some $1 MB needed; if a compiler is killed, build one crate at a time: export CARGO_BUILD_JOBS=1"
}

# hint_unreachable HOST PORT TEXT: after a failure, the likely reason.
hint_unreachable() {
  answers "$1" "$2" 5 || warn network "$1 does not answer at port $2: $3"
}

hint_packages_unreachable() {
  local host
  host=$(grep -rhoE '^[^#]*https?://[^/ ]+' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | sed -E 's#.*://##' | head -n 1)
  [ -z "$host" ] || hint_unreachable "$host" 80 'is there a network? A proxy is set in /etc/apt/apt.conf.d (Acquire::http::Proxy)'
}

hint_crates_unreachable() {
  hint_unreachable index.crates.io 443 'is there a network? A proxy is set by HTTPS_PROXY, a mirror in ~/.cargo/config.toml'
}

# preflight PURPOSE: build, demo or test.
preflight() {
  check_rust
  [ "$1" != test ] || check_components
  check_compiler
  check_make
  check_memory "$MB_MEMORY"
}
