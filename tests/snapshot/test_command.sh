#!/usr/bin/env bash
# The command line of snapshots: what saves, what restores, what the snapshot commands print, and with
# which status they end. A boot sector that counts on the screen is guest enough.
# usage: test_command.sh TINAMOU
set -euo pipefail
tinamou=$(realpath "${1:?usage: test_command.sh TINAMOU}")
reader=$(realpath "$(dirname "$0")/reader.py")
dir=$(mktemp -d)
program=''
trap '[ -z "$program" ] || kill -9 $program; rm -rf "$dir"' EXIT
cd "$dir"

die() {
    echo "test_command: $*" >&2
    cat log >&2
    exit 1
}

# status WANTED COMMAND...: what it prints goes to out and err
status() {
    local got=0
    "${@:2}" > out 2> err || got=$?
    [ $got = "$1" ] || { cat out err >&2 && die "status $got, not $1: ${*:2}"; }
}

# Prints a letter, waits for four ticks, and again: mov ah, 0eh; mov al, 'a'; int 10h; hlt...; jmp.
printf '\xb4\x0e\xb0\x61\xcd\x10\xf4\xf4\xf4\xf4\xeb\xf4' > floppy
truncate -s 510 floppy
printf '\x55\xaa' >> floppy
truncate -s 1474560 floppy
mkdir saved
truncate -s 1M disk
"$tinamou" run --headless --serial null --clock insn --memory 16M --floppy floppy --boot a \
    --disk disk,readonly=on --snapshot-dir saved --name box 2> log &
program=$!
sleep 1

# save N: the N-th snapshot, whose name is in $snapshot
save() {
    kill -USR1 $program
    for _ in $(seq 300); do
        [ "$(grep -c 'tinamou: saved saved/box-.*\.snap: .* stood still for .* ms' log)" = "$1" ] && break
        sleep 0.2
    done
    snapshot=$(sed -n "$1s/tinamou: saved \(.*\.snap\): .*/\1/p" log)
    [ -s "$snapshot" ] || die "no snapshot after SIGUSR1"
}
save 1
first=$snapshot
sleep 1
save 2
second=$snapshot
[ "$first" != "$second" ] || die "one snapshot was written over the other"
kill $program
wait $program || true
program=''

# Asked for while the machine is still being made, which here waits for a reader of its serial line.
mkfifo line
"$tinamou" run --headless --serial file:line --memory 16M --boot a --snapshot-dir saved --name early 2> log &
program=$!
sleep 1
kill -USR1 $program
cat line > /dev/null &
for _ in $(seq 300); do
    grep -q 'tinamou: saved saved/early-' log && break
    sleep 0.2
done
kill $program || die "SIGUSR1 has ended the program"
wait $program || true
program=''
grep -q 'tinamou: saved saved/early-' log || die "SIGUSR1 came too early"

# The description of the format says enough to read one.
status 0 "$reader" "$first" "$second"
grep -q "$second: 16 MiB, " out

# Several at once in one folder: each gets a file of its own.
mkdir many
programs=()
for i in 1 2 3 4; do
    "$tinamou" run --headless --serial null --clock insn --memory 16M --boot a --snapshot-dir many 2> log$i &
    programs+=($!)
done
sleep 1
kill -USR1 "${programs[@]}"
sleep 1
kill "${programs[@]}"
for i in "${programs[@]}"; do wait "$i" || true; done
cat log[1-4] > log
[ "$(grep -c 'tinamou: saved many/tinamou-' log)" = 4 ] || die "not all of four have saved"
[ "$(find many -name '*.snap' | wc -l)" = 4 ] || die "there are not four files"
[ "$(find many | wc -l)" = 5 ] || die "something was left behind"
status 0 "$tinamou" snapshot verify many/*

status 0 "$tinamou" snapshot verify "$first" "$second"
grep -q "$second: whole" out
status 0 "$tinamou" snapshot info "$first"
grep -q '^name  *box' out
grep -q '^    ch\[0\]\.' out
status 0 "$tinamou" snapshot info --json --thumbnail picture.png "$first"
python3 - << 'END' || die "the JSON is not as it should be"
import json
d = json.load(open('out'))
assert d['configuration']['memory'] == 16 << 20 and d['configuration']['clock'] == 'insn'
assert d['name'] == 'box' and d['instructions'] > 0 and len(d['id']) == 16
assert {'machine', 'cpu0', 'pit', 'vga', 'vmgenid'} <= set(d['state'])
assert any(s['name'] == 'ram' and s['size'] == 16 << 20 for s in d['contents'])
assert [b['device'] for b in d['bases']] == ['disk0'], d['bases']
assert open('picture.png', 'rb').read(8) == b'\x89PNG\r\n\x1a\n'
END
# Names may be any bytes, also such as a terminal would obey.
odd=$(printf 'odd\377\033[31m.snap')
cp "$first" "$odd"
status 0 "$tinamou" snapshot info --json "$odd"
python3 -c 'import json; assert json.load(open("out"))["file"] == "odd\ufffd\x1b[31m.snap"' ||
    die "a name that is no UTF-8 is not in the JSON"
status 0 "$tinamou" snapshot diff "$first" "$first"
status 1 "$tinamou" snapshot diff --json "$first" "$second"
python3 -c 'import json; d = json.load(open("out")); assert not d["same"] and d["fields"]' ||
    die "the difference is not as it should be"
status 1 "$tinamou" snapshot diff "$first" "$second"
grep -q '^[0-9]* fields and [0-9]* pages differ' out
status 0 "$tinamou" snapshot flatten "$first" flat
status 0 "$tinamou" snapshot diff "$first" flat
status 1 "$tinamou" snapshot flatten "$first" flat
grep -q "^tinamou: 'flat' exists: " err

# A delta on the first, by a run that goes on from it.
"$tinamou" run --headless --serial null --restore "$first" --parent "$first" --snapshot-dir saved \
    --name delta 2> log &
program=$!
sleep 1
kill -USR1 $program
for _ in $(seq 300); do
    grep -q 'saved saved/delta-' log && break
    sleep 0.2
done
kill $program
wait $program || true
program=''
delta=$(echo saved/delta-*.snap)
[ -s "$delta" ] || die "no delta after SIGUSR1"
[ $(($(stat -c %s "$delta") * 2)) -lt "$(stat -c %s "$first")" ] || die "the delta is not small"
status 0 "$tinamou" snapshot info "$delta"
grep -q '^parent  *.*box-' out
status 0 "$reader" "$delta"
status 0 "$tinamou" snapshot flatten "$delta" flat-delta
mv "$first" away
status 1 "$tinamou" run --headless --serial null --restore "$delta" --limit-insns 1
status 1 "$tinamou" run --headless --parent "$first"
status 124 "$tinamou" run --headless --serial null --restore flat-delta --limit-insns 1
mv away "$first"
status 1 "$tinamou" snapshot diff "$delta" flat-delta # the name of the parent
grep -q '^2 fields and 0 pages differ' out

# It goes on, the same each time, and from where it was.
run=("$tinamou" run --headless --serial null --restore)
status 124 "${run[@]}" "$first" --limit-insns 1000000 --state-hash-every 500000
mv err a
status 124 "${run[@]}" flat --limit-insns 1000000 --state-hash-every 500000
cmp a err || die "two runs from one snapshot differ"
status 124 "${run[@]}" "$first" --limit-insns 1000000 --state-hash-every 500000 --fresh-identity
! cmp -s a err || die "--fresh-identity changes nothing"
mv disk elsewhere
status 1 "${run[@]}" "$first" --limit-insns 1
status 124 "${run[@]}" "$first" --limit-insns 1 --disk elsewhere
printf x | dd of=elsewhere bs=1 seek=100000 conv=notrunc 2> /dev/null
status 1 "${run[@]}" "$first" --limit-insns 1 --disk elsewhere

# Damage, and what cannot be.
head -c 5000 "$first" > short
status 1 "$tinamou" snapshot verify short
status 1 "${run[@]}" short
grep -q '^tinamou: .*damaged or cut short' err
status 1 "$tinamou" snapshot info floppy-that-is-not-there
status 1 "$tinamou" run --headless --snapshot-dir nowhere
status 2 "$tinamou" snapshot
status 2 "$tinamou" snapshot nonsense
status 2 "$tinamou" snapshot info
status 2 "$tinamou" snapshot diff "$first"
status 2 "$tinamou" snapshot verify --json "$first"
status 2 "$tinamou" run --restore "$first" --memory 1G
status 2 "$tinamou" run --restore "$first" --engine lockstep
status 1 "${run[@]}" "$first" --serial null --serial null
grep -q "^tinamou: the snapshot's machine has 2 serial ports: " err
status 0 "$tinamou" snapshot --help
status 0 "$tinamou" help snapshot
