# shellcheck shell=bash
# Servers in containers, from compose.yaml, where an engine runs.

readonly PROJECT="postroom-${BASE##*[-/]}"

# compose_find: sets COMPOSE, the words to call it by.
compose_find() {
  if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
    COMPOSE=(docker compose)
  elif docker info >/dev/null 2>&1 && command -v docker-compose >/dev/null; then
    COMPOSE=(docker-compose)
  elif podman info >/dev/null 2>&1 && podman compose version >/dev/null 2>&1; then
    COMPOSE=(podman compose)
  else
    return 1
  fi
}

compose() {
  "${COMPOSE[@]}" -p "$PROJECT" -f "$REPO/compose.yaml" "$@" </dev/null 9>&-
}

# The ports and passwords of compose.yaml.
compose_database_url() {
  echo "postgres://postgres:postroom@127.0.0.1:${POSTROOM_COMPOSE_POSTGRES_PORT:-21432}/postgres"
}

compose_amqp_url() {
  echo "amqp://postroom:postroom@127.0.0.1:${POSTROOM_COMPOSE_AMQP_PORT:-21672}/%2f"
}

compose_admin_url() {
  echo "http://postroom:postroom@127.0.0.1:${POSTROOM_COMPOSE_ADMIN_PORT:-21673}"
}

# compose_up SERVICE...: postgres, rabbitmq or both. `--wait` is not known to
# every engine's compose; where it fails the ports are asked below.
compose_up() {
  local log=$OUT/compose.log
  say compose "starting $* in containers (log: $log)"
  remember compose "$*"
  if ! compose up -d --wait "$@" >"$log" 2>&1 && ! compose up -d "$@" >>"$log" 2>&1; then
    complain "'${COMPOSE[*]} up' failed for $*" "see $log"
    show_log "$log"
    return 1
  fi
  if [[ " $* " == *' rabbitmq '* ]]; then
    wait_for 120 compose_rabbitmq_ready || {
      complain "RabbitMQ in its container does not answer" "${COMPOSE[*]} -p $PROJECT logs rabbitmq"
      return 1
    }
  fi
  good compose "$* up"
}

compose_rabbitmq_ready() {
  [ "$(admin_status "$(compose_admin_url)" /api/whoami)" = 200 ]
}

compose_down() {
  [ -n "$(recall compose)" ] || return 0
  if ! compose_find; then
    complain "the container engine that runs $(recall compose) does not answer" "start it, then run this again"
    return 1
  fi
  local volumes=()
  [ "$KEEP_DATA" = yes ] || volumes=(--volumes)
  compose down ${volumes[@]+"${volumes[@]}"} >"$OUT/compose.log" 2>&1 || {
    complain "'${COMPOSE[*]} down' failed" "see $OUT/compose.log"
    return 1
  }
  forget compose
  good compose stopped
}
