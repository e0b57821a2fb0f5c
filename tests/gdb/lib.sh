# For the scripts here: a ring3 that serves a debugger, and GDB on it. Expects RING3 and GUEST (the
# ELF file of debugged.c; empty: KERNEL is to be run, and the commands bring symbols). Everything that is started ends with the script.
# shellcheck shell=bash
: "${RING3:?}"
work=$(mktemp -d)
failed=0 checks=0 ring3_pid=''

cleanup() {
    [[ $ring3_pid ]] && kill -9 "$ring3_pid" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT

command -v gdb >/dev/null || { echo "skipped: no gdb"; exit 77; }

fail() {
    failed=$((failed + 1))
    printf 'FAIL %s\n' "$1"
}

# wait_for FILE PATTERN: until a line of FILE matches.
wait_for() {
    local i
    for ((i = 0; i < 600; i++)); do
        grep -aqE "$2" "$1" 2>/dev/null && return
        kill -0 "$ring3_pid" 2>/dev/null || { grep -aqE "$2" "$1"; return; }
        sleep 0.05
    done
    return 1
}

# start OPTION...: `ring3 run` in the background, its port in $port. Its output is in $work/out.
start() {
    "$RING3" run --kernel "${KERNEL:-$GUEST}" --gdb 0 "$@" </dev/null >"$work/out" 2>&1 &
    ring3_pid=$!
    wait_for "$work/out" 'gdb: listening on' || { cat "$work/out"; fail "ring3 does not listen"; exit 1; }
    port=$(sed -n 's/^ring3: gdb: listening on .*:\([0-9]*\)\r*$/\1/p' "$work/out")
}

# end_of_ring3 STATUS: it ends by itself, with this status.
end_of_ring3() {
    local i status
    for ((i = 0; i < 600; i++)); do
        kill -0 "$ring3_pid" 2>/dev/null || break
        sleep 0.05
    done
    kill -9 "$ring3_pid" 2>/dev/null && fail "ring3 did not end"
    wait "$ring3_pid" 2>/dev/null
    status=$?
    ring3_pid=''
    checks=$((checks + 1))
    [[ $status == "$1" ]] || { fail "ring3 ended with $status instead of $1"; tail -n 20 "$work/out"; }
}

# debug <COMMANDS: runs GDB, attached, with the commands on standard input; its output in $log.
debug() {
    { printf 'set pagination off\nset confirm off\nset width 0\nset tcp connect-timeout 5\n'
      printf 'target remote 127.0.0.1:%s\n' "$port"; cat; } >"$work/commands"
    timeout --kill-after=5 "${GDB_TIMEOUT:-60}" gdb -q -nx -batch -x "$work/commands" ${GUEST:+"$GUEST"} \
        </dev/null >"$work/log" 2>&1
    log=$work/log
}

# expect PATTERN: a line of the log that matches, behind the one that matched before.
line=0
expect() {
    local found
    checks=$((checks + 1))
    found=$(tail -n +$((line + 1)) "$log" | grep -anE -m1 -- "$1" | cut -d: -f1)
    if [[ $found ]]; then
        line=$((line + found))
    else
        fail "no '$1' behind line $line of:"
        cat "$log"
    fi
}
rewind() { line=0; }

finish() {
    echo "$checks checks, $failed failed"
    ((failed == 0 && checks > 0))
    exit
}
