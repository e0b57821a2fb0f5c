#!/bin/sh
# Every header compiles alone, with every compiler that is there.
#   headers.sh SOURCE_DIR
set -eu
cd "$1"

# The embedded guest is a freestanding 32-bit program; what embeds it is not.
flags_for() {
    case $1 in
    guest/ring3_guest.h) ;;
    bench/guest/*) echo "-m32 -ffreestanding" ;;
    guest/*) echo "-m32 -ffreestanding" ;;
    esac
}

failed=0 checked=0
for compiler in gcc clang; do
    command -v "$compiler" >/dev/null || continue
    for header in base/*.h memory/*.h translator/*.h runtime/*.h kvm/*.h devices/*.h loader/*.h inspect/*.h cli/*.h \
        guest/*.h guest/lib/*.h bench/*/*.h; do
        [ -e "$header" ] || continue
        checked=$((checked + 1))
        # The flags are a list.
        # shellcheck disable=SC2046
        printf '#include "%s"\nextern int alone;\n' "$header" |
            "$compiler" -std=gnu17 -Wall -Wextra -Wpedantic -Werror -I. $(flags_for "$header") \
                -fsyntax-only -x c - || {
            echo "headers: $header does not compile alone with $compiler" >&2
            failed=$((failed + 1))
        }
    done
done
# What plugins include is for older C and for C++ as well.
for compiler in "gcc -x c -std=c11" "g++ -x c++ -std=c++11" "clang -x c -std=c11" "clang++ -x c++ -std=c++11"; do
    command -v "${compiler%% *}" >/dev/null || continue
    checked=$((checked + 1))
    # The compiler's options are a list.
    # shellcheck disable=SC2086
    printf '#include "ring3/plugin.h"\nRING3_PLUGIN();\n' |
        $compiler -Wall -Wextra -Wpedantic -Wshadow -Werror -Iinclude -fsyntax-only - || {
        echo "headers: include/ring3/plugin.h does not compile with $compiler" >&2
        failed=$((failed + 1))
    }
done
echo "headers: $checked compiled, $failed failed"
[ "$checked" -gt 0 ] && [ "$failed" = 0 ]
