#!/bin/sh
# docs/callouts.md is what the program says of itself.
#   callouts_doc.sh RING3 docs/callouts.md [--update]
set -eu
ring3=$1 page=$2

made=$(mktemp)
trap 'rm -f "$made"' EXIT
sed '/^| class /,$d' "$page" >"$made"
"$ring3" run --help-callouts >>"$made"
if [ "${3:-}" = --update ]; then
    cat "$made" >"$page"
elif ! diff -u "$page" "$made"; then
    echo "docs/callouts.md is not up to date: run $0 $ring3 $page --update" >&2
    exit 1
fi
