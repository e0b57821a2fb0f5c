#!/bin/bash
# Plugins that cannot be loaded: one line each, status 2. One that crashes: one line that names it, status 1.
#   refusals.sh RING3 KERNEL DIRECTORY-OF-PLUGINS
set -u
ring3=$1 kernel=$2 plugins=$3
failed=0

# refuse STATUS TEXT ARGUMENT...
refuse() {
    local wanted=$1 text=$2 status
    shift 2
    timeout 60 "$ring3" run --kernel "$kernel" --memory 64M "$@" </dev/null >/dev/null 2>"$work/err"
    status=$?
    if [[ $status != "$wanted" ]] || ! head -n 1 "$work/err" | grep -qF -- "$text"; then
        failed=1
        echo "status $status from: $*; expected $wanted and: $text"
        cat "$work/err"
    fi
    [[ $wanted = 1 || $(wc -l <"$work/err") = 1 ]] || { failed=1; echo "more than a line from: $*"; }
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

refuse 2 "made for version 2.0 of the interface, this is 1." --plugin "$plugins/refused_major.so"
refuse 2 "made for version 1." --plugin "$plugins/refused_minor.so"
refuse 2 "has no ring3_plugin_version" --plugin "$plugins/refused_no_version.so"
refuse 2 "has no ring3_plugin_start" --plugin "$plugins/refused_no_start.so"
refuse 2 "refused_says_why.so': out of paper" --plugin "$plugins/refused_says_why.so,a=b"
refuse 2 "refused_returns.so': its start returned 3" --plugin "$plugins/refused_returns.so"
refuse 2 "cannot open shared object file" --plugin /nowhere.so
refuse 2 "empty file name" --plugin ""
refuse 2 "empty file name" --plugin ",a=b"
refuse 2 "only with --accel bt" --accel kvm --plugin "$plugins/refused_returns.so"
refuse 2 "longer than" --plugin "$(printf 'x%.0s' {1..5000})"
refuse 2 "words" --plugin "x.so$(printf ',a%.0s' {1..70})"
many=()
for _ in {1..17}; do many+=(--plugin "$plugins/refused_returns.so"); done
refuse 2 "more than 16" "${many[@]}"
refuse 1 "a fault in the code of plugin refused_crash.so" --plugin "$plugins/refused_crash.so"
[[ $failed = 0 ]]
