#!/usr/bin/env bash
# The window's snapshots, by the keys that a user presses: save, list, rename, restore, delete. A
# boot sector counts; a restored machine goes on from where it was saved.
# usage: test_window_snapshots.sh TINAMOU     needs Xvfb and xdotool
set -euo pipefail
tinamou=$(realpath "${1:?usage: test_window_snapshots.sh TINAMOU}")
dir=$(mktemp -d)
server='' program=''
clean_up() {
    for pid in $program $server; do kill -9 "$pid" 2> /dev/null || true; done
    rm -rf "$dir"
}
trap clean_up EXIT
cd "$dir"

die() {
    echo "test_window_snapshots: $*" >&2
    cat log >&2
    exit 1
}

# until_true SECONDS WHAT COMMAND...
until_true() {
    local n what=$2
    for ((n = $1 * 5; n > 0; n--)); do
        "${@:3}" > /dev/null 2>&1 && return
        sleep 0.2
    done
    die "waited in vain for $what"
}

# saved N: as many snapshots have been reported, and are files
saved() {
    [ "$(grep -c 'tinamou: saved' log)" = "$1" ] && [ "$(find . -name '*.snap' | wc -l)" = "$1" ]
}

Xvfb -displayfd 3 -screen 0 1024x768x24 -nolisten tcp 3> number 2> /dev/null &
server=$!
until_true 30 "the X server" test -s number
DISPLAY=:$(cat number)
export DISPLAY
unset WAYLAND_DISPLAY SDL_VIDEODRIVER

# It prints a letter, waits for some ticks of the BIOS's clock, and so on: mov ah, 0eh; mov al, 'a';
# int 10h; hlt four times; jmp back.
printf '\xb4\x0e\xb0\x61\xcd\x10\xf4\xf4\xf4\xf4\xeb\xf4' > floppy
truncate -s 510 floppy
printf '\x55\xaa' >> floppy
truncate -s 1474560 floppy
"$tinamou" run --memory 32M --floppy floppy --boot a --name desk 2> log &
program=$!
until_true 60 "the window" xdotool search --name Tinamou
window=$(xdotool search --name Tinamou | head -n 1)
xdotool windowfocus "$window"
sleep 3

xdotool key ctrl+alt+n
until_true 60 "the snapshot" saved 1
xdotool key ctrl+alt+l
sleep 0.5
xdotool key n
until_true 60 "a snapshot from the list" saved 2

xdotool key r
sleep 0.5
for _ in $(seq 40); do xdotool key BackSpace; done
xdotool type "my first"
xdotool key Return
until_true 20 "the new name" test -e "my first.snap"
"$tinamou" snapshot verify "my first.snap"

xdotool key Return
until_true 30 "the restored machine" grep -q "tinamou: restored" log
grep -q "restored ./my first.snap" log || die "another snapshot was restored"

xdotool key ctrl+alt+l
sleep 0.5
xdotool key Delete
sleep 0.5
[ -e "my first.snap" ] || die "it was deleted without being asked for twice"
xdotool key Delete
until_true 20 "the deletion" test ! -e "my first.snap"
xdotool key Escape
sleep 0.5
kill "$program"
status=0
wait "$program" || status=$?
program=
[ "$status" = 143 ] || die "it ended with status $status"
