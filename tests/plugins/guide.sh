#!/bin/bash
# The first example of docs/plugins.md, taken out of the page, compiled as the page says and run.
#   guide.sh RING3 KERNEL SOURCE_DIR
set -u
ring3=$1 kernel=$2 top=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
awk '/^```c$/ { on = !done; next } /^```$/ { done = done || on; on = 0 } on' "$top/docs/plugins.md" >"$work/ports.c"
[[ $(wc -l <"$work/ports.c") -le 20 && -s $work/ports.c ]] || { echo "no short example on the page"; exit 1; }
for compiler in "cc -std=c11" "c++ -x c++ -std=c++11"; do
    # The compiler's options are a list.
    # shellcheck disable=SC2086
    $compiler -Wall -Wextra -Wpedantic -Werror -shared -fPIC -I"$top/include" -o "$work/ports.so" "$work/ports.c" ||
        exit 1
    timeout 60 "$ring3" run --kernel "$kernel" --memory 64M --plugin "$work/ports.so" \
        </dev/null >/dev/null 2>"$work/err"
    if [[ $? != 1 ]] || ! grep -qE '^[1-9][0-9]* accesses to ports$' "$work/err"; then
        cat "$work/err"
        exit 1
    fi
done
