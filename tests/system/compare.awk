# compare.awk known-differences RING3 OTHER: joins records by name. -v subject= -v simulator= -v shown=
# A record of ring3's that the other has not, or the other way round, is a difference too.
# So is a record that a model or the guest itself calls wrong: "differ N" with N not 0.
function trim(s) { gsub(/^ +| +$/, "", s); return s }

# "= [options] name outcome": the options belong to the name.
function split_record(line,    at) {
    sub(/^= /, "", line)
    prefix = ""
    if (match(line, /^\[[^]]*\] /)) {
        prefix = substr(line, 1, RLENGTH)
        line = substr(line, RLENGTH + 1)
    }
    at = index(line, " ")
    name = prefix (at ? substr(line, 1, at - 1) : line)
    outcome = at ? substr(line, at + 1) : ""
}

function known(name, theirs,    i) {
    for (i = 1; i <= rows; i++)
        if (name ~ ("^(\\[[^]]*\\] )?(" pattern[i] ")$")) {
            used[i]++
            return 1
        }
    return 0
}

FILENAME == ARGV[1] {
    if (/^#/ || NF == 0)
        next
    split($0, field, / +\| +/)
    if (trim(field[1]) == subject && simulator ~ ("^" trim(field[2]) "$")) {
        pattern[++rows] = trim(field[3])
        who[rows] = trim(field[4])
        reason[rows] = trim(field[5])
    }
    next
}

/^= / {
    split_record($0)
    if (name ~ /records$/) # a count of those below: one that is missing is named by itself
        next
    if (FILENAME == ARGV[2]) {
        if (name in ours) {
            print "two records of one name: " name
            bad++
        }
        ours[name] = outcome
        order[++count] = name
        if (match(outcome, /differ [1-9]/)) {
            print "ring3 differs from the model: " name " " outcome
            bad++
        }
    } else {
        theirs[name] = outcome
        if (!(name in ours))
            extra[++extras] = name
    }
}

# TCG pushes no RF with a fault (17.3.1.1 wants it): where that is all, the records are alike.
function but_for_rf(a, b,    digit) {
    if (simulator != "qemu" || !match(a, / flags 0[1357]/))
        return 0
    digit = substr(a, RSTART + 8, 1)
    return substr(a, 1, RSTART + 7) (digit - 1) substr(a, RSTART + 9) == b
}

function report(name, a, b) {
    if (known(name))
        return
    if (++bad > shown)
        return
    print "unlisted difference: " name
    print "   ring3: " a
    print "   " simulator ": " b
}

END {
    for (i = 1; i <= count; i++) {
        name = order[i]
        if (!(name in theirs))
            report(name, ours[name], "(nothing)")
        else if (but_for_rf(ours[name], theirs[name]))
            without_rf++
        else if (theirs[name] != ours[name])
            report(name, ours[name], theirs[name])
        else
            same++
    }
    for (i = 1; i <= extras; i++)
        report(extra[i], "(nothing)", theirs[extra[i]])
    for (i = 1; i <= rows; i++)
        if (used[i])
            printf "known: %s: %d records, %s: %s\n", pattern[i], used[i], who[i], reason[i]
        else {
            printf "a known difference that is none any more: %s\n", pattern[i]
            bad++
        }
    if (without_rf)
        printf "known: %d records, ring3 and Bochs: 17.3.1.1: a fault pushes RF; TCG does not\n", without_rf
    printf "%s: ring3 and %s: %d records alike, %d differences not listed\n", subject, simulator, same, bad
    exit bad != 0
}
