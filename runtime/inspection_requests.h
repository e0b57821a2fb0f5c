/* The requests of a stopped vCPU's mailbox, private to runtime/. */
#ifndef RING3_RUNTIME_INSPECTION_REQUESTS_H
#define RING3_RUNTIME_INSPECTION_REQUESTS_H

#include "runtime/inspection.h"

/* Carries one out. What inspection.h says of results. */
int inspection_serve(struct vcpu *v, const struct inspection_request *request);
/* Tells the windows which pages are watched. */
void inspection_watch_pages(struct vcpu *v);
/* The vCPU is to go on, for one instruction or for good. */
void inspection_resume(struct vcpu *v, bool step);

#endif
