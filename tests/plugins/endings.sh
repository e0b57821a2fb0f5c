#!/bin/bash
# However a machine ends, plugins are told and what they have written is in the file.
#   endings.sh RING3 KERNEL EVENTS-PLUGIN MISBEHAVE-PLUGIN
set -u
ring3=$1 kernel=$2 events=$3 misbehave=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fail() { failed=1; echo "$*"; }

# ends STATUS END: the guest's option end=END
ends() {
    timeout 60 "$ring3" run --kernel "$kernel" --memory 64M --no-reboot --append "end=$2" \
        --plugin "$events,out=$work/out" </dev/null >"$work/log" 2>&1
    local status=$?
    [[ $status = "$1" ]] || fail "status $status from end=$2"
    grep -q '^end: 1$' "$work/out" && grep -q '^done$' "$work/out" || fail "end=$2: not told"
}
ends 0 off
ends 0 reset
ends 3 triple
ends 41 value

# A guest that does not end, asked by a signal; and one whose process is killed.
for signal in TERM KILL; do
    plugin=$events
    [[ $signal = TERM ]] || plugin=$misbehave
    "$ring3" run --kernel "$kernel" --memory 64M --append end=spin --plugin "$plugin,out=$work/out" \
        </dev/null >"$work/log" 2>&1 &
    monitor=$!
    for _ in {1..100}; do
        sleep 0.1
        vcpu=$(pgrep -P "$monitor") && break
    done
    sleep 1
    if [[ $signal = TERM ]]; then kill "$monitor"; else kill -9 "$vcpu"; fi
    wait "$monitor"
    if [[ $signal = TERM ]]; then
        grep -q '^done$' "$work/out" || fail "SIGTERM: not told"
    else
        grep -q '^ok api->write_output' "$work/out" || fail "SIGKILL: what was written is lost"
    fi
done

# A file that cannot be written to its end is a failure of the host's, in one line.
if [[ -c /dev/full ]]; then
    timeout 60 "$ring3" run --kernel "$kernel" --memory 64M --append end=off --plugin "$events,out=/dev/full" \
        </dev/null >/dev/null 2>"$work/err"
    [[ $? = 1 ]] && grep -q 'cannot write to /dev/full' "$work/err" || fail "a full disk: $(cat "$work/err")"
fi
[[ $failed = 0 ]]
