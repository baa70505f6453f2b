# shellcheck shell=bash
# The private PostgreSQL: finding its binaries, starting and stopping it.

readonly PG_HOME="$BASE/postgres"
readonly PG_DATA="$PG_HOME/data"
readonly PG_LOG="$PG_HOME/postgres.log"

# pg_version BIN_FOLDER: its major version, empty when it holds no server.
pg_version() {
  [ -x "$1/initdb" ] && [ -x "$1/pg_ctl" ] && [ -x "$1/postgres" ] || return 0
  "$1/postgres" --version 2>/dev/null | sed -nE 's/^postgres \(PostgreSQL\) ([0-9]+).*/\1/p'
}

pg_bin_folders() {
  local folder
  for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
    [ ! -d "$folder" ] || echo "$folder"
  done
  if command -v postgres >/dev/null; then
    dirname "$(readlink -f "$(command -v postgres)")"
  fi
  if command -v pg_config >/dev/null; then
    pg_config --bindir
  fi
}

# pg_find: sets PG_BIN and PG_VERSION to the newest server here. A data folder
# already made with an older one that is still here keeps that one.
pg_find() {
  local folder version made_by=''
  PG_BIN='' PG_VERSION=0 PG_TOO_OLD=''
  if [ -f "$PG_DATA/PG_VERSION" ]; then
    made_by=$(cat "$PG_DATA/PG_VERSION")
  fi
  while read -r folder; do
    version=$(pg_version "$folder")
    [ -n "$version" ] || continue
    if [ "$version" -lt "$MIN_POSTGRES" ]; then
      PG_TOO_OLD=$version
      continue
    fi
    if [ "$version" = "$made_by" ] || { [ "$version" -gt "$PG_VERSION" ] && [ "$PG_VERSION" != "$made_by" ]; }; then
      PG_BIN=$folder PG_VERSION=$version
    fi
  done < <(pg_bin_folders)
  [ -n "$PG_BIN" ]
}

pg_pid() {
  if [ -f "$PG_DATA/postmaster.pid" ]; then
    head -n 1 "$PG_DATA/postmaster.pid"
  fi
}

pg_runs() {
  runs "$(pg_pid)" "$PG_DATA"
}

# pg_ready: line 8 of the pid file tells whether it is starting, ready or stopping.
pg_ready() {
  pg_runs && [[ $(sed -n 8p "$PG_DATA/postmaster.pid") == ready* ]] && answers 127.0.0.1 "$(recall postgres.port)"
}

pg_url() {
  echo "postgres://postgres:$(recall postgres.password)@127.0.0.1:$(recall postgres.port)/postgres"
}

# pg_run COMMAND...: as PostgreSQL's user, in a folder that user may enter.
pg_run() {
  (
    cd "$PG_HOME" || exit
    run_as "$PG_USER"
    "${AS[@]}" env -i "PATH=$PG_BIN:/usr/local/bin:/usr/bin:/bin" "HOME=$PG_HOME" LC_ALL=C "$@"
  ) </dev/null 9>&-
}

# pg_launch: one attempt; what it prints goes to the server's log.
pg_launch() {
  pg_configure
  pg_run pg_ctl start -w -t 60 -s -D "$PG_DATA" -l "$PG_LOG" >>"$PG_HOME/pg_ctl.log" 2>&1 || return 1
  pg_ready
}

# pg_drop_stale_pid: PostgreSQL refuses to start while the number in an old pid
# file belongs to any process of its user.
pg_drop_stale_pid() {
  [ -f "$PG_DATA/postmaster.pid" ] || return 0
  pg_runs || rm -f "$PG_DATA/postmaster.pid"
}

# pg_try: starts on the data as it is. A taken port calls for another port; after
# a `kill -9` the old backends need a moment to leave.
pg_try() {
  local try from
  for try in 1 2 3 4 5; do
    pg_drop_stale_pid
    from=$(file_size "$PG_LOG")
    PG_LOG_FROM=$from
    pg_launch && return 0
    if tail -c "+$((from + 1))" "$PG_LOG" 2>/dev/null | grep -q 'could not bind'; then
      forget postgres.port
    elif tail -c "+$((from + 1))" "$PG_LOG" 2>/dev/null | grep -qE 'still in use|lock file .* already exists'; then
      sleep "$try"
    else
      return 1
    fi
  done
  return 1
}

# pg_up: makes the private server answer.
pg_up() {
  local started=$SECONDS
  if pg_runs && wait_for 60 pg_ready; then
    good postgres "runs on 127.0.0.1:$(recall postgres.port)"
    return
  fi
  ! pg_runs || warn postgres "process $(pg_pid) runs but does not answer: stopping it"
  stop_process "$(pg_pid)" "$PG_DATA" INT 30
  PG_USER=$(server_user postgres)
  pg_prepare_home
  if pg_data_usable; then
    say postgres "starting $PG_VERSION on its data of before"
    if pg_try; then
      good postgres "$PG_VERSION runs on 127.0.0.1:$(recall postgres.port) ($((SECONDS - started)) s)"
      return
    fi
    warn postgres "it does not start on $PG_DATA: making that anew"
    show_log "$PG_LOG" "$PG_LOG_FROM"
  else
    say postgres "making a private server, version $PG_VERSION"
  fi
  pg_make_data
  if ! pg_try; then
    complain "PostgreSQL $PG_VERSION ($PG_BIN) does not start on $PG_DATA" \
      "the log says why; scripts/services down forgets everything, for a fresh start"
    show_log "$PG_LOG" "$PG_LOG_FROM"
    show_log "$PG_HOME/pg_ctl.log"
    return 1
  fi
  good postgres "$PG_VERSION runs on 127.0.0.1:$(recall postgres.port) ($((SECONDS - started)) s)"
}

# pg_down: a server whose data is thrown away need not write it out first.
pg_down() {
  local signal=INT
  [ "$KEEP_DATA" = yes ] || signal=QUIT
  if pg_runs; then
    stop_process "$(pg_pid)" "$PG_DATA" "$signal" 30
    good postgres stopped
  fi
  [ "$KEEP_DATA" = yes ] || {
    rm -rf "${PG_HOME:?}"
    forget postgres.port postgres.password
  }
}
