/* A profile of the guest: the sampler's samples, added up by where the guest was and what ran for
 * it.
 *
 * Made once for a command, over all boots. Names are looked up at the end of each boot, when it is
 * known where a kernel lies. Weights are nanoseconds of the vCPU process's processor time. */
#ifndef RING3_INSPECT_PROFILE_H
#define RING3_INSPECT_PROFILE_H

#include "base/error.h"
#include "inspect/symbols.h"
#include "runtime/vcpu.h"

enum profile_format { PROFILE_TEXT, PROFILE_JSON, PROFILE_FOLDED, PROFILE_SVG };

struct profile;

/* NULL: no memory. `symbols` may be NULL. */
struct profile *profile_create(uint32_t rate, struct symbols *symbols);
/* Before the fork. */
void profile_attach(struct profile *profile, const struct vcpu *v);
/* Takes the samples that are there. */
void profile_drain(struct profile *profile);
/* The machine has ended. */
void profile_detach(struct profile *profile);
/* By the name's end: .json, .folded, .svg, else text. */
enum profile_format profile_format_of(const char *path);
/* `path` "-": standard error. 0, or -1 with `error` filled. */
int profile_write(struct profile *profile, const char *path, struct error *error);
void profile_free(struct profile *profile);

#endif
