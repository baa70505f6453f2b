# shellcheck shell=bash
# The private RabbitMQ's folder, settings and processes.

# rmq_user: as root the node gets an unprivileged user, where that user can run it.
rmq_user() {
  local user
  user=$(server_user rabbitmq)
  run_as "$user"
  if "${AS[@]}" test -x "$RMQ_BIN/rabbitmq-server" -a -x "$ERL_BIN/erl"; then
    echo "$user"
  else
    id -un
  fi
}

# rmq_prepare_home: its own home too, so that the Erlang cookie is its own.
rmq_prepare_home() {
  mkdir -p "$RMQ_HOME/home" "$RMQ_HOME/log"
  chmod 700 "$RMQ_HOME"
  ! am_root || chown -R "$RMQ_USER:$(id -gn "$RMQ_USER")" "$RMQ_HOME"
}

rmq_make_data() {
  rm -rf "${RMQ_HOME:?}/data.broken" "${RMQ_HOME:?}/home" "${RMQ_HOME:?}/config"
  [ ! -e "$RMQ_HOME/data" ] || mv "$RMQ_HOME/data" "$RMQ_HOME/data.broken"
  mkdir -p "$RMQ_HOME/data" "$RMQ_HOME/home"
  remember rabbitmq.password "$(new_password)"
  rmq_prepare_home
}

# rmq_configure: written at every start; ports may have changed. Tests use the
# plugin to make virtual hosts and close connections, not to look at rates; but
# without its collector, newer releases list no connections.
rmq_configure() {
  local name without_collector=true
  ! at_least "$RMQ_VERSION" 4.1 || without_collector=false
  for name in rabbitmq.port rabbitmq.admin_port rabbitmq.dist_port; do
    remember "$name" "$(keep_or_free "$(recall "$name")")"
  done
  epmd_runs || remember epmd.port "$(keep_or_free "$(recall epmd.port)")"
  mkdir -p "$RMQ_HOME/config/generated" "$RMQ_HOME/config/conf.d"
  (
    umask 077
    cat >"$RMQ_HOME/config/rabbitmq.conf" <<CONF
default_user = postroom
default_pass = $(recall rabbitmq.password)
management.tcp.ip = 127.0.0.1
management.tcp.port = $(recall rabbitmq.admin_port)
management_agent.disable_metrics_collector = $without_collector

vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = 50MB
# Quorum queues keep one log for all, half a gigabyte by default.
raft.wal_max_size_bytes = 67108864
CONF
  )
  echo '[].' >"$RMQ_HOME/config/advanced.config"
  echo '[rabbitmq_management].' >"$RMQ_HOME/config/enabled_plugins"
  ! am_root || chown -R "$RMQ_USER" "$RMQ_HOME/config"
}

# rmq_spawn LOG COMMAND...: in the background, detached from us, as RabbitMQ's
# user, with nothing of our environment. SPAWNED is the process that becomes
# COMMAND.
rmq_spawn() {
  local log=$1
  shift
  run_as "$RMQ_USER"
  own_session
  (
    cd "$RMQ_HOME" || exit
    # Connections, queues and virtual hosts all take file descriptors.
    ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
    exec "${SESSION[@]}" "${AS[@]}" env -i \
      "PATH=$ERL_BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
      "HOME=$RMQ_HOME/home" LC_ALL=C.UTF-8 TZ=UTC \
      "ERL_EPMD_PORT=$(recall epmd.port)" ERL_EPMD_ADDRESS=127.0.0.1 "$@"
  ) </dev/null >>"$log" 2>&1 9>&- &
  SPAWNED=$!
  # Or bash would report its end.
  disown "$SPAWNED"
}

# rmq_appeared: the spawned process is no longer a copy of this script.
rmq_appeared() {
  rmq_runs || ! kill -0 "$SPAWNED" 2>/dev/null
}

# rmq_launch_epmd: started here rather than by Erlang, which would leave it behind
# without telling its number.
rmq_launch_epmd() {
  ! epmd_runs || return 0
  rmq_spawn "$RMQ_HOME/log/epmd.log" "$EPMD" -address 127.0.0.1 -port "$(recall epmd.port)"
  remember epmd.pid "$SPAWNED"
  wait_for 5 answers 127.0.0.1 "$(recall epmd.port)"
}

# rmq_launch: the node. Every path the node knows is named, or it would read the
# system's. `detached` makes the start script become the node instead of watching
# over it. The last argument is only there to know the process by.
rmq_launch() {
  rmq_spawn "$RMQ_CONSOLE" \
    detached=true \
    "RABBITMQ_NODENAME=$NODE" \
    RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
    "RABBITMQ_NODE_PORT=$(recall rabbitmq.port)" \
    "RABBITMQ_DIST_PORT=$(recall rabbitmq.dist_port)" \
    ERL_CRASH_DUMP_SECONDS=0 \
    RABBITMQ_CONF_ENV_FILE=/dev/null \
    "RABBITMQ_CONFIG_FILE=$RMQ_HOME/config/rabbitmq.conf" \
    "RABBITMQ_CONFIG_FILES=$RMQ_HOME/config/conf.d" \
    "RABBITMQ_ADVANCED_CONFIG_FILE=$RMQ_HOME/config/advanced.config" \
    "RABBITMQ_GENERATED_CONFIG_DIR=$RMQ_HOME/config/generated" \
    "RABBITMQ_SCHEMA_DIR=$RMQ_HOME/config/schema" \
    "RABBITMQ_ENABLED_PLUGINS_FILE=$RMQ_HOME/config/enabled_plugins" \
    "RABBITMQ_MNESIA_BASE=$RMQ_HOME/data" \
    "RABBITMQ_LOG_BASE=$RMQ_HOME/log" \
    "RABBITMQ_LOGS=$RMQ_LOG" \
    "RABBITMQ_PID_FILE=$RMQ_HOME/data/pid" \
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}" \
    "$RMQ_BIN/rabbitmq-server" -postroom "$NODE"
  remember rabbitmq.pid "$SPAWNED"
  wait_for 30 rmq_appeared
}
