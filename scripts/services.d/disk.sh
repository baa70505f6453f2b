# shellcheck shell=bash
# Room on the disks, compared with the room that was measured on Debian 12.

# Megabytes. A release build, a debug build with its tests, the crates' sources; servers' data
# while the demo or the tests run, with what RabbitMQ wants to stay free; all packages.
readonly MB_DEMO_BUILD=1400 MB_TEST_BUILD=6500 MB_CRATES=300
readonly MB_DEMO_DATA=700 MB_TEST_DATA=1000 MB_PACKAGES=550
readonly MB_MEMORY=2000

# existing FOLDER: itself, or the nearest folder above that exists.
existing() {
  local folder=$1
  while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
  echo "$folder"
}

# room_needed PURPOSE: lines of megabytes, folder and use; without the parts that exist already.
room_needed() {
  local target=${CARGO_TARGET_DIR:-$REPO/target} crates=${CARGO_HOME:-${HOME:-/root}/.cargo}
  case $1 in
    demo)
      [ -x "$target/release/shop-demo" ] || echo "$MB_DEMO_BUILD $target build"
      echo "$MB_DEMO_DATA $BASE data"
      ;;
    test)
      [ -x "$target/debug/shop-demo" ] || echo "$MB_TEST_BUILD $target build"
      echo "$MB_TEST_DATA $BASE data"
      ;;
    build) echo "$MB_DEMO_DATA $BASE data" ;;
  esac
  [ -d "$crates/registry/src" ] || [ "$1" = build ] || echo "$MB_CRATES $crates crates"
  [ "${#MISSING[@]}" -eq 0 ] || echo "$MB_PACKAGES /usr packages"
}

# check_disk PURPOSE: one finding for each file system that has too little.
check_disk() {
  local megabytes folder use free mount text
  # awk adds up the needs of each file system.
  while IFS=$'\t' read -r mount free megabytes text; do
    finding "$mount has $free MB free, and $megabytes MB are needed: $text" \
      "free some there (du -xh $mount | sort -h | tail shows the largest folders)," \
      "or build and keep the crates elsewhere: export CARGO_TARGET_DIR=/larger/target CARGO_HOME=/larger/cargo"
  done < <(
    room_needed "$1" | while read -r megabytes folder use; do
      df -Pk "$(existing "$folder")" | awk -v need="$megabytes" -v use="$use" \
        'NR == 2 { print $6 "\t" int($4 / 1024) "\t" need "\t" use " " need }'
    done | awk -F '\t' '
      { free[$1] = $2; need[$1] += $3; uses[$1] = uses[$1] (uses[$1] ? ", " : "") $4 }
      END { for (m in need) if (need[m] > free[m]) print m "\t" free[m] "\t" need[m] "\t" uses[m] }'
  )
}
