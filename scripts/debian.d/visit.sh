# shellcheck shell=bash
# A fresh machine, a user with or without a terminal, and checks of the output.

# MACHINE is the folder; OUTPUT and STATUS are of the last command run there.
MACHINE='' OUTPUT='' STATUS=0
readonly PASSWORD=correct-horse

# enter BARE: a machine in memory above BARE, with a user, Rust and a checkout.
enter() {
    local bare=$1 rust
    mount --make-rprivate /
    mkdir -p "$bare.visit" "$bare.archives/partial"
    mount -t tmpfs -o mode=755 visit "$bare.visit"
    mkdir "$bare.visit"/{changes,work,machine}
    MACHINE=$bare.visit/machine
    mount -t overlay -o "lowerdir=$bare,upperdir=$bare.visit/changes,workdir=$bare.visit/work" machine "$MACHINE"
    mount_system "$MACHINE"
    mount --bind "$bare.archives" "$MACHINE/var/cache/apt/archives"
    # Each machine locks for itself, and trusts the authorities that this one trusts.
    touch "$bare.archives/lock" "$bare.visit/lock"
    mount --bind "$bare.visit/lock" "$MACHINE/var/cache/apt/archives/lock"
    mount --bind -o ro /etc/ssl/certs/ca-certificates.crt "$MACHINE/etc/ssl/certs/ca-certificates.crt"
    in_machine useradd --create-home --shell /bin/bash --groups sudo visitor
    in_machine chpasswd <<<"visitor:$PASSWORD"
    mkdir -p "$MACHINE/opt/rust"/{cargo,rustup} "$MACHINE/home/visitor/postroom"
    rust=${CARGO_HOME:-$HOME/.cargo}
    mount --bind -o ro "$rust/bin" "$MACHINE/opt/rust/cargo"
    mount --bind -o ro "${RUSTUP_HOME:-$HOME/.rustup}" "$MACHINE/opt/rust/rustup"
    cat >"$MACHINE/etc/profile.d/rust.sh" <<'PROFILE'
export RUSTUP_HOME=/opt/rust/rustup PATH=/opt/rust/cargo:$PATH
PROFILE
    check_out
    in_machine chown -R visitor: /home/visitor/postroom
}

check_out() {
    git archive "${REVISION:-HEAD}" | tar -x -C "$MACHINE/home/visitor/postroom"
}

in_machine() {
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        LANG=C.UTF-8 chroot "$MACHINE" "$@"
}

# visit USER COMMAND: logs in where there is no terminal; sets OUTPUT and STATUS.
visit() {
    echo "--- $1, no terminal: $2"
    STATUS=0
    OUTPUT=$(in_machine setsid -w timeout 1200 su - "$1" -c "cd /home/visitor/postroom; $2" </dev/null 2>&1) || STATUS=$?
    printf '%s\n(status %d)\n' "$OUTPUT" "$STATUS"
}

# visit_at_terminal USER COMMAND [PROMPT ANSWER]...: types each answer once its prompt is there.
visit_at_terminal() {
    local user=$1 command=$2 letter seen='' status=$MACHINE/tmp/status screen keyboard process
    shift 2
    echo "--- $user, at a terminal: $command"
    printf 'cd /home/visitor/postroom\n%s\necho $? >/tmp/status\n' "$command" >"$MACHINE/tmp/visit"
    OUTPUT='' STATUS=124
    rm -f "$status"
    # With -c, su would start a session without the terminal.
    coproc TERMINAL { script -qefc "env -i TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot '$MACHINE' su - $user --session-command 'bash /tmp/visit'" /dev/null; }
    # bash removes the array TERMINAL when the process ends.
    exec {screen}<&"${TERMINAL[0]}" {keyboard}>&"${TERMINAL[1]}"
    process=$TERMINAL_PID
    # Reading ends with the command, or when nothing comes.
    while IFS= read -r -d '' -n 1 -t 600 letter <&"$screen"; do
        seen+=$letter
        printf '%s' "$letter"
        if [[ $# -gt 0 && $seen == *"$1" ]]; then
            printf '%s\n' "$2" >&"$keyboard"
            OUTPUT+=$seen seen=''
            shift 2
        fi
    done
    exec {screen}<&- {keyboard}>&-
    # After a time without output; else it has ended.
    kill "$process" 2>/dev/null || true
    wait "$process" || true
    OUTPUT=${OUTPUT//$'\r'/}${seen//$'\r'/}
    [[ ! -s $status ]] || STATUS=$(<"$status")
    printf '(status %d)\n' "$STATUS"
    [[ $# -eq 0 ]] || wrong "was never asked: $1"
}

wrong() {
    echo "wrong: $*"
    exit 1
}

succeeded() {
    [[ $STATUS -eq 0 ]] || wrong "it failed with $STATUS"
}

failed() {
    [[ $STATUS -ne 0 ]] || wrong "it succeeded"
}

# told TEXT...: each stands in the output.
told() {
    local text
    for text in "$@"; do
        [[ $OUTPUT == *"$text"* ]] || wrong "it did not tell: $text"
    done
}

not_told() {
    local text
    for text in "$@"; do
        [[ $OUTPUT != *"$text"* ]] || wrong "it told: $text"
    done
}

# times_told COUNT TEXT
times_told() {
    local rest=${OUTPUT//"$2"/} count
    count=$(((${#OUTPUT} - ${#rest}) / ${#2}))
    [[ $count -eq $1 ]] || wrong "it told $count times, not $1 times: $2"
}

has_package() {
    in_machine dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

# untouched: no server was installed or started.
untouched() {
    ! has_package postgresql || wrong "PostgreSQL was installed"
    ! has_package rabbitmq-server || wrong "RabbitMQ was installed"
    [[ ! -e $MACHINE/home/visitor/postroom/target/services/env ]] || wrong "servers were started"
}

# servers_stay_off: neither systemd nor an older init would start them at boot.
servers_stay_off() {
    local found
    has_package postgresql || wrong "PostgreSQL was not installed"
    found=$(cd "$MACHINE/etc" && find systemd/system rc?.d \( -path '*.wants/*' -o -name 'S*' \) \
        \( -name '*postgresql*' -o -name '*rabbitmq*' -o -name '*epmd*' -o -name '*pgbouncer*' \))
    [[ -z $found ]] || wrong "it starts at boot: $found"
    [[ ! -e $MACHINE/usr/sbin/policy-rc.d ]] || wrong "/usr/sbin/policy-rc.d was left behind"
}
