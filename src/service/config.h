/* service/config: a plugin's configuration: defaults of its manifest, over them what the operator set.  Values are kept
 * as texts, exactly as they were given.  Private to src/service. */
#ifndef SERVICE_CONFIG_H
#define SERVICE_CONFIG_H

#include "service/internal.h"

#define CONFIG_MAX (256u << 10) /* bytes of everything that is set for one plugin */
#define CONFIG_KEY_MAX 128

/* What was set: two JSON objects, without overlap. */
struct config {
    uint64_t revision; /* 0: nothing was ever set */
    struct buf value, secret;
};
#define CONFIG_INIT \
    { \
        .value = BUF_INIT(2 * CONFIG_MAX), .secret = BUF_INIT(2 * CONFIG_MAX) \
    }
void config_free(struct config *c);
int config_read(struct job *job, const char *name, struct config *out, struct error *err);

/* The object that the plugin starts with. MOAT_E_BAD_PARAMETERS with the JSON Pointer when it does not satisfy the
 * manifest's schema; no message shows a value. */
int config_effective(const struct manifest *m, const struct config *c, struct buf *out, struct error *err);

/* Is that property given to its plugin alone? In doubt it is: a schema that says `secret` anywhere but in a property of
 * the top makes every property secret. */
bool config_is_secret(const struct manifest *m, const char *key);

/* Takes a whole configuration (a JSON object of texts to set; NULL: nothing is set) apart into what may be shown and
 * what may not. Secret properties are refused unless `secrets`. */
int config_split(const struct manifest *m, const uint8_t *object, bool secrets, struct config *out, struct error *err);

/* The spec's configuration becomes what is set for the plugin; MOAT_E_WRONG_STATE when that does not fit any more. */
int config_apply(struct job *job, const char *name, struct spec *spec, struct error *err);
int config_give(struct spec *spec, const struct buf *effective, struct error *err);

#endif
