/* A profile as a flame graph: one SVG file with its script inside, which needs nothing else.
 *
 * Stacks are sorted by their names, so the frames that two neighbours share are their common
 * beginning: a frame is open as long as the stacks that follow begin alike. The outermost frames
 * are at the bottom. */
#include <string.h>

#include "inspect/profile_private.h"

#define WIDTH 1200u
#define ROW_HEIGHT 17u
#define MARGIN_TOP 60u
#define MARGIN_BOTTOM 30u
#define SHARE_MIN 4000u /* narrower than the whole by this: left out */

extern const char flame_graph_script[];

static const char style[] =
    "text{font:12px ui-monospace,monospace;fill:#111}"
    "#frames g{cursor:pointer}#frames g:hover rect,#frames g:focus rect{stroke:#000}"
    "#frames g:focus{outline:none}.hit rect{fill:#c060e0!important}"
    ".button{cursor:pointer;text-decoration:underline}"
    ".background{fill:#fff}"
    "@media(prefers-color-scheme:dark){.background{fill:#181818}"
    ".plain{fill:#ddd}#frames g:hover rect,#frames g:focus rect{stroke:#fff}}";

/* What ran in the guest's place stands out; user code is of another colour than the kernel's. */
static const char *colour_of(const char *name, bool user) {
    static const struct {
        const char *begin, *colour;
    } colours[] = {
        {"[callout", "#7fb2e5"},     {"[hidden", "#e07a5f"},   {"[true", "#d1495b"},
        {"[translation", "#81b29a"}, {"[run loop", "#a9a9c9"},
    };
    static const char *const kernel[] = {"#f2b05e", "#f0a54a", "#f5ba72"};
    static const char *const users[] = {"#a7c957", "#9cbf4a", "#b2d169"};
    unsigned sum = 0;
    for (unsigned i = 0; i < sizeof colours / sizeof *colours; i++)
        if (!strncmp(name, colours[i].begin, strlen(colours[i].begin)))
            return colours[i].colour;
    for (const char *c = name; *c; c++)
        sum = sum * 31 + (uint8_t)*c;
    return user ? users[sum % 3] : kernel[sum % 3];
}

struct graph {
    struct text *text;
    const struct profile *profile;
    uint32_t depth_max;
    struct {
        uint32_t name;
        uint64_t start_ns;
    } open[STACK_NAMES_MAX];
    uint32_t depth;
};

static void put_attribute(struct text *text, const char *name, uint64_t value) {
    text_char(text, ' ');
    text_string(text, name);
    text_string(text, "=\"");
    text_decimal(text, value);
    text_char(text, '"');
}

static void put_frame(struct graph *graph, uint32_t depth, uint64_t end_ns) {
    struct text *text = graph->text;
    const char *name = graph->profile->names.names[graph->open[depth].name];
    const char *root = graph->profile->names.names[graph->open[0].name];
    uint64_t start = graph->open[depth].start_ns, len = end_ns - start;
    uint64_t total = graph->profile->total_ns, tenths = (len * 1000 + total / 2) / total;
    uint64_t y = MARGIN_TOP + (uint64_t)(graph->depth_max - 1 - depth) * ROW_HEIGHT;
    if (!len || len < total / SHARE_MIN)
        return;
    text_string(text, "<g tabindex=\"0\" data-name=\"");
    text_xml(text, name);
    text_char(text, '"');
    put_attribute(text, "data-x", start);
    put_attribute(text, "data-w", len);
    text_string(text, "><title>");
    text_xml(text, name);
    text_string(text, " (");
    text_decimal(text, len / 1000000);
    text_string(text, " ms, ");
    text_decimal(text, tenths / 10);
    text_char(text, '.');
    text_decimal(text, tenths % 10);
    text_string(text, " %)</title><rect");
    put_attribute(text, "x", start * WIDTH / total);
    put_attribute(text, "y", y);
    put_attribute(text, "width", len * WIDTH / total);
    put_attribute(text, "height", ROW_HEIGHT - 1);
    text_string(text, " rx=\"1\" fill=\"");
    text_string(text, colour_of(name, !strncmp(root, "user", 4)));
    text_string(text, "\"/><text");
    put_attribute(text, "x", start * WIDTH / total + 3);
    put_attribute(text, "y", y + ROW_HEIGHT - 5);
    text_string(text, "></text></g>\n");
}

static void close_frames(struct graph *graph, uint32_t depth, uint64_t ns) {
    while (graph->depth > depth)
        put_frame(graph, --graph->depth, ns);
}

static void put_frames(struct graph *graph) {
    const struct profile *profile = graph->profile;
    uint64_t ns = 0;
    for (uint32_t i = 0; i < profile->stack_count; i++) {
        const struct profile_stack *stack = &profile->stacks[i];
        uint32_t shared = 0;
        while (shared < graph->depth && shared < stack->count &&
               graph->open[shared].name == stack->names[shared])
            shared++;
        close_frames(graph, shared, ns);
        for (; graph->depth < stack->count; graph->depth++) {
            graph->open[graph->depth].name = stack->names[graph->depth];
            graph->open[graph->depth].start_ns = ns;
        }
        ns += stack->weight_ns;
    }
    close_frames(graph, 0, ns);
}

static void put_head(struct text *text, uint32_t height) {
    text_string(text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100%\" viewBox=\"0 0 ");
    text_decimal(text, WIDTH);
    text_char(text, ' ');
    text_decimal(text, height);
    text_string(text, "\">\n<style>");
    text_string(text, style);
    text_string(text, "</style>\n<rect class=\"background\" width=\"100%\" height=\"100%\"/>\n");
}

/* `y` 0: the last line. */
static void put_label(struct text *text, const char *id, const char *class, unsigned x, unsigned y,
                      const char *label) {
    text_string(text, "<text id=\"");
    text_string(text, id);
    text_string(text, "\" class=\"");
    text_string(text, class);
    text_char(text, '"');
    put_attribute(text, "x", x);
    put_attribute(text, "y", y);
    text_char(text, '>');
    text_string(text, label);
    text_string(text, "</text>\n");
}

static void put_title(struct text *text, const struct profile *profile) {
    struct text title = {0};
    text_string(&title, "ring3: ");
    text_seconds(&title, profile->total_ns);
    text_string(&title, " s of processor time, ");
    text_decimal(&title, profile->samples);
    text_string(&title, " samples");
    text_char(&title, '\0');
    if (!title.failed)
        put_label(text, "title", "plain", 10, 20, title.bytes);
    text_free(&title);
}

void profile_put_flame_graph(struct text *text, const struct profile *profile) {
    struct graph graph = {.text = text, .profile = profile, .depth_max = 1};
    for (uint32_t i = 0; i < profile->stack_count; i++)
        if (profile->stacks[i].count > graph.depth_max)
            graph.depth_max = profile->stacks[i].count;
    uint32_t height = MARGIN_TOP + graph.depth_max * ROW_HEIGHT + MARGIN_BOTTOM;
    put_head(text, height);
    put_title(text, profile);
    put_label(text, "reset", "plain button", 10, 42, "Reset");
    put_label(text, "search", "plain button", 80, 42, "Search");
    put_label(text, "matched", "plain", 160, 42, "");
    put_label(text, "details", "plain", 10, height - 10, "");
    text_string(text, "<g id=\"frames\"");
    put_attribute(text, "data-width", WIDTH);
    put_attribute(text, "data-total", profile->total_ns ? profile->total_ns : 1);
    text_string(text, ">\n");
    if (profile->total_ns)
        put_frames(&graph);
    text_string(text, "</g>\n<script><![CDATA[\n");
    text_string(text, flame_graph_script);
    text_string(text, "]]></script>\n</svg>\n");
}
