#!/bin/bash
# Every event comes when the demo runs, and what comes with it is right.
#   events.sh RING3 DEMO UNCLAIMED PLUGIN
set -u
ring3=$1 demo=$2 unclaimed=$3 plugin=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$(dirname "$0")
failed=0
# look GUEST EVENT...
look() {
    local guest=$1 event
    shift
    "$here/../guests/run-guest" "$ring3" run --kernel "$guest" --memory 64M --debug cache=256K \
        --plugin "$plugin,out=$work/out" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    grep -q '^done$' "$work/out" || { echo "no end"; failed=1; }
    ! grep '^wrong' "$work/out" || failed=1
    for event; do
        grep -qE "^$event: [1-9]" "$work/out" || { echo "no event: $event"; failed=1; }
    done
    cat "$work/out"
}
look "$demo" begin end fetch translate link enter exit callout cr-write inject hidden-fault true-fault flush \
    invalidate io irq cpuid address-space syscall user-return
look "$unclaimed" mmio
exit $failed
