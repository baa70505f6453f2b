# shellcheck shell=bash
# Processes and ports: who runs, as whom, and where there is room.

# process_args PID: its command line on one line; empty for the dead and for
# zombies.
process_args() {
  if [ -d /proc/self ]; then
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true
  else
    ps -ww -o args= -p "$1" 2>/dev/null || true
  fi
}

# runs PID MARK: PID is alive and has MARK in its command line. The mark makes a
# pid file of before a reboot harmless, whoever has that number now.
runs() {
  [[ $1 =~ ^[0-9]+$ ]] || return 1
  local args try
  # For a moment after exec a living process shows no arguments at all.
  for try in 1 2 3 4 5; do
    args=$(process_args "$1")
    [ -z "$args" ] && [ -d "/proc/$1" ] && [ "$try" -lt 5 ] || break
    sleep 0.02
  done
  [[ $args == *"$2"* ]]
}

# wait_for SECONDS COMMAND...: polls until COMMAND succeeds.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

gone() {
  ! runs "$1" "$2"
}

# stop_process PID MARK SIGNAL SECONDS: asks with SIGNAL, insists with KILL.
stop_process() {
  local pid=$1 mark=$2 signal=$3 seconds=$4
  runs "$pid" "$mark" || return 0
  kill "-$signal" "$pid" 2>/dev/null || true
  wait_for "$seconds" gone "$pid" "$mark" && return 0
  kill -KILL "$pid" 2>/dev/null || true
  wait_for 10 gone "$pid" "$mark"
}

am_root() {
  [ "$(id -u)" -eq 0 ]
}

# server_user PREFERRED: the user a server runs as; ourselves unless we are root.
server_user() {
  if ! am_root; then
    id -un
  elif id "$1" >/dev/null 2>&1; then
    echo "$1"
  else
    echo nobody
  fi
}

# run_as USER: sets AS, the words that make the next ones run as USER. setpriv
# replaces itself by the command; runuser would stay as its parent.
run_as() {
  if [ "$1" = "$(id -un)" ]; then
    AS=(env)
  elif setpriv --version >/dev/null 2>&1; then
    AS=(setpriv --reuid "$1" --regid "$(id -g "$1")" --init-groups --)
  else
    AS=(runuser -u "$1" --)
  fi
}

# own_session: sets SESSION, the words that keep a Ctrl-C here from the next ones.
own_session() {
  if command -v setsid >/dev/null; then
    SESSION=(setsid)
  else
    SESSION=(nohup)
  fi
}

# limited SECONDS COMMAND...: ended after SECONDS, where the system can do that.
limited() {
  if command -v timeout >/dev/null; then
    timeout "$@"
  else
    shift
    "$@"
  fi
}

# answers HOST PORT [SECONDS]: something accepts TCP connections there.
answers() {
  if [ $# -eq 3 ]; then
    # shellcheck disable=SC2016 # expanded by the inner bash
    limited "$3" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
  else
    (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null
  fi
}

# free_port: a port without a listener, below the range outgoing connections use.
free_port() {
  local port tries
  for tries in {1..200}; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    answers 127.0.0.1 "$port" || { echo "$port" && return; }
  done
  die "found no free port between 20000 and 31999 in $tries tries" "stop what listens there"
}

# keep_or_free PORT: PORT if it is still free, another otherwise.
keep_or_free() {
  if [ -n "$1" ] && ! answers 127.0.0.1 "$1"; then
    echo "$1"
  else
    free_port
  fi
}

new_password() {
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# at_least VERSION MINIMUM: compares dotted versions.
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}
