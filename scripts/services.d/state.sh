# shellcheck shell=bash
# Where things lie. OUT, in the checkout, holds what callers read; BASE, outside
# of it, holds data and state, so that `cargo clean` does not orphan a server.

readonly OUT="$REPO/target/services"
readonly ENV_FILE="$OUT/env"

# base_folder: one per checkout and user.
base_folder() {
  local mark home=${HOME:-}
  mark=$(printf '%s' "$REPO" | cksum | cut -d ' ' -f 1)
  if am_root; then
    echo "/var/tmp/postroom-0-$mark"
  elif [ -n "${XDG_STATE_HOME:-}" ] && [ -w "$XDG_STATE_HOME" ]; then
    echo "$XDG_STATE_HOME/postroom/$mark"
  elif [ -n "$home" ] && [ -w "$home" ]; then
    echo "$home/.local/state/postroom/$mark"
  else
    echo "/var/tmp/postroom-$(id -u)-$mark"
  fi
}

BASE=$(base_folder)
readonly BASE
readonly NODE="postroom-${BASE##*[-/]}@localhost"

make_folders() {
  if ! mkdir -p "$OUT" 2>/dev/null || [ ! -w "$OUT" ]; then
    die "cannot write to $OUT" "make it yours: it may have been made by another user (sudo?)"
  fi
  mkdir -p "$(dirname "$BASE")"
  # BASE lies in a folder anyone may write to when we are root: whoever made it
  # first would own the servers.
  mkdir "$BASE" 2>/dev/null || true
  if [ ! -d "$BASE" ] || [ ! -O "$BASE" ] || [ -L "$BASE" ]; then
    die "$BASE is not a folder of $(id -un)'s" "remove it, then run this again"
  fi
  chmod 711 "$BASE"
}

# lock: one `up` or `down` at a time; freed when this process ends. Servers are
# started with number 9 closed, or they would hold it.
lock() {
  if ! command -v flock >/dev/null; then
    return 0
  fi
  exec 9>"$BASE/lock"
  flock -n 9 && return 0
  say services "waiting for another scripts/services of this checkout"
  flock -w 600 9 || die "another scripts/services holds $BASE/lock since 10 minutes" "end it, then run this again"
}

# recall NAME: a remembered value, empty when there is none.
recall() {
  if [ -f "$BASE/$1" ]; then
    cat "$BASE/$1"
  fi
}

# remember NAME VALUE: readable by us only; some values are passwords.
remember() {
  (umask 077 && printf '%s\n' "$2" >"$BASE/$1.new")
  mv -f "$BASE/$1.new" "$BASE/$1"
}

forget() {
  local name
  for name in "$@"; do
    rm -f "${BASE:?}/$name"
  done
}

quoted() {
  printf "'%s'" "${1//\'/\'\\\'\'}"
}

# write_env DATABASE_URL AMQP_URL ADMIN_URL [RESTART_RABBITMQ]
write_env() {
  (
    umask 077
    {
      printf 'export POSTROOM_DATABASE_URL=%s\n' "$(quoted "$1")"
      printf 'export POSTROOM_AMQP_URL=%s\n' "$(quoted "$2")"
      printf 'export POSTROOM_AMQP_ADMIN_URL=%s\n' "$(quoted "$3")"
      [ -z "${4:-}" ] || printf 'export POSTROOM_RESTART_RABBITMQ=%s\n' "$(quoted "$4")"
    } >"$ENV_FILE.new"
  )
  mv -f "$ENV_FILE.new" "$ENV_FILE"
}
