/* sandbox/doctor_cure: how a missing layer is got on this machine.  Looks at the machine, changes nothing. */
#ifndef SANDBOX_DOCTOR_CURE_H
#define SANDBOX_DOCTOR_CURE_H

#include <stddef.h>

#include "sandbox/layer.h"

/* failed_step: where the chain stopped, or empty. */
void doctor_cure(enum wall_layer layer, const char *failed_step, char *out, size_t size);

#endif
