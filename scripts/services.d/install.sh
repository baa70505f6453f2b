# shellcheck shell=bash
# Installing what is missing with the system's package manager.

# Run as root; arguments are packages. The distribution would start the servers it
# installs, now and at every boot: policy-rc.d is its own way to say no to the
# first, and units that were not there before are disabled. A policy-rc.d left by a
# run cut short is known by its mark.
# shellcheck disable=SC2016 # expanded by the inner shell
readonly APT_INSTALL='
set -eu
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C
policy=/usr/sbin/policy-rc.d
mark="# made by scripts/services of Postroom while it installs packages"
if [ ! -e "$policy" ] || grep -qF "$mark" "$policy"; then
  trap "rm -f $policy" EXIT
  trap "exit 1" HUP INT TERM
  printf "#!/bin/sh\n%s\nexit 101\n" "$mark" >"$policy"
  chmod 755 "$policy"
fi
new=
if [ -d /run/systemd/system ]; then
  for unit in postgresql.service rabbitmq-server.service epmd.service epmd.socket pgbouncer.service; do
    systemctl cat "$unit" >/dev/null 2>&1 || new="$new $unit"
  done
fi
apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install "$@"
for unit in $new; do
  systemctl disable "$unit" >/dev/null 2>&1 || true
done
'

package_manager() {
  local manager
  for manager in apt-get dnf pacman apk brew; do
    command -v "$manager" >/dev/null && echo "$manager" && return
  done
  echo none
}

# package MANAGER NEED: what NEED (postgres, psql, rabbitmq, pgbouncer, faketime, ip or
# nft) is called there.
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
    *:rabbitmq) echo rabbitmq ;;
    *:ip) echo iproute2 ;;
    *:nft) echo nftables ;;
    *:pgbouncer) echo pgbouncer ;;
    apt-get:faketime) echo faketime ;;
    *:faketime) echo libfaketime ;;
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

# how_to_install NEED...: the line a person would type.
how_to_install() {
  local manager names sudo='sudo '
  ! am_root || sudo=''
  manager=$(package_manager)
  names=$(packages "$manager" "$@")
  case $manager in
    apt-get) echo "${sudo}apt-get update && ${sudo}apt-get install $names" ;;
    dnf) echo "${sudo}dnf install $names" ;;
    pacman) echo "${sudo}pacman -S $names" ;;
    apk) echo "${sudo}apk add $names" ;;
    brew) echo "brew install $names" ;;
    none) echo "see postgresql.org/download and rabbitmq.com/docs/download" ;;
  esac
}

# as_root COMMAND...: sudo asks for a password only at a terminal.
as_root() {
  if am_root; then
    "$@"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

can_be_root() {
  am_root || { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }
}

# consent QUESTION
consent() {
  [ "$ASSUME_YES" = no ] || return 0
  [ -t 0 ] || return 1
  local reply
  printf '%s [Y/n] ' "$1" >&2
  read -r reply || return 1
  case $reply in '' | [yY]*) ;; *) return 1 ;; esac
}

# apt_offers NEED: the version apt-get would install is new enough.
apt_offers() {
  local name version minimum=0
  [ "$1" != postgres ] || minimum=$MIN_POSTGRES
  [ "$1" != rabbitmq ] || minimum=$MIN_RABBITMQ
  name=$(package apt-get "$1")
  version=$(LC_ALL=C apt-cache policy "$name" | sed -nE 's/^ *Candidate: ([0-9]+:)?([0-9.]+).*/\2/p')
  if [ -z "$version" ]; then
    warn install "apt-get knows no package $name"
    return 1
  fi
  at_least "$version" "$minimum" && return
  warn install "apt-get offers $name $version only; $minimum is needed"
  return 1
}

# install NEED...: true when all of it was installed.
install() {
  local need names log=$OUT/install.log
  [ "$(package_manager)" = apt-get ] || return 1
  names=$(packages apt-get "$@")
  can_be_root || return 1
  consent "Install $names with apt-get? (its own services will not be started)" || return 1
  say install "$names, with apt-get (log: $log)"
  as_root apt-get -o DPkg::Lock::Timeout=300 -qq update </dev/null >"$log" 2>&1 9>&- ||
    warn install "apt-get update failed; trying with the lists at hand"
  for need in "$@"; do
    apt_offers "$need" || return 1
  done
  # shellcheck disable=SC2086 # names are words
  if ! as_root sh -c "$APT_INSTALL" sh $names </dev/null >>"$log" 2>&1 9>&-; then
    complain "apt-get could not install $names" "see $log"
    show_log "$log"
    return 1
  fi
  hash -r
  good install "$names"
}
