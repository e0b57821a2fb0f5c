# For the scripts here and in bench/: the guest's kernel and initramfs, and running them.
# Expects $top (the source tree). Uses RING3 (the ring3 program), RING3_CACHE (where fetch-guest
# keeps its files), RING3_PROGRAMS (the linux_guest_programs), RING3_TESTS (the scripts for
# /tests), RING3_DEBUG (switches for --debug), RING3_UNPACK (a value for --unpack), RING3_EMULATOR
# (ring3 or qemu), RING3_TIMEOUT (seconds a run).
# shellcheck shell=bash
top=${top:?}
RING3_CACHE=${RING3_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ring3}
RING3_EMULATOR=${RING3_EMULATOR:-ring3}
readonly SKIP=77

# have_guest FLAVOUR: fetches what is missing; ends with SKIP where it cannot be had.
have_guest() {
    local reason
    reason=$("$top/scripts/fetch-guest" --quiet --cache "$RING3_CACHE" "$1" 2>&1) && return
    echo "skipped: ${reason##*$'\n'}"
    exit "$SKIP"
}

# make_initramfs FLAVOUR FILE: with modules, programs and the guest's side of the tests.
make_initramfs() {
    local programs=()
    [[ ${RING3_PROGRAMS:-} && -d $RING3_PROGRAMS ]] && programs=(--programs "$RING3_PROGRAMS")
    "$top/scripts/make-initramfs" --cache "$RING3_CACHE" --flavour "$1" --output "$2" \
        --tests "${RING3_TESTS:-$top/tests/e2e/guest}" "${programs[@]}"
}

# run_kernel EMULATOR KERNEL INITRD MEMORY APPEND: the guest's console on standard output. An empty
# INITRD is none.
run_kernel() {
    local limit=(timeout --kill-after=10 "${RING3_TIMEOUT:-300}")
    case $1 in
    ring3)
        "${limit[@]}" "${RING3:?RING3 names no ring3 program}" run --kernel "$2" ${3:+--initrd "$3"} \
            --append "$5" --memory "$4" --no-reboot ${RING3_UNPACK:+--unpack "$RING3_UNPACK"} ${RING3_DEBUG:+--debug "$RING3_DEBUG"} ;;
    qemu)
        "${limit[@]}" qemu-system-x86_64 -accel tcg -kernel "$2" ${3:+-initrd "$3"} -append "$5" -m "$4" \
            -display none -monitor none -serial stdio -no-reboot ;;
    *) echo "unknown emulator $1" >&2; return 2 ;;
    esac
}

# run_linux EMULATOR FLAVOUR INITRAMFS MEMORY APPEND: Debian's kernel, the test's words appended.
run_linux() {
    run_kernel "$1" "$RING3_CACHE/kernel-$2/vmlinuz" "$3" "$4" "console=ttyS0 quiet panic=-1 $5"
}

# run_firmware EMULATOR FILE MEMORY: no kernel; the debug console on standard output.
run_firmware() {
    local limit=(timeout --kill-after=10 "${RING3_TIMEOUT:-300}")
    case $1 in
    ring3)
        "${limit[@]}" "${RING3:?RING3 names no ring3 program}" run --firmware "$2" --memory "$3" \
            --serial none --debugcon stdio ${RING3_DEBUG:+--debug "$RING3_DEBUG"} ;;
    qemu)
        "${limit[@]}" qemu-system-i386 -accel tcg -bios "$2" -m "$3" -display none -monitor none \
            -serial none -nodefaults -chardev stdio,id=debug -device isa-debugcon,iobase=0x402,chardev=debug ;;
    *) echo "unknown emulator $1" >&2; return 2 ;;
    esac
}

# Median of the numbers on standard input, one a line.
median() {
    sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}
