/* The table of GDB's registers: name, bits, type, group, where it comes from. Numbers 0-40 are
 * those that GDB gives i386 without a description. */
#include "inspect/gdb_register_table.h"

#include <stddef.h>

#include "runtime/inspection.h"

#define GPR(name, index)                                                                           \
    { name, 32, "int32", NULL, REGISTER_GPR, index }
#define POINTER(name, index)                                                                       \
    { name, 32, "data_ptr", NULL, REGISTER_GPR, index }
#define SELECTOR(name, index)                                                                      \
    { name, 32, "int32", NULL, REGISTER_SELECTOR, index }
#define ST(n)                                                                                      \
    { "st" #n, 80, "i387_ext", NULL, REGISTER_ST, n }
#define X87(name, index)                                                                           \
    { name, 32, "int", "float", REGISTER_X87, index }
#define XMM(n)                                                                                     \
    { "xmm" #n, 128, "vec128", NULL, REGISTER_XMM, n }
#define SYSTEM(name, kind, index)                                                                  \
    { name, 32, "int32", "system", kind, index }
#define FLAGS(name, type, index)                                                                   \
    { name, 32, type, "system", REGISTER_CONTROL, index }
#define YMMH(n)                                                                                    \
    { "ymm" #n "h", 128, "uint128", NULL, REGISTER_YMMH, n }

/* clang-format off */
const struct gdb_register gdb_register_table[] = {
    GPR("eax", EAX), GPR("ecx", ECX), GPR("edx", EDX), GPR("ebx", EBX),
    POINTER("esp", ESP), POINTER("ebp", EBP), GPR("esi", ESI), GPR("edi", EDI),
    {"eip", 32, "code_ptr", NULL, REGISTER_EIP, 0},
    {"eflags", 32, "i386_eflags", NULL, REGISTER_EFLAGS, 0},
    SELECTOR("cs", SEG_CS), SELECTOR("ss", SEG_SS), SELECTOR("ds", SEG_DS),
    SELECTOR("es", SEG_ES), SELECTOR("fs", SEG_FS), SELECTOR("gs", SEG_GS),
    ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
    X87("fctrl", X87_CONTROL), X87("fstat", X87_STATUS), X87("ftag", X87_TAGS),
    X87("fiseg", X87_CS), X87("fioff", X87_IP), X87("foseg", X87_DS), X87("fooff", X87_OPERAND),
    X87("fop", X87_OPCODE),
#define FEATURE_SSE 32u
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
    {"mxcsr", 32, "i386_mxcsr", "vector", REGISTER_MXCSR, 0},
#define FEATURE_SYSTEM 41u
    SYSTEM("es_base", REGISTER_BASE, SEG_ES), SYSTEM("cs_base", REGISTER_BASE, SEG_CS),
    SYSTEM("ss_base", REGISTER_BASE, SEG_SS), SYSTEM("ds_base", REGISTER_BASE, SEG_DS),
    SYSTEM("fs_base", REGISTER_BASE, SEG_FS), SYSTEM("gs_base", REGISTER_BASE, SEG_GS),
    FLAGS("cr0", "ring3_cr0", INSPECT_CR0), SYSTEM("cr2", REGISTER_CONTROL, INSPECT_CR2),
    SYSTEM("cr3", REGISTER_CONTROL, INSPECT_CR3), FLAGS("cr4", "ring3_cr4", INSPECT_CR4),
    FLAGS("efer", "ring3_efer", INSPECT_EFER),
    SYSTEM("gdt_base", REGISTER_TABLE_BASE, 0), SYSTEM("gdt_limit", REGISTER_TABLE_LIMIT, 0),
    SYSTEM("idt_base", REGISTER_TABLE_BASE, 1), SYSTEM("idt_limit", REGISTER_TABLE_LIMIT, 1),
    SYSTEM("tr", REGISTER_SELECTOR, SEGMENT_TR), SYSTEM("tr_base", REGISTER_BASE, SEGMENT_TR),
    SYSTEM("ldtr", REGISTER_SELECTOR, SEGMENT_LDT), SYSTEM("ldt_base", REGISTER_BASE, SEGMENT_LDT),
    SYSTEM("dr0", REGISTER_DEBUG, 0), SYSTEM("dr1", REGISTER_DEBUG, 1),
    SYSTEM("dr2", REGISTER_DEBUG, 2), SYSTEM("dr3", REGISTER_DEBUG, 3),
    SYSTEM("dr6", REGISTER_DEBUG, 6), SYSTEM("dr7", REGISTER_DEBUG, 7),
    SYSTEM("cpl", REGISTER_CPL, 0),
#define FEATURE_AVX 67u
    YMMH(0), YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7),
};
/* clang-format on */

#define ROWS (sizeof gdb_register_table / sizeof *gdb_register_table)
_Static_assert(ROWS == FEATURE_AVX + 8, "the features' first rows are what they are said to be");

static const char sse_types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\">"
    "<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>"
    "<flags id=\"i386_mxcsr\" size=\"4\">"
    "<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
    "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
    "<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
    "<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
    "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
    "<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
    "<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" "
    "end=\"15\"/></flags>";

static const char core_types[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"IOPL\" start=\"12\" end=\"13\" type=\"uint32\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";

static const char system_types[] =
    "<flags id=\"ring3_cr0\" size=\"4\">"
    "<field name=\"PE\" start=\"0\" end=\"0\"/><field name=\"MP\" start=\"1\" end=\"1\"/>"
    "<field name=\"EM\" start=\"2\" end=\"2\"/><field name=\"TS\" start=\"3\" end=\"3\"/>"
    "<field name=\"ET\" start=\"4\" end=\"4\"/><field name=\"NE\" start=\"5\" end=\"5\"/>"
    "<field name=\"WP\" start=\"16\" end=\"16\"/><field name=\"AM\" start=\"18\" end=\"18\"/>"
    "<field name=\"NW\" start=\"29\" end=\"29\"/><field name=\"CD\" start=\"30\" end=\"30\"/>"
    "<field name=\"PG\" start=\"31\" end=\"31\"/></flags>"
    "<flags id=\"ring3_cr4\" size=\"4\">"
    "<field name=\"VME\" start=\"0\" end=\"0\"/><field name=\"PVI\" start=\"1\" end=\"1\"/>"
    "<field name=\"TSD\" start=\"2\" end=\"2\"/><field name=\"DE\" start=\"3\" end=\"3\"/>"
    "<field name=\"PSE\" start=\"4\" end=\"4\"/><field name=\"PAE\" start=\"5\" end=\"5\"/>"
    "<field name=\"MCE\" start=\"6\" end=\"6\"/><field name=\"PGE\" start=\"7\" end=\"7\"/>"
    "<field name=\"PCE\" start=\"8\" end=\"8\"/><field name=\"OSFXSR\" start=\"9\" end=\"9\"/>"
    "<field name=\"OSXMMEXCPT\" start=\"10\" end=\"10\"/><field name=\"OSXSAVE\" start=\"18\" "
    "end=\"18\"/>"
    "<field name=\"SMEP\" start=\"20\" end=\"20\"/></flags>"
    "<flags id=\"ring3_efer\" size=\"4\"><field name=\"NXE\" start=\"11\" end=\"11\"/></flags>";

const struct gdb_feature gdb_features[GDB_FEATURES] = {
    {"org.gnu.gdb.i386.core", 0, core_types},
    {"org.gnu.gdb.i386.sse", FEATURE_SSE, sse_types},
    {"org.ring3.i386.system", FEATURE_SYSTEM, system_types},
    {"org.gnu.gdb.i386.avx", FEATURE_AVX, ""},
};

unsigned gdb_register_rows(void) {
    return __builtin_cpu_supports("avx") ? (unsigned)ROWS : FEATURE_AVX;
}
