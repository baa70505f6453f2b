# shellcheck shell=bash
# Takes URLs apart as far as this script needs.

# split_url URL: sets URL_SCHEME, URL_LOGIN (user:password as written), URL_HOST,
# URL_PORT; what is missing is empty.
split_url() {
  local pattern='^([a-z]+)://(([^/?#]*)@)?(\[[0-9a-fA-F:.]+\]|[^]@:/?#[]*)(:([0-9]+))?([/?#].*)?$'
  [[ $1 =~ $pattern ]] || return 1
  URL_SCHEME=${BASH_REMATCH[1]}
  URL_LOGIN=${BASH_REMATCH[3]}
  URL_HOST=${BASH_REMATCH[4]}
  URL_PORT=${BASH_REMATCH[6]}
}

# redacted URL: fit to be shown.
redacted() {
  sed -E 's#(://[^:/@]*):[^/]*@#\1:***@#; s#(password=)[^&]*#\1***#' <<<"$1"
}

# decoded TEXT: percent-encoding undone.
decoded() {
  local text=${1//\\/\\\\}
  printf '%b' "${text//%/\\x}"
}

# admin_status ADMIN_URL PATH: the HTTP status of a GET on the management plugin,
# 000 when it does not answer. Plain bash: curl is not everywhere.
admin_status() {
  split_url "$1" || { echo 000 && return; }
  local host=${URL_HOST#[} login status
  host=${host%]}
  login=$(decoded "$URL_LOGIN" | base64 | tr -d '\n')
  # shellcheck disable=SC2016 # expanded by the inner bash
  status=$(limited 5 bash -c '
    exec 3<>"/dev/tcp/$0/$1" || exit
    printf "GET %s HTTP/1.0\r\nHost: %s\r\nAuthorization: Basic %s\r\n\r\n" "$2" "$0" "$3" >&3
    read -r _ status _ <&3 && echo "$status"
  ' "$host" "${URL_PORT:-80}" "$2" "$login" 2>/dev/null) || true
  echo "${status:-000}"
}
