#!/bin/bash
# `ring3 bench` for a few rows, and a look at what it wrote.
#   bench.sh RING3 BENCH_REPORT nano|linux|options
# Environment of `linux`: RING3_CACHE. 77: skipped.
set -u
ring3=$1 report=$2 what=$3
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
    failed=$((failed + 1))
    echo "$*"
    head -c 2000 "$work/err"
}

# measure [OPTION...] ROW...: the rows in the order of --list.
measure() {
    local rows=()
    for word; do [[ $word != *.* ]] || rows+=("$word"); done
    "$ring3" bench --quick --json "$work/json" --html "$work/html" "$@" >"$work/out" 2>"$work/err" ||
        fail "status $? from: $*"
    cat "$work/out"
    "$report" "$work/json" "$work/html" "${rows[@]}" || fail "a bad report of: $*"
    for row in "${rows[@]}"; do grep -q "^$row " "$work/out" || fail "no line for $row"; done
}

# refuse STATUS ARGUMENT...: one line on standard error, nothing else.
refuse() {
    local expected=$1 status
    shift
    timeout 20 "$ring3" bench "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    sed -i "/the load is/d" "$work/err" # true or not, it is no refusal
    [[ $status = "$expected" && $(wc -l <"$work/err") = 1 && ! -s $work/out ]] ||
        fail "status $status, $(wc -l <"$work/err") lines from: $*"
}

nano() {
    measure nano.syscall nano.call-ret nano.pgfault nano.ptemod-touch nano.interrupt
    # Every row of the list has its work in the guest.
    "$ring3" bench --quick --rounds 1 --columns ring3-bt nano >"$work/out" 2>"$work/err" ||
        fail "not all nanobenchmarks run"
    # What is not there is left out, with one line.
    PATH=/nowhere RING3_SHARE=/nowhere "$ring3" bench --quick --rounds 1 --json "$work/json" \
        nano.call-ret int >"$work/out" 2>"$work/err" || fail "status $? without anything"
    for text in 'native is left out' 'QEMU TCG is left out' 'program rows are left out'; do
        [[ $(grep -c "$text" "$work/err") = 1 ]] || fail "not once: $text"
    done
}

linux() {
    "$top/scripts/fetch-guest" --quiet ${RING3_CACHE:+--cache "$RING3_CACHE"} 686 || exit 77
    share=$(dirname "$(dirname "$ring3")")/share/ring3
    [[ -x $share/programs/ring3-bench-guest ]] || { echo "skipped: no i386 programs"; exit 77; }
    measure kernel.getppid kernel.switch-2 int.bytecode fp.fft mem.chase-16k code.footprint \
        exec.shell jit.patch
    measure --columns ring3-bt --rounds 1 boot.linux
    # Every row of the list has its work in the program.
    "$ring3" bench --quick --rounds 1 --columns native kernel program growth >"$work/out" 2>"$work/err" ||
        fail "not all programs run"
}

options() {
    refuse 2 nothing
    refuse 2 nano.nothing
    refuse 2 ''
    refuse 2 --rounds
    for value in '' 0 101 -1 x 1x; do refuse 2 --rounds "$value"; done
    for value in '' "native," ",native" kvm nativex; do refuse 2 --columns "$value"; done
    refuse 2 --unknown
    refuse 2 --quick=1
    refuse 2 --quick "mem.random-5*"
    for option in json html; do
        for path in '' /nowhere/x / "$work"; do refuse 2 --$option "$path" nano.in; done
    done
    RING3_SHARE=/nowhere refuse 1 --columns ring3-bt int.fib
    RING3_CACHE=/nowhere refuse 1 --columns ring3-bt kernel
    echo kept >"$work/kept"
    refuse 2 --json "$work/kept" --html /nowhere/x nano.in
    [[ $(cat "$work/kept") = kept ]] || fail "a file was emptied for nothing"
    "$ring3" bench --list >"$work/list" || fail "--list"
    for group in nano boot kernel int fp mem code exec jit; do
        grep -q " $group\." "$work/list" || fail "--list: no $group"
    done
    "$ring3" bench --help | grep -q -- --json || fail "--help"
    "$ring3" bench --list >/dev/full 2>"$work/err" && fail "--list to a full disk"
}

"$what"
[[ $failed = 0 ]]
