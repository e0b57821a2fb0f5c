/* What the command line says on standard error about errors and about machines that stopped. */
#ifndef RING3_CLI_REPORT_H
#define RING3_CLI_REPORT_H

#include "runtime/vcpu.h"

/* "ring3: ..." as exactly one line: control characters in it (file names and options are hostile)
 * become '?'. */
__attribute__((format(printf, 1, 2))) void report_line(const char *format, ...);

/* The registers of a stopped vCPU. */
void report_registers(const struct vcpu *v);
/* The instructions around EIP, the registers, and the page walks of CR2 and of EIP. Reads guest
 * memory as it stands; changes nothing. */
void report_machine(const struct vcpu *v);

#endif
