#!/bin/bash
# Bad usage, bad kernels and bad initrds: each gets exactly one line on standard error, none on
# standard output, and exit status 2. What is drawn at random is drawn from what is always wrong;
# RING3_SEED draws something else.
#   bad_options.sh RING3 BAD_IMAGES GOOD_KERNEL SOUND_STATUS
set -u
seed=${RING3_SEED:-1} draws=8
ring3=$1 bad_images=$2 good=$3 sound_status=$4

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checked=0 failed=0

# refuse ARGUMENT...: runs ring3 with the arguments and looks at what it says.
refuse() {
    local status lines
    timeout 20 "$ring3" "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    lines=$(wc -l <"$work/err")
    checked=$((checked + 1))
    if [[ $status != 2 || $lines != 1 || -s $work/out ]]; then
        failed=$((failed + 1))
        printf 'status %s, %s lines:' "$status" "$lines"
        printf ' %q' "$@"
        printf '\n'
        head -c 2000 "$work/err"
    fi
}

long=$(printf 'x%.0s' {1..5000})
hostile=("" " " "-" "--" "-1" "0x10" "1e3" "99999999999999999999" "$long" $'a\nb' $'\e[31m' $'\x7f'
    "%s%n" "'" "ä" "." "..")

# No command, unknown commands and options.
refuse
for word in "${hostile[@]}" RUN runn kernel --kernel; do refuse "$word"; done
for word in "${hostile[@]}" x --x -x -- -: -+ --kernels --no-reboot=1 --nographic=x \
    --help-callouts=1 --help=x -k -n --no --stat=x --version=1; do
    [[ $word = -- ]] || refuse run --kernel "$good" "$word"
done
refuse run --kernel "$good" -- extra
for option in kernel firmware bios initrd append unpack memory m serial debugcon log accel callout plugin system-map symbols debug gdb web; do
    refuse run "--$option"
    refuse run "-$option"
    refuse demo "--$option"
done
refuse run
refuse run --no-reboot
refuse demo --kernel "$good"
refuse demo --initrd "$good"
refuse demo extra
for where in '' Keep host, hosts guest=1 none; do refuse run --kernel "$good" --unpack "$where"; done
refuse demo --firmware "$good"
head -c 65536 /dev/zero >"$work/rom"
refuse run --firmware "$work/rom" --kernel "$good"
refuse run --firmware "$work/rom" --append x
refuse run --firmware "$work/rom" --debugcon file:
head -c 65537 /dev/zero >"$work/rom"
refuse run --firmware "$work/rom"
head -c 16842752 /dev/zero >"$work/rom"
refuse run -bios "$work/rom"

# Values.
for value in "${hostile[@]}" 1 3 4095K 3585 3585M 4G 5G 1T 64MB 64m8 +64 " 64" "64 " M K 0 0M \
    4097K 18446744073709551615 18446744073709551616 17592186044416M 18014398509481984K; do
    refuse run --kernel "$good" --memory "$value"
done
for value in "${hostile[@]}" KVM tcg BT "bt," ",bt"; do refuse run --kernel "$good" --accel "$value"; done
for switch in no-chain one-insn no-jump-cache no-loops no-sparse no-reuse flush-always evict-always no-prefault far-stubs no-bmi2 no-renewal cache=1M \
    inject=0-1 "rows=$work/rows"; do
    refuse run --kernel "$good" --accel kvm --debug "$switch"
done
refuse run --kernel "$good" --accel kvm --callout 'hlt=libc.so.6:getpid()'
for value in "${hostile[@]}" "," "run," ",run" "run,,fault" RUN "run,nothing" allx; do
    refuse run --kernel "$good" --log "$value"
done
for value in "${hostile[@]}" "," "no-chain," ",no-chain" cache cache= cache=0 cache=x cache=1 \
    cache=2G cache=99999999999999999999 no-chain=1 NO-CHAIN one-insn,x no-reuse=0 no-reuse= no-reusex no-reuse=1000001 inject inject= inject=0 inject-nmi inject-nmi= inject-nmi=1 inject-nmi=2-1 \
    inject=1- inject=-1 inject=2-1 inject=0-100000000 inject=0-1x rows rows=; do
    refuse run --kernel "$good" --debug "$value"
done
for value in "${hostile[@]}" xml JSON "json,"; do refuse run --kernel "$good" "--stats=$value"; done
for value in "" file: /nowhere/x file:/nowhere/x / file:/; do
    refuse run --kernel "$good" --serial "$value"
done
for value in "${hostile[@]}" x=y x=y:z x=y:z\( hlt=y:z\(\) hlt=/nowhere.so:f\(u32\) \
    'hlt=libc.so.6:nothing_here()' 'hlt=libc.so.6:abs(u32,u32,u32,u32)' 'hlt=libc.so.6:abs(int)' \
    'entry@abs=libc.so.6:abs(u32)' 'entry@0x=libc.so.6:abs(u32)' 'entry@=libc.so.6:abs(u32)' \
    "$good" "hlt=$good:f()"; do
    refuse run --kernel "$good" --callout "$value"
done
refuse run --kernel "$good" --system-map ''
refuse run --kernel "$good" --system-map /nowhere --callout 'entry@abs=libc.so.6:abs(u32)'
refuse run --kernel "$good" --system-map / --callout 'entry@abs=libc.so.6:abs(u32)'
refuse run --kernel "$good" --system-map "$good" --callout 'entry@abs=libc.so.6:abs(u32)'
refuse run --kernel "$good" --symbols ''
refuse run --kernel "$good" --symbols "$0" --callout 'entry@abs=libc.so.6:abs(u32)'
many=()
for _ in {1..33}; do many+=(--callout 'hlt=libc.so.6:abs(u32)'); done
refuse run --kernel "$good" "${many[@]}"

# The same options with values drawn at random, wrong by their making.
RANDOM=$seed
pick() { shift $((RANDOM % $#)) && printf '%s' "$1"; }
letters() {
    local i word=
    for ((i = RANDOM % 12 + 1; i > 0; i--)); do word+=${1:RANDOM % ${#1}:1}; done
    printf '%s' "$word"
}
number() { printf '%s' "$((RANDOM << 15 | RANDOM))"; }
for ((i = 0; i < 5 * draws; i++)); do
    # No option starts with q, x or z; no size ends in these letters; no name holds a capital.
    odd=$(pick q x z)$(letters 'abcdefghijklmnopqrstuvwxyz-=%')
    capital=$(letters 'abc-')$(pick Q X Z)$(letters 'abc-')
    refuse run --kernel "$good" "$(pick - --)$odd"
    refuse "$odd"
    refuse run --kernel "$good" --memory "$(pick '' 0 1 7 64 256)$(letters 'abcdefhijlnopqrstuvwxyz.,:+-')"
    refuse run --kernel "$good" --memory "$((3585 + $(number)))$(pick '' M m G g)"
    refuse run --kernel "$good" --log "$(pick '' run, fault,irq, all,)$capital$(pick '' ,run ,all)"
    refuse run --kernel "$good" --debug "$(pick '' no-chain, one-insn,)$capital$(pick '' ,no-chain)"
    refuse run --kernel "$good" --debug "cache=$(pick "$((RANDOM))" "$((1025 + RANDOM))M" "$capital")"
    refuse run --kernel "$good" --accel "$capital" --stats
    refuse run --kernel "$good" --callout "$capital=libc.so.6:abs(u32)"
    refuse run --kernel "$good" --callout "hlt=libc.so.6:abs(u32,$(pick u i)$((65 + RANDOM)))"
done

# Files that are no kernels.
for file in "${hostile[@]}" / /dev/null /nowhere/x /proc/self/mem /etc/passwd "$0" "$ring3"; do
    refuse run --kernel "$file"
done
mkdir "$work/images"
"$bad_images" "$work/images" "$seed" "$draws" || exit 1
# What they were made of is sound: it writes 16 to the debug-exit port, which is status 33.
for file in "$work"/images/sound-*; do
    timeout 20 "$ring3" run --memory 8M --kernel "$file" >"$work/out"
    status=$?
    [[ $status = "$sound_status" ]] || { echo "$file ended with $status"; failed=$((failed + 1)); }
    rm "$file"
done
echo data >"$work/initrd"
for file in "$work"/images/*; do
    case $file in
    */needs-initrd-*) refuse run --memory 8M --kernel "$file" --initrd "$work/initrd" ;;
    *) refuse run --memory 8M --kernel "$file" ;;
    esac
done
for size in 0 1 511 512 4096 1048576; do
    head -c "$size" /dev/urandom | tr 'A-Z\177\353' a >"$work/noise" # no magic number is left
    refuse run --kernel "$work/noise"
    truncate -s "$size" "$work/zeroes-$size"
    refuse run --kernel "$work/zeroes-$size"
done
truncate -s 8G "$work/huge"
refuse run --kernel "$work/huge"

# Initial RAM disks that cannot be loaded.
for file in "" / /nowhere/x /proc/self/mem "$work/huge"; do
    refuse run --kernel "$good" --initrd "$file"
done
RANDOM=$seed
sizes=(8M 9M 100M 1G 4G)
for ((i = 0; i < 2 * draws; i++)); do sizes+=("$((8 << 20 | RANDOM << 15 | RANDOM))"); done
for size in "${sizes[@]}"; do
    truncate -s "$size" "$work/initrd"
    refuse run --memory 8M --kernel "$good" --initrd "$work/initrd"
done
for ((i = 0; i < draws; i++)); do
    refuse run --kernel "$good" --initrd "$work/$(letters 'abc/ .')/$(letters 'abc ')"
    refuse run --kernel "$good" --append "$(head -c "$((65536 + RANDOM))" /dev/zero | tr '\0' x)"
done

echo "bad options: $checked tried with seed $seed, $failed not refused in one line"
[[ $failed = 0 ]]
