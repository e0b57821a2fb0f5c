/* --help, --version and --help-callouts. */
#include "cli/help.h"

#include <stdio.h>

#include "base/trace.h"
#include "translator/callouts.h"
#include "translator/insn_table.h"

#ifndef RING3_VERSION
#error "the build defines RING3_VERSION"
#endif

static const char usage[] =
    "ring3 runs unmodified x86 operating-system kernels in an ordinary process, by binary\n"
    "translation, or on KVM.\n"
    "\n"
    "  ring3 run --kernel FILE [options]   boot FILE: Linux bzImage, Multiboot 1 or ELF32\n"
    "  ring3 run --firmware FILE [options] start a BIOS at its reset vector\n"
    "  ring3 profile --kernel FILE [options]  run, and print where time went (--profile, --rate)\n"
    "  ring3 demo [options]                boot the guest that is built in\n"
    "  ring3 bench [options] [ROW...]      measure against native and QEMU (ring3 bench --help)\n"
    "  ring3 explain [options] [FILE]      guest code beside its translation (ring3 explain --help)\n"
    "  ring3 trace FILE [options]          format a binary log (--log-format, --log-file, --symbols)\n"
    "  ring3 symbols FILE [NAME...]        names and addresses in a kernel, as a System.map\n"
    "  ring3 --version | --help\n"
    "\n"
    "Options (one dash will do: -kernel, -bios, -initrd, -append, -m, -no-reboot, -nographic):\n"
    "  --initrd FILE          initial RAM disk, or the Multiboot module\n"
    "  --append STRING        the guest's command line\n"
    "  --unpack keep|host|guest   who unpacks a Linux kernel: ring3, which keeps it in the user's\n"
    "                         cache (default), ring3 each time, or the kernel's own stub\n"
    "  --memory SIZE          guest memory, 4M to 3584M (default 256M; a plain number is MiB)\n"
    "  --no-reboot            end when the guest resets, instead of starting it again\n"
    "  --serial stdio|FILE|none   where the first serial port goes (default stdio)\n"
    "  --debugcon stdio|FILE|none where ports 0xe9 and 0x402 go (default: standard error)\n"
    "  --stats[=text|json]    print what was counted, to standard error, at the end\n"
    "  --log CHANNEL,...      trace to standard error (channels below, or all)\n"
    "  --log-file FILE        ... or to a file\n"
    "  --log-format text|json|perfetto|binary   lines, JSON objects, a file for ui.perfetto.dev,\n"
    "                         or records that `ring3 trace FILE` formats later\n"
    "  --log-filter CONDITION,...  eip=START-END symbol=NAME cpl=N cr3=X; given again: or these\n"
    "  --trace FILE           address spaces, system calls, interrupts and faults over time, for\n"
    "                         ui.perfetto.dev or chrome://tracing\n"
    "  --flight-recorder[=RECORDS]  keep the last records (default 64K of all channels) and write\n"
    "                         them at the end, however it comes\n"
    "  --profile FILE         where time went, by symbol: .svg (flame graph), .json, .folded\n"
    "                         (stacks), or a table; - is standard error\n"
    "  --rate HZ              samples a second for it (default 1000)\n"
    "  --perf-map             /tmp/perf-PID.map: names of fragments for the host's perf\n"
    "  --accel bt|kvm         how to run the guest: binary translation (default), or /dev/kvm\n"
    "  --callout 'EVENT=library.so:function(types)'\n"
    "                         call a function of yours when the guest does EVENT (ring3(1))\n"
    "  --plugin FILE.so[,key=value...]\n"
    "                         load a plugin (docs/plugins.md)\n"
    "  --gdb [ADDRESS:]PORT   serve a debugger there (loopback without an address); -s is --gdb 1234\n"
    "  -S                     stop before the first instruction and wait for the debugger or page\n"
    "  --web [ADDR:]PORT      serve a page that shows the machine at work (port 0: any)\n"
    "  --symbols FILE         names of guest addresses: ELF, System.map, kallsyms or bzImage\n"
    "                         (default: the kernel's own)\n"
    "  --help-callouts        print the table of callouts, in markdown\n"
    "  --help-instructions    print the names of the instruction table's rows\n"
    "  --debug SWITCH,...     no-chain one-insn no-jump-cache no-loops no-sparse no-reuse flush-always evict-always\n"
    "                         no-prefault past-windows live-immediates far-stubs no-bmi2 no-renewal\n"
    "                         cache=BYTES\n"
    "                         inject=START-END inject-nmi=START-END progress rows=FILE\n"
    "                         no-sandbox\n"
    "\n"
    "On a terminal, Ctrl-A x quits, Ctrl-A n raises an NMI, and Ctrl-A h helps.\n"
    "\n"
    "Exit status: 0 power-off, reset with --no-reboot, or Ctrl-A x; 1 host failure; 2 bad usage\n"
    "or a bad image; 3 triple fault; (v << 1) | 1 for a write of v to port 0xf4.\n"
    "\n"
    "Trace channels:\n";

void help_print(void) {
    static const char *const texts[TRACE_CHANNEL_COUNT] = {
#define CHANNEL_TEXT(id, name, text) [TRACE_##id] = text,
        TRACE_CHANNELS(CHANNEL_TEXT)
#undef CHANNEL_TEXT
    };
    fputs(usage, stdout);
    for (unsigned i = 0; i < TRACE_CHANNEL_COUNT; i++)
        printf("  %-12s %s\n", trace_channel_name((enum trace_channel)i), texts[i]);
}

void help_print_version(void) { printf("ring3 %s\n", RING3_VERSION); }

/* A '|' in a cell would end it. */
static void print_cell(const char *text) {
    putchar(' ');
    for (; *text; text++) {
        if (*text == '|')
            putchar('\\');
        putchar(*text);
    }
    fputs(" |", stdout);
}

void help_print_callouts(void) {
    static const char *const rows[][4] = {
#define CALLOUT_ROW(id, arg, operand, insns) {#id, arg, operand, insns},
        CALLOUTS(CALLOUT_ROW)
#undef CALLOUT_ROW
    };
    puts("| class | argument | operand | instructions |\n| --- | --- | --- | --- |");
    for (unsigned row = 0; row < sizeof rows / sizeof *rows; row++) {
        putchar('|');
        for (unsigned cell = 0; cell < 4; cell++)
            print_cell(rows[row][cell]);
        putchar('\n');
    }
}

void help_print_instructions(void) {
    char id[INSN_ROW_ID_MAX];
    for (unsigned i = 0; i < insn_row_count; i++) {
        insn_row_id(&insn_rows[i], id);
        puts(id);
    }
}
