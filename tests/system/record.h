/* Records: one line of text an outcome, "= NAME outcome", on the debug console (port 0xe9).
 *
 * Names are unique in a run of a guest: they are what the outputs of two simulators are joined
 * by. Nothing that may differ by design goes into a record: no time, no CPUID value, no flag that
 * the manual leaves undefined. */
#ifndef RING3_TESTS_SYSTEM_RECORD_H
#define RING3_TESTS_SYSTEM_RECORD_H

#include "tests/guests/stage.h"

#define NO_FLAGS (uint32_t) FLAGS_ARITHMETIC

/* Sends what is printed to the debug console, makes the stage and the rings between. */
void record_start(void);
/* "= NAME text": the name is made of the parts that are not NULL, with dots between. */
void record_text(const char *name, const char *text);
void record_value(const char *name, uint32_t value);
/* Parts that stand before the names that follow; NULL takes one away. */
void record_section(const char *section);
void record_case(const char *format, uint32_t a, uint32_t b, uint32_t c, uint32_t d);

/* Runs the image and records vector, error code, EIP relative to the start, system flags, ESP
 * relative to the start, and CR2 of a page fault. */
void record_run(const char *name, struct machine *m);
/* Only what ended the run, of an image that has run. */
void record_outcome(const char *name, const struct machine *m, uint32_t eip, uint32_t esp);
/* "skipped: REASON", for what this machine does not offer. */
void record_skipped(const char *name, const char *reason);

/* One line of many outcomes: begin, then an item each ("ok", "0d:s" where s stands for the
 * selector that the error code names, "0e:7"), then end. */
void line_begin(const char *name);
void line_outcome(const struct machine *m, uint32_t selector);
void line_text(const char *text);
void line_value(uint32_t value);
/* The system flags, in the form that the comparison knows. */
void line_flags(uint32_t flags);
void line_end(void);

/* A descriptor of TEST_SELECTOR or another: flat, with B/D set; expand-down data has the limit 0,
 * so that all but its first byte is inside. `access` has the P, DPL, S and type bits. */
void set_flat(uint32_t selector, uint8_t access);
uint8_t access_of(uint32_t selector);
/* Any eight bytes in the place of a descriptor. */
void set_descriptor(uint32_t selector, uint32_t low, uint32_t high);
/* A gate: type and DPL in `access`. */
void set_call_gate(uint32_t selector, uint32_t target, uint32_t offset, uint8_t access,
                   uint8_t count);
void set_idt_gate(unsigned vector, uint32_t target, uint32_t offset, uint8_t access);
/* After a run in ring 0 that may have loaded SS. */
void restore_stack_segment(void);
volatile uint32_t *tss_word(uint32_t offset);

/* An image in any ring, with the segments of that ring. */
struct machine ring_at(unsigned ring, const uint8_t *code, uint32_t size);
#define RING(ring, name) ring_at(ring, name, SNIPPET_SIZE(name))

/* Ends the run on all simulators. */
__attribute__((noreturn)) void record_finish(void);

enum {
    RING1_CS = FREE_SELECTOR | 1,
    RING1_DS = (FREE_SELECTOR + 0x08) | 1,
    RING2_CS = (FREE_SELECTOR + 0x10) | 2,
    RING2_DS = (FREE_SELECTOR + 0x18) | 2,
    LDT_SELECTOR = FREE_SELECTOR + 0x20,
    TEST_SELECTOR = FREE_SELECTOR + 0x28, /* from here on for the subject */
};

#endif
