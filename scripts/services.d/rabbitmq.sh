# shellcheck shell=bash
# The private RabbitMQ: finding it, starting and stopping it.

readonly RMQ_HOME="$BASE/rabbitmq"
readonly RMQ_LOG="$RMQ_HOME/log/rabbit.log"
readonly RMQ_CONSOLE="$RMQ_HOME/log/console.log"

# rmq_script_folders: where rabbitmq-server itself may lie. Debian's
# /usr/sbin/rabbitmq-server is a wrapper that insists on the system's node.
rmq_script_folders() {
  local folder
  for folder in /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin /opt/rabbitmq_server-*/sbin /opt/rabbitmq/sbin \
    /usr/local/lib/rabbitmq/lib/rabbitmq_server-*/sbin /opt/homebrew/opt/rabbitmq/sbin /usr/local/opt/rabbitmq/sbin; do
    [ ! -x "$folder/rabbitmq-server" ] || echo "$folder"
  done
  local found
  found=$(command -v rabbitmq-server) || return 0
  found=$(readlink -f "$found")
  [ "${found##*/}" != rabbitmq-server ] || dirname "$found"
}

# rmq_version SCRIPT_FOLDER: by the name of its core application's folder.
rmq_version() {
  local core
  for core in "$1"/../plugins/rabbit-[0-9]*; do
    [ -e "$core" ] || continue
    core=${core##*/rabbit-}
    echo "${core%.ez}"
    return
  done
}

# rmq_find: sets RMQ_BIN and RMQ_VERSION to the newest one here.
rmq_find() {
  local folder version
  RMQ_BIN='' RMQ_VERSION=0 RMQ_TOO_OLD=''
  while read -r folder; do
    version=$(rmq_version "$folder")
    [ -n "$version" ] || continue
    if ! at_least "$version" "$MIN_RABBITMQ"; then
      RMQ_TOO_OLD=$version
    elif at_least "$version" "$RMQ_VERSION"; then
      RMQ_BIN=$folder RMQ_VERSION=$version
    fi
  done < <(rmq_script_folders)
  [ -n "$RMQ_BIN" ] && rmq_find_erlang
}

# rmq_find_erlang: sets ERL_BIN and EPMD.
rmq_find_erlang() {
  local erl epmd
  erl=$(command -v erl) || return 1
  ERL_BIN=$(dirname "$erl")
  epmd=$(command -v epmd) ||
    for epmd in "$(dirname "$(readlink -f "$erl")")"/../erts-*/bin/epmd /usr/lib/erlang/erts-*/bin/epmd; do
      [ ! -x "$epmd" ] || break
    done
  EPMD=$epmd
  [ -x "$EPMD" ]
}

rmq_runs() {
  runs "$(recall rabbitmq.pid)" "$NODE"
}

epmd_runs() {
  runs "$(recall epmd.pid)" "-port $(recall epmd.port)"
}

rmq_admin_url() {
  echo "http://postroom:$(recall rabbitmq.password)@127.0.0.1:$(recall rabbitmq.admin_port)"
}

rmq_url() {
  echo "amqp://postroom:$(recall rabbitmq.password)@127.0.0.1:$(recall rabbitmq.port)/%2f"
}

rmq_ready() {
  answers 127.0.0.1 "$(recall rabbitmq.port)" && [ "$(admin_status "$(rmq_admin_url)" /api/whoami)" = 200 ]
}

rmq_ready_or_gone() {
  rmq_ready || ! rmq_runs
}

# rmq_wait: true once the node serves; false when it ended or takes too long.
rmq_wait() {
  wait_for 120 rmq_ready_or_gone && rmq_runs && rmq_ready
}

# rmq_try: starts on the data as it is; a taken port calls for other ports.
rmq_try() {
  local try
  for try in 1 2 3; do
    [ "$try" -eq 1 ] || say rabbitmq "a port was taken meanwhile: trying others"
    RMQ_CONSOLE_FROM=$(file_size "$RMQ_CONSOLE")
    RMQ_LOG_FROM=$(file_size "$RMQ_LOG")
    rmq_configure
    rmq_launch_epmd && rmq_launch
    rmq_wait && return 0
    rmq_stop KILL
    tail -c "+$((RMQ_CONSOLE_FROM + 1))" "$RMQ_CONSOLE" 2>/dev/null | grep -qE 'eaddrinuse|address already in use|in use by' || return 1
    forget rabbitmq.port rabbitmq.admin_port rabbitmq.dist_port epmd.port
  done
  return 1
}

# rmq_up: makes the private node answer.
rmq_up() {
  local started=$SECONDS
  if rmq_runs && rmq_wait; then
    good rabbitmq "runs on 127.0.0.1:$(recall rabbitmq.port)"
    return
  fi
  rmq_stop
  RMQ_USER=$(rmq_user)
  rmq_prepare_home
  if [ -d "$RMQ_HOME/data" ] && [ -n "$(recall rabbitmq.password)" ]; then
    say rabbitmq "starting $RMQ_VERSION on its data of before"
    if rmq_try; then
      good rabbitmq "$RMQ_VERSION runs on 127.0.0.1:$(recall rabbitmq.port) ($((SECONDS - started)) s)"
      return
    fi
    warn rabbitmq "it does not start on $RMQ_HOME/data: making that anew"
    show_log "$RMQ_CONSOLE" "$RMQ_CONSOLE_FROM"
  else
    say rabbitmq "making a private node, version $RMQ_VERSION"
  fi
  rmq_make_data
  if ! rmq_try; then
    complain "RabbitMQ $RMQ_VERSION ($RMQ_BIN) does not start on $RMQ_HOME/data" \
      "the log says why; scripts/services down forgets everything, for a fresh start"
    show_log "$RMQ_CONSOLE" "$RMQ_CONSOLE_FROM"
    show_log "$RMQ_LOG" "$RMQ_LOG_FROM"
    return 1
  fi
  good rabbitmq "$RMQ_VERSION runs on 127.0.0.1:$(recall rabbitmq.port) ($((SECONDS - started)) s)"
}

# epmd_dismissed PORT: it may need a moment to see that the node is gone.
epmd_dismissed() {
  "${EPMD:-epmd}" -port "$1" -kill >/dev/null 2>&1 || true
  ! answers 127.0.0.1 "$1"
}

# rmq_stop [SIGNAL]: the node, then its epmd, which would outlive it. A node that
# lost its epmd starts another by itself: that one is known by its port alone, and
# refuses to go while it serves any node.
rmq_stop() {
  local epmd_port
  epmd_port=$(recall epmd.port)
  stop_process "$(recall rabbitmq.pid)" "$NODE" "${1:-TERM}" 30
  if epmd_runs; then
    stop_process "$(recall epmd.pid)" "-port $epmd_port" TERM 5
  elif [ -n "$(recall rabbitmq.pid)" ] && answers 127.0.0.1 "$epmd_port"; then
    wait_for 5 epmd_dismissed "$epmd_port" ||
      warn rabbitmq "an epmd still listens on port $epmd_port; to end it: epmd -port $epmd_port -kill"
  fi
  forget rabbitmq.pid epmd.pid
}

rmq_down() {
  local signal=TERM
  # A node whose data is thrown away need not close its queues first.
  [ "$KEEP_DATA" = yes ] || signal=KILL
  if rmq_runs || epmd_runs; then
    rmq_stop "$signal"
    good rabbitmq "stopped, with its epmd"
  fi
  [ "$KEEP_DATA" = yes ] || {
    rm -rf "${RMQ_HOME:?}"
    forget rabbitmq.port rabbitmq.admin_port rabbitmq.dist_port rabbitmq.password epmd.port
  }
}
