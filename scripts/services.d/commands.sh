# shellcheck shell=bash
# up, down, status, env.

# choose: for each server sets FROM_PG and FROM_RMQ to given, private or missing.
choose() {
  FROM_PG=given FROM_RMQ=given
  # Our own URL, sourced from the env file, does not lead to a server that others run.
  if [ -z "${POSTROOM_DATABASE_URL:-}" ] || [ "$POSTROOM_DATABASE_URL" = "$(pg_url)" ]; then
    FROM_PG=private
    pg_find || FROM_PG=missing
  fi
  if [ -z "${POSTROOM_AMQP_URL:-}" ] || [ "$POSTROOM_AMQP_URL" = "$(rmq_url)" ]; then
    FROM_RMQ=private
    rmq_find || FROM_RMQ=missing
  fi
}

# missing: sets MISSING to what has to be installed. Migrations are applied by psql,
# also on a server that is given.
missing() {
  MISSING=()
  [ "$FROM_PG" != missing ] || MISSING+=(postgres)
  [ "$FROM_PG" = missing ] || command -v psql >/dev/null || MISSING+=(psql)
  [ "$FROM_RMQ" != missing ] || MISSING+=(rabbitmq)
  [ "${#MISSING[@]}" -gt 0 ]
}

# missing_tools: sets TOOLS to the programs that single tests run and nothing else needs,
# as far as they are not installed.
missing_tools() {
  local tool wanted=(pgbouncer faketime kill git)
  TOOLS=()
  [ "$PURPOSE" = test ] || return 0
  # Network namespaces are root's.
  ! am_root || wanted+=(ip nft)
  for tool in "${wanted[@]}"; do
    # bash has a kill of its own, which programs cannot run.
    type -P "$tool" >/dev/null || [ -x "/usr/sbin/$tool" ] || TOOLS+=("$tool")
  done
}

# look: finds the servers and the tools.
look() {
  choose
  missing || true
  missing_tools
}

# in_containers: what is still missing, from compose.yaml; psql has to be here.
in_containers() {
  local need services=()
  command -v psql >/dev/null || return 1
  for need in "${MISSING[@]}"; do
    services+=("$need")
  done
  compose_find && compose_up "${services[@]}" || return 1
  [ "$FROM_PG" != missing ] || FROM_PG=compose
  [ "$FROM_RMQ" != missing ] || FROM_RMQ=compose
}

# cannot_go_on PRINT: tells by PRINT (finding or die) the missing servers and all ways out.
cannot_go_on() {
  local print=$1 problem ways=()
  problem="missing: ${MISSING[*]} (needed: PostgreSQL >= $MIN_POSTGRES with psql, RabbitMQ >= $MIN_RABBITMQ)"
  [ "${MISSING[*]}" != psql ] || problem="psql is missing: migrations are applied by it, also on a given server"
  [ -z "${PG_TOO_OLD:-}" ] || [ "$FROM_PG" != missing ] || ways+=("PostgreSQL $PG_TOO_OLD is here, but $MIN_POSTGRES or newer is needed")
  [ -z "${RMQ_TOO_OLD:-}" ] || [ "$FROM_RMQ" != missing ] || ways+=("RabbitMQ $RMQ_TOO_OLD is here, but $MIN_RABBITMQ or newer is needed")
  ! cannot_install || problem+=", and $OBSTACLE"
  [ -z "$REMEDY" ] || ways+=("$REMEDY")
  ways+=("$(for_an_administrator "${MISSING[@]}" ${TOOLS[@]+"${TOOLS[@]}"})")
  if [ "${MISSING[*]}" != psql ]; then
    ways+=("or start a Docker engine (compose.yaml is used then; psql is needed all the same)"
      "or point to servers: export POSTROOM_DATABASE_URL=postgres://… POSTROOM_AMQP_URL=amqp://…")
  fi
  "$print" "$problem" "${ways[@]}"
}

# check_servers: a finding for missing servers that can be neither installed nor run in
# containers.
check_servers() {
  [ "${#MISSING[@]}" -eq 0 ] || ! cannot_install || can_use_containers || cannot_go_on finding
}

can_use_containers() {
  command -v psql >/dev/null && compose_find
}

# provide: installs missing servers and tools at once. Tests whose tool is missing fail;
# the other tests run.
provide() {
  local needs=(${MISSING[@]+"${MISSING[@]}"} ${TOOLS[@]+"${TOOLS[@]}"})
  [ "${#needs[@]}" -gt 0 ] || return 0
  ! install "${needs[@]}" || look
  if missing; then
    in_containers || cannot_go_on die
  fi
  [ "${#TOOLS[@]}" -eq 0 ] ||
    warn services "tests that need ${TOOLS[*]} will fail; to install: $(how_to_install "${TOOLS[@]}")"
}

# start: both private servers at once.
start() {
  local postgres='' rabbitmq='' failed=no
  [ "$FROM_PG" != private ] || { pg_up & postgres=$!; }
  [ "$FROM_RMQ" != private ] || { rmq_up & rabbitmq=$!; }
  [ -z "$postgres" ] || wait "$postgres" || failed=yes
  [ -z "$rabbitmq" ] || wait "$rabbitmq" || failed=yes
  [ "$failed" = no ] || exit 1
}

command_up() {
  look
  preflight "$PURPOSE"
  check_disk "$PURPOSE"
  check_servers
  stop_at_findings
  make_folders
  lock
  # Another `up` may have installed something meanwhile.
  look
  provide
  [ "$FROM_PG" != given ] || check_given_database "$POSTROOM_DATABASE_URL"
  [ "$FROM_RMQ" != given ] || check_given_amqp "$POSTROOM_AMQP_URL"
  start
  local database amqp admin
  case $FROM_PG in
    given) database=$POSTROOM_DATABASE_URL ;;
    private) database=$(pg_url) ;;
    compose) database=$(compose_database_url) ;;
  esac
  case $FROM_RMQ in
    given)
      amqp=$POSTROOM_AMQP_URL admin=$(given_admin_url "$POSTROOM_AMQP_URL")
      check_given_admin "$admin"
      ;;
    private) amqp=$(rmq_url) admin=$(rmq_admin_url) ;;
    compose) amqp=$(compose_amqp_url) admin=$(compose_admin_url) ;;
  esac
  remember postgres.from "$FROM_PG"
  remember rabbitmq.from "$FROM_RMQ"
  local restart=''
  [ "$FROM_RMQ" != private ] || restart="$(quoted "$REPO/scripts/services") restart-rabbitmq"
  write_env "$database" "$amqp" "$admin" "$restart"
}

command_down() {
  if [ ! -d "$BASE" ]; then
    rm -f "$ENV_FILE"
    say services "nothing was started here"
    return
  fi
  make_folders
  lock
  local failed=no
  compose_down || failed=yes
  pg_down &
  rmq_down
  wait $! || failed=yes
  rm -f "$ENV_FILE"
  [ "$failed" = no ] || exit 1
  forget postgres.from rabbitmq.from
  if [ "$KEEP_DATA" = yes ]; then
    say services "data kept in $BASE"
  else
    rm -rf "${BASE:?}"
  fi
}

# command_restart_rabbitmq: only the one that is ours to stop.
command_restart_rabbitmq() {
  make_folders
  lock
  [ "$(recall rabbitmq.from)" = private ] ||
    die "there is no RabbitMQ that \`up\` started here" "restart yours where it runs"
  rmq_find || die "RabbitMQ is not installed any more" "run: scripts/services up"
  rmq_stop
  rmq_up
}

pg_where() {
  echo "127.0.0.1:$(recall postgres.port), pid $(pg_pid), data $PG_DATA, log $PG_LOG"
}

rmq_where() {
  echo "127.0.0.1:$(recall rabbitmq.port), management $(recall rabbitmq.admin_port), pid $(recall rabbitmq.pid), data $RMQ_HOME/data, log $RMQ_LOG"
}

# status_line NAME RUNS WHERE
status_line() {
  case $(recall "$1.from") in
    given) good "$1" "given: the last \`up\` was told where it is" ;;
    compose) good "$1" "in a container of project $PROJECT" ;;
    *)
      if "$2"; then
        good "$1" "runs: $("$3")"
      else
        warn "$1" "does not run"
        return 1
      fi
      ;;
  esac
}

rmq_serves() {
  rmq_runs && rmq_ready
}

command_status() {
  local status=0
  status_line postgres pg_ready pg_where || status=1
  status_line rabbitmq rmq_serves rmq_where || status=1
  return "$status"
}

command_env() {
  [ -f "$ENV_FILE" ] || die "there is no $ENV_FILE" "run: scripts/services up"
  cat "$ENV_FILE"
}
