/* `ring3 explain` (explain.h): options, subject, explanation, output. */
#include "cli/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/report.h"

static const char usage[] =
    "ring3 explain [options] [FILE]\n"
    "\n"
    "Shows what translation makes of guest code: each guest instruction beside the host\n"
    "instructions made from it, what became of it, and why. FILE is a 32-bit ELF kernel, a Linux\n"
    "bzImage (unpacked, with its own symbols), or raw code; without one, the embedded guest.\n"
    "\n"
    "  --hex BYTES       these bytes, in hexadecimal, instead of a file\n"
    "  --symbol NAME     the code from this symbol to the next (default: the entry point)\n"
    "  --symbols FILE    other names: ELF, System.map, /proc/kallsyms, bzImage\n"
    "  --gdb [ADDRESS:]PORT  of the guest of a running ring3 with that option, stopped meanwhile;\n"
    "                    FILE has the names (default: where it stands)\n"
    "  --address HEX     where to begin; of raw bytes, where they lie (default 0)\n"
    "  --length N        how many bytes, 65536 at most\n"
    "  --mode 32|16|real|v86   what the code segment is (default 32)\n"
    "  --cpl N           privilege level, 0 (default) to 3\n"
    "  --syntax intel|att\n"
    "  --cold            show rarely taken code too\n"
    "  --max N           fragments at most (default 64)\n"
    "  --html FILE       write a page that needs nothing else (- is standard output)\n"
    "  --json            for programs\n"
    "  --sensitive       the 17 instructions that break trap-and-emulate, run here and in a "
    "guest\n";

static int fail_output(const char *what) {
    report_line("cannot write to %s: %s", what, strerror(errno));
    return STATUS_HOST_FAILURE;
}

static int write_html(const struct explanation *explanation, const struct explain_view *view,
                      const char *path) {
    bool standard = !strcmp(path, "-");
    FILE *out = standard ? stdout : fopen(path, "we");
    if (!out)
        return fail_output(path);
    explain_print_html(out, explanation, view);
    bool failed = fflush(out) || ferror(out);
    if (!standard && fclose(out))
        failed = true;
    return failed ? fail_output(path) : STATUS_OK;
}

static int write_json(const struct explanation *explanation, const struct explain_view *view) {
    json_t *json = explain_json(explanation, view);
    bool failed =
        !json || json_dumpf(json, stdout, JSON_INDENT(1)) || putchar('\n') == EOF || fflush(stdout);
    json_decref(json);
    return failed ? fail_output("standard output") : STATUS_OK;
}

static bool wants_colour(void) {
    const char *no_color = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no_color && *no_color);
}

static int print(const struct explanation *explanation, const struct explain_subject *subject,
                 const struct explain_options *options) {
    struct explain_view view = {.title = subject->title,
                                .context = subject->context,
                                .colour = wants_colour(),
                                .cold = options->cold,
                                .symbols = subject->symbols};
    if (options->html)
        return write_html(explanation, &view, options->html);
    if (options->json)
        return write_json(explanation, &view);
    explain_print_text(stdout, explanation, &view);
    return fflush(stdout) || ferror(stdout) ? fail_output("standard output") : STATUS_OK;
}

static int explain(const struct explain_options *options) {
    struct explain_subject subject;
    struct explanation explanation;
    struct error error;
    if (explain_subject_open(&subject, options, &error)) {
        report_line("%s", error.text);
        return STATUS_BAD_INPUT;
    }
    int status = STATUS_BAD_INPUT;
    if (explain_piece(&subject.code, options->max, &explanation, &error)) {
        report_line("%s", error.text);
    } else {
        status = print(&explanation, &subject, options);
        explanation_release(&explanation);
    }
    explain_subject_close(&subject);
    return status;
}

int explain_main(int argc, char **argv, engine_fn engine) {
    struct explain_options options;
    struct error error;
    if (explain_options_parse(&options, argc, argv, &error)) {
        report_line("%s", error.text);
        return STATUS_BAD_INPUT;
    }
    if (options.help) {
        fputs(usage, stdout);
        return fflush(stdout) ? fail_output("standard output") : STATUS_OK;
    }
    return options.sensitive ? explain_sensitive(&options, engine) : explain(&options);
}
