/* service/secret: the HMAC keys of this host, as its environment names them: PLUGIN_SECRET_KEY or
 * PLUGIN_SECRET_KEY_FILE signs and verifies, PLUGIN_SECRET_KEY_OLD or PLUGIN_SECRET_KEY_OLD_FILE only verifies.  Owns
 * both keys, in locked memory.  Read once, at start; nothing that Moat starts has an environment at all. */
#ifndef SERVICE_SECRET_H
#define SERVICE_SECRET_H

#include "package/key.h"

/* The publisher that these keys belong to. Nobody else can have the name. */
#define SECRET_PUBLISHER "this-host"

struct secrets {
    struct signing_key *key, *old; /* NULL: not given */
};

/* MOAT_E_BAD_USAGE (too short, both forms at once, a file that others may read), MOAT_E_NO_SUCH_FILE. */
int secrets_read(struct secrets *out, struct error *err);
void secrets_free(struct secrets *s);

/* Wipes the variables out of this process's environment, /proc/PID/environ included. Before any thread is started. */
void secrets_scrub(void);

/* The key of that id, or NULL; s may be NULL. */
const struct signing_key *secrets_find(const struct secrets *s, const uint8_t id[KEY_ID_LEN]);

#endif
