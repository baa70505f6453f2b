# shellcheck shell=bash
# Needs of the demo and the tests: the reason of each, and its package in each package manager.

package_manager() {
  local manager
  for manager in apt-get dnf pacman apk brew; do
    command -v "$manager" >/dev/null && echo "$manager" && return
  done
  echo none
}

# reason NEED: for the question before the installation.
reason() {
  case $1 in
    postgres) echo "the database server, $MIN_POSTGRES or newer" ;;
    psql) echo "applies the migrations, also to a server elsewhere" ;;
    rabbitmq) echo "the broker, $MIN_RABBITMQ or newer, and the Erlang it runs on" ;;
    pgbouncer) echo "tests: consumers behind a pooler" ;;
    faketime) echo "tests: a relay whose clock is wrong" ;;
    ip | nft) echo "tests: a network that is cut off" ;;
    kill) echo "tests: processes that are stopped" ;;
    git) echo "tests: known mistakes, kept as patches, still apply" ;;
  esac
}

# package MANAGER NEED: the name of the package.
package() {
  case $1:$2 in
    apt-get:postgres | pacman:postgres | apk:postgres) echo postgresql ;;
    apt-get:psql | apk:psql) echo postgresql-client ;;
    apt-get:rabbitmq | dnf:rabbitmq | apk:rabbitmq) echo rabbitmq-server ;;
    dnf:postgres) echo postgresql-server ;;
    dnf:psql) echo postgresql ;;
    pacman:psql) echo postgresql-libs ;;
    brew:postgres) echo postgresql@16 ;;
    brew:psql) echo libpq ;;
    apt-get:compiler) echo gcc libc6-dev ;;
    apk:compiler) echo build-base ;;
    *:compiler) echo gcc ;;
    *:rabbitmq) echo rabbitmq ;;
    *:ip) echo iproute2 ;;
    *:nft) echo nftables ;;
    apt-get:kill) echo procps ;;
    *:kill) echo procps-ng ;;
    apt-get:faketime) echo faketime ;;
    *:faketime) echo libfaketime ;;
    *) echo "$2" ;;
  esac
}

# packages MANAGER NEED...
packages() {
  local manager=$1 need names=''
  shift
  for need in "$@"; do
    names="$names $(package "$manager" "$need")"
  done
  echo "${names# }"
}

# packages_with_minimum NEED...: arguments of scripts/install-packages.
packages_with_minimum() {
  local need names=''
  for need in "$@"; do
    names="$names $(package apt-get "$need")"
    case $need in
      postgres) names+="=$MIN_POSTGRES" ;;
      rabbitmq) names+="=$MIN_RABBITMQ" ;;
    esac
  done
  echo "${names# }"
}

# how_to_install NEED...: the line that the present user would type.
how_to_install() {
  local line
  line=$(install_line '' "$@")
  if am_root || [[ $line == brew* || $line == see* ]]; then
    echo "$line"
  elif command -v sudo >/dev/null; then
    install_line 'sudo ' "$@"
  else
    echo "su -c '$line'"
  fi
}

# install_line SUDO NEED...
install_line() {
  local sudo=$1 manager names
  shift
  manager=$(package_manager)
  names=$(packages "$manager" "$@")
  case $manager in
    apt-get) echo "${sudo}apt-get update && ${sudo}apt-get install --no-install-recommends $names" ;;
    dnf) echo "${sudo}dnf install $names" ;;
    pacman) echo "${sudo}pacman -S $names" ;;
    apk) echo "${sudo}apk add $names" ;;
    brew) echo "brew install $names" ;;
    none) echo "see postgresql.org/download and rabbitmq.com/docs/download" ;;
  esac
}
