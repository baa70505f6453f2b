# shellcheck shell=bash
# The cases of scripts/fresh: a machine, a user, a command, and the expected outcome.

readonly QUESTION='Install them? [Y/n] '
readonly ASKS_PASSWORD='password for visitor: '

# As in CI: no terminal, and CI=true agrees. Then everything is removed again by the commands
# of README.md, "Uninstall".
case_root_in_ci() {
    local before
    before=$(in_machine dpkg-query -W -f '${Package}\n')
    visit root 'CI=true make services-up PURPOSE=test'
    succeeded
    servers_stay_off
    visit root 'make services-down && echo y | scripts/install-packages --remove'
    succeeded
    diff <(echo "$before") <(in_machine dpkg-query -W -f '${Package}\n') || wrong "packages stay"
    ! compgen -G "$MACHINE/var/tmp/postroom-*" || wrong "data stays"
}

case_root_at_a_terminal() {
    in_machine apt-get -qq update
    visit_at_terminal root 'make services-up' "$QUESTION" ''
    succeeded
    servers_stay_off
    times_told 1 '[Y/n]'
    told 'MB to download'
    not_told sudo
}

case_root_without_terminal() {
    visit root 'make services-up'
    failed
    told 'no terminal to ask at' 'POSTROOM_INSTALL=yes' 'scripts/install-packages postgresql=14 rabbitmq-server=3.10'
    untouched
}

# The default of Debian and Ubuntu; input is redirected, as from a script.
case_password() {
    visit_at_terminal visitor 'make services-up </dev/null' "$QUESTION" y "$ASKS_PASSWORD" "$PASSWORD"
    succeeded
    servers_stay_off
    times_told 1 '[Y/n]'
    visit visitor 'make services-up && make services-down'
    succeeded
    not_told 'Install'
}

case_password_without_terminal() {
    visit visitor 'POSTROOM_INSTALL=yes make services-up'
    failed
    told 'sudo asks for a password, and there is no terminal' 'run this in a terminal'
    untouched
}

case_wrong_password() {
    visit_at_terminal visitor 'make services-up' "$QUESTION" y \
        "$ASKS_PASSWORD" wrong "$ASKS_PASSWORD" wrong "$ASKS_PASSWORD" wrong
    failed
    told 'sudo does not let visitor install' 'an administrator runs: sudo /home/visitor/postroom/scripts/install-packages'
    untouched
}

case_declined() {
    visit_at_terminal visitor 'make services-up' "$QUESTION" n
    failed
    told 'missing: postgres rabbitmq' 'POSTROOM_DATABASE_URL='
    not_told "$ASKS_PASSWORD"
    untouched
}

case_passwordless() {
    echo 'visitor ALL=(ALL) NOPASSWD: ALL' >"$MACHINE/etc/sudoers.d/visitor"
    visit visitor 'POSTROOM_INSTALL=yes make services-up'
    succeeded
    servers_stay_off
}

# The administrator runs the command that the message names.
case_no_sudo() {
    SUDO_FORCE_REMOVE=yes in_machine env SUDO_FORCE_REMOVE=yes dpkg --purge sudo
    visit_at_terminal visitor 'make services-up'
    failed
    told 'only root can install, and there is no sudo'
    not_told '[Y/n]'
    untouched
    visit root "$(sed -n 's/.*an administrator runs, as root: //p' <<<"$OUTPUT")"
    succeeded
    servers_stay_off
    visit visitor 'make services-up && make services-down'
    succeeded
}

case_no_compiler() {
    in_machine apt-get -qq -y purge gcc libc6-dev
    in_machine apt-get -qq -y autoremove --purge
    visit_at_terminal visitor 'make demo'
    failed
    told 'a C compiler (cc) is missing' 'sudo apt-get install --no-install-recommends gcc libc6-dev'
    not_told '[Y/n]'
    untouched
}

# Debian's cargo, and no files of the C library: both are told at once.
case_old_rust() {
    in_machine apt-get -qq update
    in_machine apt-get -qq -y --no-install-recommends install cargo
    rm "$MACHINE/etc/profile.d/rust.sh"
    in_machine dpkg --purge --force-depends libc6-dev
    visit_at_terminal visitor 'make test'
    failed
    not_told rustfmt
    told 'and Rust 1.94 or newer is needed' 'https://sh.rustup.rs' 'cannot build a program' 'apt-get install --no-install-recommends curl'
    not_told '[Y/n]'
    untouched
}

case_no_rust() {
    rm "$MACHINE/etc/profile.d/rust.sh"
    visit visitor 'make demo'
    failed
    told 'cargo is missing: Rust 1.94 or newer is needed' 'https://sh.rustup.rs' 'no terminal to ask at'
    untouched
}

case_small_disk() {
    mount -t tmpfs -o size=200m small "$MACHINE/home/visitor/postroom"
    check_out
    in_machine chown -R visitor: /home/visitor/postroom
    visit_at_terminal visitor 'make demo'
    failed
    told '/home/visitor/postroom has ' 'MB are needed: build ' 'CARGO_TARGET_DIR='
    untouched
}

# Programs that only tests run are in the question of `make test`, and in no other.
case_tools_for_tests() {
    visit_at_terminal visitor 'make services-up' "$QUESTION" n
    not_told pgbouncer
    visit_at_terminal visitor 'make test' "$QUESTION" y "$ASKS_PASSWORD" "$PASSWORD" 'cargo fmt' $'\x03'
    times_told 1 '[Y/n]'
    told 'tests: consumers behind a pooler' 'tests: a relay whose clock is wrong' procps
    has_package pgbouncer || wrong "PgBouncer was not installed"
    servers_stay_off
}

# Crates come from the network. MB as `du` counts them.
case_demo() {
    local from=$SECONDS folder
    visit_at_terminal visitor 'make demo' "$QUESTION" '' "$ASKS_PASSWORD" "$PASSWORD"
    succeeded
    echo "measured: make demo took $((SECONDS - from)) s"
    for folder in postroom/target .cargo .local/state/postroom; do
        echo "measured: $(du -sm "$MACHINE/home/visitor/$folder" | cut -f 1) MB in ~/$folder"
    done
    visit visitor 'make services-down'
    succeeded
    [[ ! -e $MACHINE/home/visitor/.local/state/postroom ]] || ! compgen -G "$MACHINE/home/visitor/.local/state/postroom/*" || wrong "data stays"
}
