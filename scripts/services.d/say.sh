# shellcheck shell=bash
# Messages of the script to people: progress and errors, all on standard error, so
# that `env` alone owns standard output.

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  readonly DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
  readonly DIM='' RED='' GREEN='' YELLOW='' PLAIN=''
fi

# say WHO TEXT: one line of progress.
say() {
  printf '%s%-10s%s %s\n' "$DIM" "$1" "$PLAIN" "$2" >&2
}

good() {
  printf '%s%-10s%s %s\n' "$GREEN" "$1" "$PLAIN" "$2" >&2
}

warn() {
  printf '%s%-10s %s%s\n' "$YELLOW" "$1" "$2" "$PLAIN" >&2
}

# complain WHAT WHAT_TO_DO...: an error, and the way out of it; each may have several lines.
complain() {
  printf '%serror: %s%s\n' "$RED" "$1" "$PLAIN" >&2
  shift
  local line
  for line in "$@"; do
    printf '       %s\n' "${line//$'\n'/$'\n       '}" >&2
  done
}

die() {
  complain "$@"
  exit 1
}

# show_log FILE [FROM_BYTE]: the end of a server's log, from where it was before
# this start, so that the lines shown belong to this failure.
show_log() {
  local file=$1 from=${2:-0}
  [ -s "$file" ] || return 0
  printf '       the end of %s:\n' "$file" >&2
  tail -c "+$((from + 1))" "$file" | tail -n 15 | sed 's/^/       | /' >&2
}

# file_size FILE: its bytes, 0 when there is none.
file_size() {
  if [ -f "$1" ]; then
    wc -c <"$1" | tr -d ' '
  else
    echo 0
  fi
}
