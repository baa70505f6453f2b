# shellcheck shell=bash
# Machines of Debian releases, as folders to change the root to.

readonly MACHINES=${POSTROOM_DEBIAN:-/var/tmp/postroom-debian}

# check_release NAME: and that machines can be made here.
check_release() {
    if [[ ! $1 =~ ^[a-z]+$ ]]; then
        echo "error: a release has a name, as trixie has, not '$1'" >&2
        exit 2
    fi
    if [[ $(id -u) -ne 0 ]] || ! command -v debootstrap >/dev/null; then
        echo "error: making a machine needs root and debootstrap; as root: apt-get install debootstrap" >&2
        exit 1
    fi
}

# make_machine FOLDER RELEASE PACKAGES: once; PACKAGES with commas between.
make_machine() {
    local machine=$1 release=$2 packages=$3
    [[ ! -e $machine/made ]] || return 0
    echo "making a machine of $release in $machine" >&2
    mkdir -p "$machine"
    if ! debootstrap --variant=minbase --include="$packages" "$release" "$machine" >"$machine.log" 2>&1; then
        tail -3 "$machine.log" >&2
        echo "error: there is no machine of $release; $machine.log says why" >&2
        exit 1
    fi
    touch "$machine/made"
}

# mount_system MACHINE: devices, processes, network names. The caller is in namespaces of its
# own, for mounts and processes; the mounts end with them.
mount_system() {
    mount --rbind /dev "$1/dev"
    mount -t proc proc "$1/proc"
    mount -t sysfs sysfs "$1/sys"
    mount -t tmpfs -o mode=755 run "$1/run"
    cp /etc/resolv.conf /etc/hosts "$1/etc/"
}
