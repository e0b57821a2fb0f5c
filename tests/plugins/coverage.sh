#!/bin/bash
# The coverage collector on a guest kernel with line numbers, and on the same without.
#   coverage.sh RING3 KERNEL PLUGIN SOURCE
set -u
ring3=$1 kernel=$2 plugin=$3 source=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$(dirname "$0")
fail() { echo "$*"; exit 1; }

# collect KERNEL FILE
collect() {
    "$here/../guests/run-guest" "$ring3" run --kernel "$1" --memory 64M \
        --plugin "$plugin,kernel=$1,out=$2" >/dev/null || fail "the guest failed"
}
# wants PATTERN FILE
wants() { grep -qE -- "$1" "$2" || { head -n 100 "$2"; fail "no $1"; }; }

collect "$kernel" "$work/lines.info"
# Every read is made by one line: twice 64 KiB, three times 16 KiB, ten times nine words.
reads=$(grep -n 'volatile uint32_t \*)(at' "$source" | cut -d: -f1)
wants "^SF:.*/$(basename "$source")\$" "$work/lines.info"
wants "^DA:$reads,45146\$" "$work/lines.info"
wants '^FNDA:1,guest_main$' "$work/lines.info"
wants '^FNDA:0,' "$work/lines.info"

strip --strip-debug -o "$work/bare.elf" "$kernel" || fail "strip"
collect "$work/bare.elf" "$work/bare.info"
wants "^SF:$work/bare.elf\$" "$work/bare.info"
wants '^FNDA:1,guest_main$' "$work/bare.info"
wants '^FNDA:0,' "$work/bare.info"

# What reads such files must take them.
if command -v lcov >/dev/null; then
    for file in lines bare; do
        lcov --summary "$work/$file.info" >"$work/log" 2>&1 || { cat "$work/log"; fail "lcov refuses $file.info"; }
        wants 'functions\.*: [1-9]' "$work/log"
    done
    genhtml -q -o "$work/html" "$work/lines.info" >"$work/log" 2>&1 || { cat "$work/log"; fail "genhtml"; }
    [[ -s $work/html/index.html ]] || fail "no page"
else
    echo "lcov is not installed: only the files themselves were looked at"
fi
strip --strip-all -o "$work/none.elf" "$kernel"
"$ring3" run --kernel "$kernel" --plugin "$plugin,kernel=$work/none.elf,out=$work/x" 2>"$work/err" </dev/null
[[ $? = 2 && $(wc -l <"$work/err") = 1 ]] || fail "no refusal of a kernel without symbols"
