# shellcheck shell=bash
# The private PostgreSQL's data folder and settings.

pg_prepare_home() {
  mkdir -p "$PG_HOME"
  chmod 700 "$PG_HOME"
  am_root || return 0
  # The user may be another than last time: postgres exists once it is installed.
  chown -R "$PG_USER:$(id -gn "$PG_USER")" "$PG_HOME"
}

# pg_data_usable: complete, of the version at hand, and its password known.
pg_data_usable() {
  [ -f "$PG_DATA/PG_VERSION" ] && [ "$(cat "$PG_DATA/PG_VERSION")" = "$PG_VERSION" ] &&
    [ -n "$(recall postgres.password)" ]
}

# pg_make_data: made beside its place and then moved there, so that a folder half
# made never counts as one. A broken predecessor is kept once, to look into.
pg_make_data() {
  local locale=C.UTF-8 password
  locale -a 2>/dev/null | grep -qiE '^C\.utf-?8$' || locale=C
  rm -rf "${PG_DATA:?}.new" "$PG_DATA.broken"
  [ ! -e "$PG_DATA" ] || mv "$PG_DATA" "$PG_DATA.broken"
  password=$(new_password)
  (umask 077 && printf '%s\n' "$password" >"$PG_HOME/password")
  ! am_root || chown "$PG_USER" "$PG_HOME/password"
  if ! pg_run initdb --no-sync --no-instructions -U postgres --pwfile "$PG_HOME/password" \
    --auth scram-sha-256 -E UTF8 --locale "$locale" -D "$PG_DATA.new" >"$PG_HOME/initdb.log" 2>&1; then
    complain "initdb of PostgreSQL $PG_VERSION ($PG_BIN) failed in $PG_HOME" "its output says why"
    show_log "$PG_HOME/initdb.log"
    return 1
  fi
  rm -f "$PG_HOME/password"
  echo "include 'postroom.conf'" >>"$PG_DATA.new/postgresql.conf"
  remember postgres.password "$password"
  mv "$PG_DATA.new" "$PG_DATA"
}

# pg_configure: written at every start; the port may have changed.
pg_configure() {
  local port socket=$PG_HOME
  port=$(keep_or_free "$(recall postgres.port)")
  remember postgres.port "$port"
  # The system allows a socket's path 107 bytes.
  [ "${#socket}" -le 85 ] || socket=''
  cat >"$PG_DATA/postroom.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '${socket//\'/\'\'}'
password_encryption = scram-sha-256

# Tests run in parallel, each with pools of its own, some with prepared
# transactions.
max_connections = 400
max_prepared_transactions = 64
shared_buffers = 256MB
max_wal_size = 2GB

# Postroom's promises are about commits that last: fsync stays on.
wal_level = replica
fsync = on

timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%a %d '
CONF
  ! am_root || chown "$PG_USER" "$PG_DATA/postroom.conf"
}
