#!/bin/bash
# `ring3 explain --sensitive`: all of them are run on both sides, and what the guest sees is the guest's.
#   sensitive.sh RING3
set -u
ring3=$1 failed=0
out=$("$ring3" explain --sensitive 2>&1) || { echo "$out" | tail -n 5; exit 1; }

# must COUNT PATTERN
must() {
    local got
    got=$(grep -cE -- "$2" <<<"$out")
    [[ $got == "$1" ]] || { echo "$got lines, not $1, with: $2"; failed=1; }
}
must 18 '^ ?[0-9]+\. '
must 18 '^    translated: '
must 0 'the guest said nothing'
# Ring 0 of the guest, by whatever looks at it.
must 5 'in a ring3 guest:  CS.* 00000008$'
must 1 'in a ring3 guest:  ES after popping 0x10 00000010$'
must 1 'in a ring3 guest:  vector 0x80 by the guest.s IDT, EAX \(20 before\) 00000014$'
must 1 'in a ring3 guest:  EFLAGS after an image with IF clear 00000002$'
must 1 'in a ring3 guest:  access rights of its own CS 00cf9b00$'
must 2 'in a ring3 guest:  may selector 0x10 be (read|written) \(1: yes\) 00000001$'
must 1 'in a ring3 guest:  task register 00000028$'
# This processor, where it runs 32-bit code: IF stays set, and the privilege level shows.
if ! grep -q 'this host runs no 32-bit code' <<<"$out"; then
    must 1 'here, in ring 3:   no trap, EFLAGS after an image with IF clear 00000202$'
    must 1 'here, in ring 3:   no trap, CS as pushed 00000023$'
    must 3 'here, in ring 3:   refused, SIGSEGV$'
fi
json=$("$ring3" explain --sensitive --json) || failed=1
[[ $(grep -c '"guest_vector": 129' <<<"$json") == 17 ]] || { echo "the JSON has other results"; failed=1; }
exit $failed
