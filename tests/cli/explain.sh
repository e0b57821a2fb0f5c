#!/bin/bash
# `ring3 explain` and `ring3 symbols` from outside: what they print, and what they refuse with one line.
#   explain.sh RING3 GUEST.elf
set -u
ring3=$1 guest=$2 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*"
    head -n 20 "$work/err"
    failed=$((failed + 1))
}

# prints PATTERN ARGUMENT...: status 0, nothing on standard error, a line with the pattern.
prints() {
    local pattern=$1
    shift
    "$ring3" "$@" >"$work/out" 2>"$work/err" </dev/null || fail "status $? from: $*"
    [[ ! -s $work/err ]] || fail "standard error from: $*"
    [[ ! $pattern ]] || grep -qE -- "$pattern" "$work/out" || fail "nothing like '$pattern' from: $*"
}

# refuses PATTERN ARGUMENT...: status 2 and one line with the pattern.
refuses() {
    local pattern=$1
    shift
    "$ring3" "$@" >"$work/out" 2>"$work/err" </dev/null
    [[ $? == 2 && ! -s $work/out && $(wc -l <"$work/err") == 1 ]] || fail "not refused: $*"
    grep -qE -- "$pattern" "$work/err" || fail "nothing like '$pattern' from: $*"
}

prints 'callout sgdt' explain --hex 0f0100
prints '; callout sgdt$' explain --hex '0F 01 00'
prints 'movl %esp, %ebp' explain --hex 89e5 --syntax att
prints 'mov ax, word ptr \[bx\]' explain --hex 8b07 --mode 16
prints 'real mode, CPL 0' explain --hex 8b07 --mode real
prints 'virtual-8086 mode, CPL 3' explain --hex cd10 --mode v86
prints 'callout cli' explain --hex fa --cpl 3
prints '^fragment c0100000' explain --hex fa --address c0100000
prints '^cold|cold 0000' explain --hex eb00 --cold
prints 'fragment [0-9a-f]+ guest_main:' explain --symbol guest_main "$guest"
prints 'fragment [0-9a-f]+ guest_main:' explain --symbol guest_main
prints '1 fragment \(there is more\)' explain --max 1 "$guest"
prints '"class": "inline"' explain --json --hex fa
prints '<title>fa - ring3 explain</title>' explain --html - --hex fa
prints '' explain --html "$work/page.html" --symbol guest_main
grep -q '</html>' "$work/page.html" || fail "no whole page"
! grep -qE 'https?://|<script|src=' "$work/page.html" || fail "the page wants something from outside"
prints 'jmp 0x7c00$|jmp 0x7c00 ' explain --mode real --address 7c00 --hex 90ebfd
printf '\x90\xf4' >"$work/raw"
prints '^00007c01' explain --mode 16 --address 7c00 "$work/raw"
prints 'guest_main' symbols "$guest"
prints '^[0-9a-f]{8} T guest_main$' symbols "$guest" guest_main
prints '^[0-9a-f]{8} guest_main$' symbols "$guest" "0x$("$ring3" symbols "$guest" guest_main | cut -d' ' -f1)"
prints 'ring3 explain' explain --help
prints 'ring3 symbols' symbols --help
"$ring3" explain --hex fa | grep -q $'\e' && fail "colours without a terminal"
"$ring3" explain --hex fa >/dev/full 2>"$work/err"
[[ $? == 1 && $(wc -l <"$work/err") == 1 ]] || fail "a full disk was not noticed"

refuses "has no symbol 'nobody'" explain --symbol nobody "$guest"
refuses 'No such file' explain /nonexistent
refuses 'not a regular file' explain /
refuses 'no pair of hexadecimal digits' explain --hex 9
refuses 'no pair of hexadecimal digits' explain --hex 'zz'
refuses 'no bytes' explain --hex ' '
refuses 'the bytes end inside' explain --hex 81c3
refuses 'not a hexadecimal number' explain --hex 90 --address 100000000
refuses 'beyond 4 GiB' explain --hex 9090 --address ffffffff
refuses 'not a number from 0 to 3' explain --hex 90 --cpl 4
refuses 'none of 32 16 real v86' explain --hex 90 --mode 64
refuses 'none of intel att' explain --hex 90 --syntax nasm
refuses 'real mode has none' explain --hex 90 --mode real --cpl 3
refuses 'goes without a file' explain --hex 90 "$guest"
refuses 'bytes have no symbols' explain --hex 90 --symbol x
refuses 'goes without --symbol' explain --symbol guest_main --address 0 "$guest"
refuses 'holds no bytes of address' explain --address 10 "$guest"
refuses 'goes without --html' explain --hex 90 --json --html x
refuses 'unexpected argument' explain "$guest" "$guest"
refuses 'unknown option' explain --nonsense
refuses 'needs a value' explain --hex
refuses 'empty file name' explain --hex 90 --html ''
refuses 'has no symbols: neither' explain --symbol x "$work/raw"
refuses 'goes without code of yours' explain --sensitive --hex 90
refuses 'no file' symbols
refuses "no symbol 'nobody'" symbols "$guest" nobody
refuses 'lies in no symbol' symbols "$guest" 0x10
refuses 'neither ELF32, bzImage nor System.map' symbols "$work/raw"
printf '\x7fELF' >"$work/raw"
refuses '64-bit ELF|cut off' symbols "$work/raw"
echo "$failed failed"
((failed == 0))
