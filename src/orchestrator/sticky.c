/* Which plugin a `sticky` text stands for: the last one that was chosen for it. Of texts that share a slot the newer
 * one stays. */
#include <string.h>

#include "base/text.h"
#include "orchestrator/run.h"

static struct sticky *slot_of(struct orchestrator *o, const char *key)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 0x100000001b3;
    return &o->sticky[(h ^ h >> 32) % STICKY_SLOTS];
}

int64_t sticky_find(struct orchestrator *o, const char *key, const struct choice *c, const uint64_t *mask)
{
    char name[MANIFEST_NAME_MAX + 1] = "";
    pthread_mutex_lock(&o->lock);
    const struct sticky *s = slot_of(o, key);
    if (strcmp(s->key, key) == 0)
        text_copy(name, sizeof name, s->plugin);
    pthread_mutex_unlock(&o->lock);
    for (uint32_t i = 0; *name && i < c->n; i++) {
        const struct offer *offer = c->list[i].offer;
        if ((!mask || mask[i / 64] >> i % 64 & 1) && strcmp(offer->name, name) == 0)
            return atomic_load(&offer->health) > 0 ? (int64_t)i : -1; /* not to one that is not well */
    }
    return -1;
}

void sticky_set(struct orchestrator *o, const char *key, const char *plugin)
{
    pthread_mutex_lock(&o->lock);
    struct sticky *s = slot_of(o, key);
    text_copy(s->key, sizeof s->key, key);
    text_copy(s->plugin, sizeof s->plugin, plugin);
    pthread_mutex_unlock(&o->lock);
}
