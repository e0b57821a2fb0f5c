/* The instruction differential's command: draws sequences, has both sides run them, compares,
 * and makes the shortest sequence of one that differs. */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/diff/sequence.h"

#define NIGHTLY 1000000u
#define NOTES_MAX 32u

struct options {
    uint64_t seed, from, count;
    const char *plugin, *rows, *coverage;
    char debug[80];
    unsigned max_failures;
    bool whole; /* do not minimise */
    bool cases; /* the fixed sequences, first */
    struct engine_options engine;
};

/* How often outcomes were left out, by reason. */
struct note {
    char reason[80];
    uint64_t count, example;
};

static struct session {
    struct options options;
    struct sides sides;
    struct row_choice rows;
    struct sequence sequences[BATCH];
    uint64_t *covered; /* by row */
    uint64_t compared, elements, failed, unsteady;
    struct note notes[NOTES_MAX];
    unsigned note_count;
} session;

static void note(const char *reason, uint64_t number) {
    unsigned i = 0;
    while (i < session.note_count && strcmp(session.notes[i].reason, reason))
        i++;
    if (i == NOTES_MAX)
        return;
    if (i == session.note_count) {
        snprintf(session.notes[i].reason, sizeof session.notes[i].reason, "%s", reason);
        session.notes[i].example = number;
        session.note_count++;
    }
    session.notes[i].count++;
}

/* Rows that were executed for certain: up to where it ended, or to the first branch. */
static void cover(const struct sequence *s, const struct outcome *o) {
    int last = element_at(s, o->out.eip);
    for (unsigned i = 0; i < s->count; i++) {
        const struct element *e = &s->elements[i];
        if (e->row != NO_ROW) {
            session.covered[e->row]++;
            session.elements++;
        }
        bool stays = e->row == NO_ROW || (!e->rel_len && !insn_rows[e->row].ends);
        if (!stays || (last >= 0 && (unsigned)last <= i))
            return;
    }
}

/* Runs one sequence alone. NULL: no difference. */
static const char *run_alone(const struct sequence *s, struct outcome *native,
                             struct outcome *guest) {
    struct shared *shared = session.sides.shared;
    enum side dead;
    unsigned at;
    assemble(s, &shared->jobs[0]);
    shared->count = 1;
    if (!sides_run(&session.sides, &dead, &at))
        return dead == SIDE_GUEST ? "the end of the machine" : "the end of the native process";
    *native = shared->outcomes[SIDE_NATIVE][0];
    *guest = shared->outcomes[SIDE_GUEST][0];
    return outcome_left_out(s, native, guest) ? NULL : compare(s, native, guest);
}

/* Takes away what the difference does not need. */
static void minimise(struct sequence *s) {
    static struct outcome native, guest;
    bool again = !session.options.whole;
    while (again) {
        again = false;
        for (unsigned i = s->count; i-- > 0;) {
            if (s->elements[i].removed)
                continue;
            s->elements[i].removed = true;
            if (run_alone(s, &native, &guest))
                again = true;
            else
                s->elements[i].removed = false;
        }
    }
}

/* The command that runs a sequence again. */
static void print_again(const struct sequence *s) {
    const struct options *o = &session.options;
    printf("  again: tests/diff/diff --seed %llu --from %llu --count 1",
           (unsigned long long)s->seed, (unsigned long long)s->number);
    if (o->rows)
        printf(" --rows '%s'", o->rows);
    if (o->debug[0])
        printf(" --debug %s", o->debug);
    printf("\n\n");
    fflush(stdout);
}

/* A difference in a batch: it must come again when the sequence runs alone. */
static void examine(const struct sequence *found, const char *what) {
    static struct sequence s;
    static struct outcome native, guest;
    static struct job job;
    s = *found;
    const char *alone = run_alone(&s, &native, &guest);
    for (unsigned i = 0; i < 3 && alone && strcmp(alone, "ending") == 0; i++)
        alone = run_alone(&s, &native, &guest); /* time is not the sequence's alone */
    if (!alone && strcmp(what, "ending") == 0) {
        note("not at its end in time, in one of two runs", s.number);
        return;
    }
    if (!alone) {
        session.unsteady++;
        printf("sequence %llu of seed %llu: %s differed, but not when it ran alone\n",
               (unsigned long long)s.number, (unsigned long long)s.seed, what);
        return;
    }
    session.failed++;
    minimise(&s);
    what = run_alone(&s, &native, &guest);
    assemble(&s, &job);
    print_failure(&s, &job, &native, &guest, what ? what : alone);
    print_again(&s);
    if (session.sides.shared->exit_text[0])
        printf("  the guest's side: %s\n", session.sides.shared->exit_text);
    session.sides.shared->exit_text[0] = 0;
}

struct finding {
    unsigned job;
    const char *what;
};

static void check_batch(uint64_t first, unsigned count) {
    struct shared *shared = session.sides.shared;
    struct finding findings[BATCH];
    unsigned found = 0, at;
    enum side dead;
    for (unsigned i = 0; i < count; i++) {
        generate(&session.sequences[i], &session.rows, session.options.seed, first + i);
        assemble(&session.sequences[i], &shared->jobs[i]);
    }
    shared->count = count;
    if (!sides_run(&session.sides, &dead, &at)) {
        printf("the %s side ended at sequence %llu: %s\n",
               dead == SIDE_GUEST ? "guest's" : "native",
               (unsigned long long)(first + (at < count ? at : 0)), shared->exit_text);
        shared->exit_text[0] = 0;
        for (unsigned i = 0; i < count; i++)
            examine(&session.sequences[i], "the end of a side");
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct sequence *s = &session.sequences[i];
        struct outcome *native = &shared->outcomes[SIDE_NATIVE][i];
        struct outcome *guest = &shared->outcomes[SIDE_GUEST][i];
        const char *why = outcome_left_out(s, native, guest);
        if (why) {
            note(why, s->number);
            continue;
        }
        session.compared++;
        const char *what = compare(s, native, guest);
        if (what)
            findings[found++] = (struct finding){i, what};
        else
            cover(s, native);
    }
    for (unsigned i = 0; i < found && session.failed < session.options.max_failures; i++)
        examine(&session.sequences[findings[i].job], findings[i].what);
}

/* The fixed sequences, each alone. */
static void check_fixed(void) {
    static struct sequence s;
    static struct outcome native, guest;
    static struct job job;
    for (unsigned i = 0; i < fixed_case_count; i++) {
        const char *name = generate_fixed(&s, i), *what = run_alone(&s, &native, &guest);
        const char *why = what ? NULL : outcome_left_out(&s, &native, &guest);
        bool endless = native.ending == ENDED_TIMEOUT && guest.ending == ENDED_TIMEOUT;
        session.compared++;
        if (!what && (!why || endless))
            continue;
        session.failed++;
        printf("%s: %s\n", name, what ? what : why);
        assemble(&s, &job);
        print_failure(&s, &job, &native, &guest, what ? what : why);
        printf("  again: tests/diff/diff --cases --count 0\n\n");
    }
    printf("%u fixed sequences, %llu differ\n", fixed_case_count,
           (unsigned long long)session.failed);
}

static void choose_rows(void) {
    session.rows.rows = calloc(insn_row_count, sizeof *session.rows.rows);
    session.covered = calloc(insn_row_count, sizeof *session.covered);
    for (unsigned i = 0; i < insn_row_count; i++) {
        char name[120];
        snprintf(name, sizeof name, "%s %s", insn_rows[i].name, insn_rows[i].operands);
        if (session.options.rows && fnmatch(session.options.rows, name, FNM_CASEFOLD) != 0)
            continue;
        if (!row_left_out(&insn_rows[i]))
            session.rows.rows[session.rows.count++] = (uint16_t)i;
    }
}

static void fill_images(struct shared *shared) {
    struct random r = {0x243f6a8885a308d3ull};
    for (unsigned i = 0; i < IMAGES; i++)
        for (unsigned at = 0; at < DATA_BYTES; at += 4) {
            uint32_t value = i == 1 ? 0 : i == 2 ? random_word(&r) & 0x0f0f0f0f : random_value(&r);
            memcpy(shared->images[i] + at, &value, 4);
        }
}

static unsigned covered_rows(void) {
    unsigned rows = 0;
    for (unsigned i = 0; i < insn_row_count; i++)
        rows += session.covered[i] != 0;
    return rows;
}

/* One line a row: its number, how often it was executed, what it is. */
static int write_coverage(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "diff: --coverage '%s': %s\n", path, strerror(errno));
        return 2;
    }
    for (unsigned i = 0; i < insn_row_count; i++) {
        const struct insn_row *row = &insn_rows[i];
        const char *why = row_left_out(row);
        fprintf(file, "%u\t%llu\t%s%u:%02x-%02x\t%s %s\t%s\n", i,
                (unsigned long long)session.covered[i], row->vex ? "vex" : "", row->map, row->lo,
                row->hi, row->name, row->operands, why ? why : "");
    }
    return fclose(file) ? 2 : 0;
}

static void summary(double seconds, uint64_t made) {
    unsigned left_out = 0;
    for (unsigned i = 0; i < insn_row_count; i++)
        left_out += row_left_out(&insn_rows[i]) != NULL;
    for (unsigned i = 0; i < session.note_count; i++)
        printf("left out %llu times: %s (%llu)\n", (unsigned long long)session.notes[i].count,
               session.notes[i].reason, (unsigned long long)session.notes[i].example);
    printf("%llu sequences, %llu compared, %llu instructions, %llu differ, %llu unsteady; %u of %u "
           "rows "
           "(%u left out by name); %.0f sequences/s\n",
           (unsigned long long)made, (unsigned long long)session.compared,
           (unsigned long long)session.elements, (unsigned long long)session.failed,
           (unsigned long long)session.unsteady, covered_rows(), insn_row_count, left_out,
           (double)made / seconds);
}

static const char usage[] =
    "usage: diff [--seed N] [--from N] [--count N] [--rows PATTERN] [--coverage FILE]\n"
    "            [--debug no-chain,one-insn,no-jump-cache,no-loops,no-sparse,no-reuse,flush-always,evict-always,\n"
    "                     no-prefault,past-windows,live-immediates,far-stubs,no-bmi2,cache=64K]\n"
    "            [--nightly] [--cases] [--max-failures N] [--whole] [--plugin FILE.so]\n";

static bool parse_switch(const char *word, struct engine_options *engine) {
    struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"no-chain", &engine->no_chain},           {"one-insn", &engine->one_insn},
        {"no-jump-cache", &engine->no_jump_cache}, {"no-loops", &engine->no_loops}, {"no-sparse", &engine->no_sparse}, {"flush-always", &engine->flush_always},
        {"evict-always", &engine->evict_always},   {"no-prefault", &engine->no_prefault},
        {"past-windows", &engine->past_windows},   {"live-immediates", &engine->live_immediates},
        {"far-stubs", &engine->far_stubs},
        {"no-bmi2", &engine->no_bmi2},
    };
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!strcmp(word, flags[i].name)) {
            *flags[i].flag = true;
            return true;
        }
    }
    if (!strcmp(word, "no-reuse")) {
        engine->no_reuse = 1;
        engine->no_chain = true;
        return true;
    }
    engine->cache_bytes = 64 << 10;
    return !strcmp(word, "cache=64K");
}

static bool parse_debug(char *text, struct engine_options *engine) {
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ","))
        if (!parse_switch(word, engine))
            return false;
    return true;
}

static bool parse_number(const char *text, uint64_t *value) {
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 0);
    return *text && !*end && !errno;
}

static bool parse_options(int argc, char **argv, struct options *o) {
    enum { SEED = 1, FROM, COUNT, ROWS, COVERAGE, DEBUG, NIGHT, FAILURES, WHOLE, CASES, PLUGIN };
    static const struct option list[] = {{"seed", 1, NULL, SEED},
                                         {"from", 1, NULL, FROM},
                                         {"count", 1, NULL, COUNT},
                                         {"rows", 1, NULL, ROWS},
                                         {"debug", 1, NULL, DEBUG},
                                         {"nightly", 0, NULL, NIGHT},
                                         {"coverage", 1, NULL, COVERAGE},
                                         {"whole", 0, NULL, WHOLE},
                                         {"max-failures", 1, NULL, FAILURES},
                                         {"plugin", 1, NULL, PLUGIN},
                                         {"cases", 0, NULL, CASES},
                                         {NULL, 0, NULL, 0}};
    uint64_t number = 0;
    *o = (struct options){.seed = 1, .count = 10000, .max_failures = 20};
    for (int c; (c = getopt_long(argc, argv, "", list, NULL)) != -1;) {
        bool good = true;
        switch (c) {
        case SEED:
            good = parse_number(optarg, &o->seed);
            break;
        case FROM:
            good = parse_number(optarg, &o->from);
            break;
        case COUNT:
            good = parse_number(optarg, &o->count);
            break;
        case ROWS:
            o->rows = optarg;
            break;
        case COVERAGE:
            o->coverage = optarg;
            break;
        case DEBUG:
            snprintf(o->debug, sizeof o->debug, "%s", optarg);
            good = parse_debug(optarg, &o->engine);
            break;
        case NIGHT:
            o->count = NIGHTLY;
            break;
        case FAILURES:
            good = parse_number(optarg, &number), o->max_failures = (unsigned)number;
            break;
        case WHOLE:
            o->whole = true;
            break;
        case PLUGIN:
            o->plugin = optarg;
            break;
        case CASES:
            o->cases = true;
            break;
        default:
            good = false;
        }
        if (!good)
            return false;
    }
    return optind == argc;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    struct options *o = &session.options;
    if (!parse_options(argc, argv, o)) {
        fputs(usage, stderr);
        return 2;
    }
    choose_rows();
    session.sides.engine = o->engine;
    session.sides.plugin = o->plugin;
    if (!session.rows.count || !sides_start(&session.sides)) {
        fprintf(stderr, "diff: %s\n",
                session.rows.count ? "no shared memory" : "no row has such a name");
        return 2;
    }
    fill_images(session.sides.shared);
    double start = now();
    uint64_t made = 0;
    if (o->cases)
        check_fixed();
    while (made < o->count && session.failed < o->max_failures) {
        unsigned count = o->count - made < BATCH ? (unsigned)(o->count - made) : BATCH;
        check_batch(o->from + made, count);
        made += count;
    }
    summary(now() - start, made);
    sides_stop(&session.sides);
    if (o->coverage && write_coverage(o->coverage))
        return 2;
    return session.failed || session.unsteady || !session.compared ? 1 : 0;
}
