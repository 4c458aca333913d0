#!/usr/bin/env bash
# --jit-symbols: perf's report names translated code, and so does GDB where it steps through it. The guest
# is the firmware.
# usage: test_jit_symbols.sh TINAMOU     needs gdb and perf
set -euo pipefail
tinamou=$(realpath "${1:?usage: test_jit_symbols.sh TINAMOU}")
dir=$(mktemp -d)
map=
trap 'rm -rf "$dir" ${map:+"$map"}' EXIT
cd "$dir"

die() {
    echo "test_jit_symbols: $*" >&2
    tail -n 40 log >&2
    exit 1
}

guest=(run --headless --clock insn --memory 64M --engine jit --serial null --jit-symbols)
name='tnm_[ku](16|32|64)_[0-9a-f]{16}'

# ---- perf -----------------------------------------------------------------------------------------

# The map's lines, and that the code is where perf looks for them: in memory that belongs to no file.
"$tinamou" "${guest[@]}" perf --limit-insns 20000000 2> log &
pid=$!
map=/tmp/perf-$pid.map
for ((n = 0; n < 100; n++)); do
    grep -qsE "$name" "$map" && break
    sleep 0.1
done
cp /proc/$pid/maps maps 2> /dev/null || die "the machine ended at once"
status=0
wait $pid || status=$?
[ $status = 124 ] || die "the machine ended with status $status"
[ "$(stat -c %U "$map")" = "$(id -un)" ] || die "$map is somebody else's"
grep -qE '^[0-9a-f]+ [0-9a-f]+ tnm_routines_0$' "$map" || die "no routines in $map"
grep -vE "^[0-9a-f]+ [0-9a-f]+ (tnm_routines_[0-9]|$name)\$" "$map" > log &&
    die "lines in $map that perf does not understand"
[ "$(wc -l < "$map")" -gt 100 ] || die "not much in $map"
first=$(sed -n '1s/ .*//p' "$map")
grep -qE "^$first-.* r-xs .*/dev/zero" maps || { cp maps log; die "the code at $first is of a file"; }

# perf itself, where processes may look at themselves.
if perf record -q -e cpu-clock -o /dev/null true 2> log; then
    perf record -q -e cpu-clock -F 999 -o data \
        "$tinamou" "${guest[@]}" perf --limit-insns 20000000 2> log || true
    perf report -i data --stdio > log 2>&1 || die "perf report failed"
    grep -qE "%.* $name" log || die "perf names no translated code"
    rm -f "/tmp/perf-$(perf script -i data -F pid 2> /dev/null | sort | uniq -c | sort -n |
        awk 'END { print $2 }').map"
else
    echo "perf may not record here (kernel.perf_event_paranoid): its map has been looked at"
fi

# ---- GDB ------------------------------------------------------------------------------------------

cat > commands <<'END'
set pagination off
set confirm off
set debuginfod enabled off
break jit_stats_enter
run
delete
set $at = cpu->blk->code
info symbol $at + 1
set $steps = 0
while $pc != $at && $steps < 1000
stepi
set $steps = $steps + 1
end
info symbol $pc
x/i $pc
kill
END
gdb -nx -batch -x commands --args "$tinamou" "${guest[@]}" gdb --limit-insns 20000000 \
    > log 2>&1 < /dev/null || die "gdb failed"
grep -qE "^$name \+ 1 in section .text" log || die "GDB does not know an address in the code"
grep -qE "^$name in section .text" log || die "GDB does not know where it has stopped"
grep -qE "^=> 0x[0-9a-f]+ <$name>:" log || die "GDB does not know what it disassembles"
echo "perf and GDB name translated code"
