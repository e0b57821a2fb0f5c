#!/bin/bash
# `ring3 explain --gdb`: a guest that waits before its first instruction is explained where it stands, from its own
# memory and mode, and runs to its end afterwards.
#   explain_live.sh RING3 GUEST.elf
set -u
ring3=$1 guest=$2 failed=0
work=$(mktemp -d)
"$ring3" demo --gdb 0 -S >"$work/out" 2>"$work/err" </dev/null &
machine=$!
trap 'kill $machine 2>/dev/null; rm -rf "$work"' EXIT
for _ in {1..100}; do
    port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$work/err")
    [[ ! $port ]] || break
    sleep 0.1
done
[[ $port ]] || { echo "no port"; cat "$work/err"; exit 1; }

# shows PATTERN ARGUMENT...
shows() {
    local pattern=$1
    shift
    "$ring3" explain --gdb "$port" "$@" >"$work/explained" 2>&1 || { echo "status $?: $*"; failed=1; }
    grep -qE -- "$pattern" "$work/explained" || { echo "no '$pattern': $*"; head -n 5 "$work/explained"; failed=1; }
}

shows '^guest at [0-9]+: _start, protected mode, 32-bit code, CPL 0' "$guest"
wait $machine
status=$?
grep -q '^demo: [0-9]* checks, 0 failed' "$work/out" || { echo "the guest did not run on: $status"; failed=1; }
"$ring3" explain --gdb "$port" >/dev/null 2>"$work/err" && failed=1
[[ $(wc -l <"$work/err") == 1 ]] || { echo "not one line for a guest that is gone"; failed=1; }
exit $failed
