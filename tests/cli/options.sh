#!/bin/bash
# Good usage: what is documented is taken. The engine that runs says "hello" and powers off.
#   options.sh FAKE_ENGINE KERNEL
set -u
ring3=$1 kernel=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo data >"$work/initrd"
failed=0

fail() {
    failed=$((failed + 1))
    echo "$*"
    cat "$work/err"
}

# accept ARGUMENT...: must say hello.
accept() {
    "$ring3" "$@" >"$work/out" 2>"$work/err" </dev/null || fail "status $? from: $*"
    [[ $(cat "$work/out") = hello ]] || fail "no output from: $*"
}

accept run --kernel "$kernel"
accept run -kernel "$kernel" -initrd "$work/initrd" -append 'a b=c' -m 64 -no-reboot -nographic
accept run --kernel="$kernel" --initrd="$work/initrd" --append="" --memory=1G --no-reboot --accel=bt
for size in 4 4M 4096K 256 256m 1g 3G 3584 3584M; do
    accept run --kernel "$kernel" --memory "$size"
done
for where in keep host guest; do accept run --kernel "$kernel" --unpack "$where"; done
accept run --kernel "$kernel" --kern "$kernel" --mem 8
accept run --kernel "$kernel" --debug no-chain,one-insn,no-jump-cache,flush-always,no-prefault
accept run --kernel "$kernel" --debug no-sandbox --debug cache=1M,no-chain
accept run --kernel "$kernel" --debug no-reuse=29,no-reuse,evict-always,inject=c0100000-C010FFFF
accept run --kernel "$kernel" --debug "inject=0-ffffffff,rows=$work/rows"
accept run --kernel "$kernel" --debug inject-nmi=c0100000-c010ffff,progress
[[ -f $work/rows && ! -s $work/rows ]] || fail "rows of an engine that executes none"
accept run --kernel "$kernel" --log all --log run,fault
accept run --kernel "$kernel" --stats
grep -q '^fragments  *[0-9]' "$work/err" || fail "no counters"
accept run --kernel "$kernel" --serial stdio
accept demo
accept demo --memory 64M --stats=json

"$ring3" run --kernel "$kernel" --serial "file:$work/serial" >"$work/out" 2>"$work/err" ||
    fail "status $? with --serial FILE"
[[ $(cat "$work/serial") = hello && ! -s $work/out ]] || fail "--serial FILE"

head -c 131072 /dev/zero >"$work/rom"
accept run --firmware "$work/rom"
accept run -bios "$work/rom" -debugcon stdio
accept run --kernel "$kernel" --debugcon none
accept run --kernel "$kernel" --debugcon "file:$work/debug"
[[ -e $work/debug ]] || fail "--debugcon FILE"

# shows PATTERN ARGUMENT...: prints a line that matches.
shows() {
    local pattern=$1
    shift
    "$ring3" "$@" >"$work/out" 2>"$work/err" || fail "status $? from: $*"
    grep -q -- "$pattern" "$work/out" || fail "no $pattern from: $*"
}

shows '^ring3 [0-9.]*$' --version
shows '--kernel' --help
shows '--kernel' run --help
shows '^| mov_to_cr | ' run --help-callouts
awk -F ' [|] ' 'NF != 4 { exit 1 }' "$work/out" || fail "--help-callouts: not four columns"
shows '^f3[.]0f[.]b8 POPCNT Gv,Ev$' run --help-instructions
[[ -z $(sort "$work/out" | uniq -d) ]] || fail "--help-instructions: a name twice"
"$ring3" --help >/dev/full 2>"$work/err" && fail "--help to a full disk"

[[ $failed = 0 ]]
