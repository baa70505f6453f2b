# shellcheck shell=bash
# Servers named by the environment: checked, then used as they are.

# check_given_database URL
check_given_database() {
  local url=$1 shown version
  shown=$(redacted "$url")
  case $url in
    postgres://* | postgresql://*) ;;
    *) die "POSTROOM_DATABASE_URL is '$shown'" "write it as postgres://user:password@host:port/database" ;;
  esac
  # psql was made sure of before. `-w`: never ask for a password.
  if ! version=$(PGCONNECT_TIMEOUT=5 psql -wXAtq -d "$url" -c 'SHOW server_version_num' </dev/null 2>"$OUT/psql.err"); then
    complain "PostgreSQL at $shown (POSTROOM_DATABASE_URL) does not answer" \
      "start it or correct the URL; or unset POSTROOM_DATABASE_URL to have one started here"
    sed 's/^/       | /' "$OUT/psql.err" >&2
    exit 1
  fi
  [ "$version" -ge "${MIN_POSTGRES}0000" ] ||
    die "PostgreSQL at $shown (POSTROOM_DATABASE_URL) is version $((version / 10000))" "use $MIN_POSTGRES or newer"
  good postgres "given, answers: $shown"
}

# check_given_amqp URL
check_given_amqp() {
  local url=$1 shown host port
  shown=$(redacted "$url")
  case $url in
    amqp://* | amqps://*) ;;
    *) die "POSTROOM_AMQP_URL is '$shown'" "write it as amqp://user:password@host:port/vhost" ;;
  esac
  split_url "$url" || die "POSTROOM_AMQP_URL is '$shown'" "write it as amqp://user:password@host:port/vhost"
  port=$URL_PORT
  [ -n "$port" ] || { [ "$URL_SCHEME" = amqp ] && port=5672; } || port=5671
  host=${URL_HOST#[}
  host=${host%]}
  answers "${host:-localhost}" "$port" 5 ||
    die "RabbitMQ at $shown (POSTROOM_AMQP_URL) does not answer" \
      "start it or correct the URL; or unset POSTROOM_AMQP_URL to have one started here"
  good rabbitmq "given, answers: $shown"
}

# given_admin_url AMQP_URL: the one given, else derived.
given_admin_url() {
  if [ -n "${POSTROOM_AMQP_ADMIN_URL:-}" ]; then
    echo "$POSTROOM_AMQP_ADMIN_URL"
    return
  fi
  split_url "$1"
  echo "http://${URL_LOGIN:-guest:guest}@${URL_HOST:-localhost}:15672"
}

# check_given_admin URL: only warns: the demo needs it as little as production.
check_given_admin() {
  local url=$1 status
  case $url in
    https://*) return ;; # not within reach of plain bash
  esac
  status=$(admin_status "$url" /api/whoami)
  [ "$status" = 200 ] && return
  warn rabbitmq "the management plugin at $(redacted "$url") answers '$status', not 200: tests make virtual hosts by it"
  warn rabbitmq "enable rabbitmq_management, give the user the tag 'administrator', or set POSTROOM_AMQP_ADMIN_URL"
}
