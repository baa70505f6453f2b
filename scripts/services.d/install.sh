# shellcheck shell=bash
# Installing: the rights it takes, the question, and the call of scripts/install-packages.

# have_terminal: also when standard input is redirected.
have_terminal() {
  { : <>/dev/tty; } 2>/dev/null
}

# cannot_install: sets OBSTACLE and REMEDY; false if installing can be tried.
cannot_install() {
  OBSTACLE='' REMEDY=''
  if [ "$(package_manager)" != apt-get ]; then
    OBSTACLE="packages are installed here with apt-get only"
  elif ! am_root && ! command -v sudo >/dev/null; then
    OBSTACLE="only root can install, and there is no sudo"
  elif [ "$ASSUME_YES" = no ] && ! have_terminal; then
    OBSTACLE="there is no terminal to ask at whether to install"
    REMEDY="to agree beforehand, set POSTROOM_INSTALL=yes and run this again"
  elif ! am_root && ! have_terminal && ! sudo -n true 2>/dev/null; then
    OBSTACLE="sudo asks for a password, and there is no terminal"
    REMEDY="run this in a terminal"
  else
    return 1
  fi
}

# for_an_administrator NEED...: the command for root.
for_an_administrator() {
  local line
  if [ "$(package_manager)" != apt-get ]; then
    echo "install: $(how_to_install "$@")"
    return
  fi
  line="$REPO/scripts/install-packages $(packages_with_minimum "$@")"
  if am_root; then
    echo "or install by hand: $line"
  elif command -v sudo >/dev/null; then
    echo "or an administrator runs: sudo $line"
  else
    echo "an administrator runs, as root: $line"
  fi
  echo "(or $(install_line '' "$@"), which starts the servers at every boot)"
}

# sizes PACKAGE...: dependencies included; empty if apt-get has no lists.
sizes() {
  local all
  all=$(LC_ALL=C apt-get -s -qq --no-install-recommends install "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\).*/\1/p') || return 0
  # shellcheck disable=SC2086 # names are words
  [ -z "$all" ] || apt-cache show --no-all-versions $all | awk '
    /^Size:/ { bytes += $2 }
    /^Installed-Size:/ { kb += $2 }
    END { printf "%d MB to download, %d MB on the disk", bytes / 1000000 + 1, kb / 1024 + 1 }'
}

# consent NEED...: asks one question for all packages, at the terminal.
consent() {
  [ "$ASSUME_YES" = no ] || return 0
  local need size reply through=''
  # shellcheck disable=SC2046 # names are words
  size=$(sizes $(packages apt-get "$@"))
  am_root || through=', through sudo, which may ask for your password'
  {
    printf 'These packages are needed and missing:\n'
    for need in "$@"; do
      printf '  %-18s %s\n' "$(package apt-get "$need")" "$(reason "$need")"
    done
    printf 'With what they depend on: %s. apt-get installs them as root%s.\n' \
      "${size:-at most $MB_PACKAGES MB on the disk}" "$through"
    printf 'Their own servers are not started, neither now nor at boot. Private ones run as %s, until\n' "$(id -un)"
    printf '`make services-down`. README.md, "Uninstall", tells how to remove everything.\n'
    printf 'Install them? [Y/n] '
  } >/dev/tty
  read -r reply </dev/tty || return 1
  case $reply in '' | [yY]*) ;; *) return 1 ;; esac
}

# as_root COMMAND...: sudo asks for a password at the terminal, also with redirected input.
as_root() {
  if am_root; then
    "$@"
  elif have_terminal; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

# install NEED...: true when all of it was installed.
install() {
  local log=$OUT/install.log names
  ! cannot_install || return 1
  consent "$@" || return 1
  names=$(packages apt-get "$@")
  say install "$names, with apt-get (log: $log)"
  # The script's errors go to the log; sudo's errors stay on standard error, for the user.
  # shellcheck disable=SC2046,SC2016 # names are words; expanded by the inner bash
  if ! as_root bash -c 'exec bash "$0" "$@" 2>&1' "$REPO/scripts/install-packages" $(packages_with_minimum "$@") \
    </dev/null >"$log" 9>&-; then
    if [ ! -s "$log" ]; then
      complain "sudo does not let $(id -un) install" "$(for_an_administrator "$@")"
      return 1
    fi
    complain "apt-get could not install $names" "see $log"
    show_log "$log"
    hint_packages_unreachable
    return 1
  fi
  hash -r
  good install "$names"
}
