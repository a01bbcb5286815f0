/* service/origins: the web pages' origins that the setting `cors_origins` names, as code asks for them: any thread, a
 * lock for a look.  Private to src/service. */
#ifndef SERVICE_ORIGINS_H
#define SERVICE_ORIGINS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

#define ORIGINS_MAX 32

struct origins;
struct origins *origins_new(void); /* names none; NULL: no memory */
void origins_free(struct origins *o);

/* Is value a list of origins, such as ["https://console.example.org"]? "null" and "*" are none. MOAT_E_BAD_USAGE. */
int origins_check(const json_t *value, struct error *err);
/* A checked list takes the place of what was there; takes the reference. */
void origins_set(struct origins *o, json_t *list);
bool origins_have(struct origins *o, const char *origin);

#endif
