/* Instrumentation of fragments at the wish of plugins: for the engine's side. */
#ifndef RING3_RUNTIME_INSTRUMENT_H
#define RING3_RUNTIME_INSTRUMENT_H

#include <stdbool.h>

#include "runtime/plugins.h"
#include "translator/translate.h"

/* Changes a request so that its block can be translated a second time with something before its
 * instructions, and so that no instruction is begun twice: none is run again for the sake of
 * attention or of a guess. */
void instrument_prepare(struct translate_request *req);
/* Does the block leave room for as much as every instruction is promised? */
bool instrument_fits(const struct translation *t);
/* Asks the plugins. True: the request has probes now, and is to be translated again. */
bool instrument_ask(struct vcpu *v, struct translate_request *req, const struct translation *t,
                    gpa_t gpa, bool once);
/* Is there room for what one more fragment may have? */
bool instrument_has_room(const struct plugins *plugins);
/* No function of the interface writes to what it keeps. */
void instrument_protect(struct plugins *plugins);
/* Sites go with the part of the cache that names them: this part is empty now, and is filled from here on. */
void instrument_open_part(struct plugins *plugins, unsigned part, unsigned part_count);

#endif
