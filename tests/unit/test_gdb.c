/* GDB's remote protocol: packets, and what a session answers, over a target without a machine. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "inspect/gdb_session.h"
#include "tests/common/fake_target.h"

static struct gdb_session session;

static void set_up(void) {
    fake_reset();
    gdb_session_start(&session, &fake_target);
}

/* What the session has to send; taken away. */
static const char *sent(void) {
    static char text[GDB_OUT_MAX + 1];
    memcpy(text, session.out, session.out_size);
    text[session.out_size] = 0;
    session.out_size = 0;
    return text;
}

static void receive(const char *bytes) { gdb_session_receive(&session, bytes, strlen(bytes)); }

/* Sends a packet in a frame; returns the reply's contents (without acknowledgement), "" for an
 * empty one, NULL for none. */
static const char *ask(const char *contents) {
    static char text[GDB_PACKET_MAX + 16];
    unsigned sum = 0;
    for (const char *at = contents; *at; at++)
        sum += (uint8_t)*at;
    snprintf(text, sizeof text, "$%s#%02x", contents, sum & 0xff);
    receive(text);
    const char *reply = sent();
    ck_assert_msg(session.no_ack || *reply == '+', "no acknowledgement before '%s'", reply);
    reply += *reply == '+';
    if (!*reply)
        return NULL;
    const char *end = strchr(reply, '#');
    ck_assert_msg(*reply == '$' && end && strlen(end) == 3, "'%s' is no packet", reply);
    snprintf(text, sizeof text, "%.*s", (int)(end - reply - 1), reply + 1);
    return text;
}

static void expect(const char *packet, const char *reply) {
    const char *got = ask(packet);
    ck_assert_msg(got && !strcmp(got, reply), "'%s' is answered by '%s', not '%s'", packet,
                  got ? got : "(nothing)", reply);
}

START_TEST(packets_are_read_and_framed) {
    static struct gdb_reader reader;
    static const struct {
        const char *bytes;
        enum gdb_event last;
        const char *contents;
    } cases[] = {
        {"$#00", GDB_PACKET, ""},         {"$g#67", GDB_PACKET, "g"},
        {"xx+$g#67", GDB_PACKET, "g"},    {"$g#68", GDB_DAMAGED, NULL},
        {"$g#6x", GDB_DAMAGED, NULL},     {"$ga$g#67", GDB_PACKET, "g"},
        {"$}\x03#80", GDB_PACKET, "#"},   {"\x03", GDB_INTERRUPT, NULL},
        {"$\x03#03", GDB_PACKET, "\x03"}, {"-", GDB_RESEND, NULL},
        {"+", GDB_NOTHING, NULL},         {"$abc", GDB_NOTHING, NULL},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum gdb_event event = GDB_NOTHING;
        memset(&reader, 0, sizeof reader);
        for (const char *at = cases[i].bytes; *at; at++)
            event = gdb_read_byte(&reader, (uint8_t)*at);
        ck_assert_msg(event == cases[i].last, "case %u: %d", i, event);
        if (cases[i].contents)
            ck_assert_str_eq(reader.bytes, cases[i].contents);
    }
}
END_TEST

START_TEST(long_packets_are_dropped_whole) {
    static struct gdb_reader reader;
    gdb_read_byte(&reader, '$');
    for (unsigned i = 0; i <= GDB_PACKET_MAX; i++)
        ck_assert_int_eq(gdb_read_byte(&reader, 'a'), GDB_NOTHING);
    for (const char *at = "#6"; *at; at++)
        gdb_read_byte(&reader, (uint8_t)*at);
    ck_assert_int_eq(gdb_read_byte(&reader, '1'), GDB_DAMAGED);
}
END_TEST

START_TEST(acknowledgements_and_repeats) {
    receive("$qC#b4");
    ck_assert_str_eq(sent(), "+$QC1#c5");
    receive("-");
    ck_assert_str_eq(sent(), "$QC1#c5");
    receive("$qC#b5");
    ck_assert_str_eq(sent(), "-");
    expect("QStartNoAckMode", "OK");
    receive("$qC#b5-$qC#b4");
    ck_assert_str_eq(sent(), "$QC1#c5");
}
END_TEST

START_TEST(unknown_packets_get_the_empty_reply) {
    static const char *const unknown[] = {
        "",   "!", "vMustReplyEmpty", "qTStatus", "Z5,0,1", "vFile:open:", "QPassSignals:", "qL",
        "jx", "r"};
    for (unsigned i = 0; i < sizeof unknown / sizeof *unknown; i++)
        expect(unknown[i], "");
}
END_TEST

START_TEST(memory_by_every_packet) {
    expect("M100,4:0102fe7f", "OK");
    expect("m100,4", "0102fe7f");
    expect("X104,3:a}]b", "OK"); /* } stands for itself as }] */
    expect("m104,3", "617d62");
    expect("X0,0:", "OK");
    expect("mfffe,8", "0000"); /* as far as there is memory */
    expect("m10000,1", "E0e");
    expect("M10000,1:00", "E0e");
    expect("M100,4:0102", "E16");
    expect("M100,1:0g", "E16");
    expect("m100", "E16");
    expect("m100,4x", "E16");
    expect("m11111111111111111,4", "E16");
    expect("Qqemu.PhyMemMode:1", "OK");
    expect("qqemu.PhyMemMode", "1");
    expect("m100000100,2", "0102");
    expect("Qqemu.PhyMemMode:2", "E16");
}
END_TEST

START_TEST(registers_by_number) {
    const char *reply = ask("g");
    size_t digits = 0;
    for (unsigned i = 0; i < gdb_register_count(); i++)
        digits += 2 * gdb_register_size(i);
    ck_assert_uint_eq(strlen(reply), digits);
    expect("P8=78563412", "OK");
    expect("p8", "78563412");
    ck_assert_uint_eq(fake.vcpu.cpu.eip, 0x12345678);
    expect("P10=0000000000000080ff3f", "OK"); /* st0: 1.0 */
    expect("p10", "0000000000000080ff3f");
    expect("P1a=ffff0000", "OK"); /* ftag: all empty */
    expect("p1a", "ffff0000");
    expect("P1c=01000000", "E5f"); /* fioff cannot be written */
    expect("P1c=34120000", "OK");  /* to what it is, it can */
    expect("pffff", "E16");
    expect("P8=7856", "E16");
    expect("Pffff=00", "E16");
}
END_TEST

START_TEST(description_comes_in_parts) {
    static char whole[32768];
    const char *xml = gdb_target_description();
    size_t used = 0;
    for (unsigned i = 0; i < 1000; i++) {
        char packet[64];
        snprintf(packet, sizeof packet, "qXfer:features:read:target.xml:%zx,3ff", used);
        const char *part = ask(packet);
        ck_assert(part && (*part == 'm' || *part == 'l') && strlen(part) + used < sizeof whole);
        used += (size_t)sprintf(whole + used, "%s", part + 1);
        if (*part == 'l')
            break;
    }
    ck_assert_str_eq(whole, xml); /* it has nothing that would be escaped */
    expect("qXfer:features:read:other.xml:0,10", "E00");
    expect("qXfer:features:read:target.xml:ffffff,10", "E00");
    expect("qXfer:features:read:target.xml:", "E00");
}
END_TEST

/* One packet was sent on the session's own account. */
static void expect_told(const char *contents) {
    const char *text = sent(), *end = strchr(text, '#');
    ck_assert_msg(*text == '$' && end && strlen(end) == 3 &&
                      (size_t)(end - text - 1) == strlen(contents) &&
                      !strncmp(text + 1, contents, strlen(contents)),
                  "'%s' was told, not '%s'", text, contents);
}

static void stop_for(enum stop_reason reason, gva_t address) {
    const struct inspection_stop why = {
        .reason = reason, .address = address, .watch = WATCH_WRITE, .watchpoint = address};
    atomic_store(&fake.inspection.state, INSPECTION_STOPPED);
    gdb_session_stopped(&session, &why);
}

START_TEST(stops_are_told_to_who_waits) {
    stop_for(STOP_ASKED, 0);
    ck_assert_str_eq(sent(), ""); /* nobody waits */
    ck_assert_ptr_null(ask("vCont;c"));
    ck_assert_uint_eq(fake.resumes, 1);
    receive("\x03");
    ck_assert_uint_eq(fake.pauses, 1);
    stop_for(STOP_ASKED, 0);
    expect_told("T02thread:1;");
    expect("?", "T05thread:1;");
    ck_assert_ptr_null(ask("vCont;s:1;c:-1"));
    ck_assert_uint_eq(fake.steps, 1);
    stop_for(STOP_STEP, 0);
    expect_told("T05thread:1;");
    expect("vCont;x", "E16");
    ck_assert_ptr_null(ask("c1000"));
    ck_assert_uint_eq(fake.vcpu.cpu.eip, 0x1000);
    gdb_session_exited(&session, 0x21);
    expect_told("W21");
}
END_TEST

START_TEST(points_are_set_told_and_taken_back) {
    ask("qSupported:swbreak+;hwbreak+");
    expect("Z0,1000,1", "OK");
    expect("Z0,1000,1", "OK"); /* said twice, set once */
    expect("Z1,2000,1", "OK");
    expect("Z2,3000,4", "OK");
    ck_assert_uint_eq(fake_target.breakpoint_count, 2);
    ask("c");
    stop_for(STOP_BREAKPOINT, 0x1000);
    expect_told("T05thread:1;swbreak:;");
    ask("c");
    stop_for(STOP_BREAKPOINT, 0x2000);
    expect_told("T05thread:1;hwbreak:;");
    ask("c");
    stop_for(STOP_WATCHPOINT, 0x3000);
    expect_told("T05thread:1;watch:3000;");
    expect("z0,1000,1", "OK");
    expect("z0,1000,1", "OK");
    expect("Z2,3000,0", "E16");
    expect("Z0,100000000,1", "E16");
    expect("Z0,1000", "E16");
    ask("c");
    ck_assert(!gdb_session_clear_points(&session)); /* it runs */
    stop_for(STOP_ASKED, 0);
    ck_assert(gdb_session_clear_points(&session));
    ck_assert_uint_eq(fake_target.breakpoint_count + fake_target.watchpoint_count, 0);
}
END_TEST

static const char *console(const char *line) {
    static char packet[800];
    static char text[GDB_PACKET_MAX];
    int used = sprintf(packet, "qRcmd,");
    for (; *line; line++)
        used += sprintf(packet + used, "%02x", (uint8_t)*line);
    const char *reply = ask(packet);
    size_t size = strlen(reply) / 2;
    if (!strcmp(reply, "OK") || *reply == 'E')
        return reply;
    ck_assert(gdb_parse_bytes(&reply, text, size) && !*reply);
    text[size] = 0;
    return text;
}

START_TEST(console_commands) {
    char line[300];
    ck_assert_ptr_nonnull(strstr(console("help"), "translate ADDRESS"));
    ck_assert_ptr_nonnull(strstr(console("info"), "cs:eip"));
    ck_assert_str_eq(console(" physical  on"), "OK");
    ck_assert(session.physical);
    ck_assert_ptr_nonnull(strstr(console("physical x"), "neither"));
    ck_assert_ptr_nonnull(strstr(console("translate 100"), "physical 100000100"));
    ck_assert_ptr_nonnull(strstr(console("translate fffff000"), "not mapped"));
    ck_assert_ptr_nonnull(strstr(console("translate"), "hexadecimal"));
    ck_assert_ptr_nonnull(strstr(console("frobnicate"), "unknown command 'frobnicate'"));
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = 0;
    ck_assert_str_eq(console(line), "E16");
    console("reset");
    ck_assert(session.resetting && fake.exit == EXIT_RESET && fake_target.start_stopped);
    ck_assert_uint_eq(gdb_session_receive(&session, "$qC#b4", 6),
                      0); /* until it has stopped again */
    stop_for(STOP_ASKED, 0);
    expect("qC", "QC1");
}
END_TEST

START_TEST(leaving) {
    expect("D", "OK");
    ck_assert(session.leaves);
    ck_assert_uint_eq(gdb_session_receive(&session, "$qC#b4", 6), 0);
    set_up();
    ck_assert_ptr_null(ask("k"));
    ck_assert(session.leaves && fake.exit == EXIT_QUIT);
    set_up();
    expect("vKill;1", "OK");
    ck_assert(session.leaves && fake.exit == EXIT_QUIT);
}
END_TEST

START_TEST(who_does_not_read_is_dropped) {
    for (unsigned i = 0; i < 2000 && !session.broken; i++)
        receive("$g#67");
    ck_assert(session.broken && session.out_size <= sizeof session.out);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("gdb");
    TCase *tcase = tcase_create("gdb");
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, packets_are_read_and_framed);
    tcase_add_test(tcase, long_packets_are_dropped_whole);
    tcase_add_test(tcase, acknowledgements_and_repeats);
    tcase_add_test(tcase, unknown_packets_get_the_empty_reply);
    tcase_add_test(tcase, memory_by_every_packet);
    tcase_add_test(tcase, registers_by_number);
    tcase_add_test(tcase, description_comes_in_parts);
    tcase_add_test(tcase, stops_are_told_to_who_waits);
    tcase_add_test(tcase, points_are_set_told_and_taken_back);
    tcase_add_test(tcase, console_commands);
    tcase_add_test(tcase, leaving);
    tcase_add_test(tcase, who_does_not_read_is_dropped);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
