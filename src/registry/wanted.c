/* Whether a plugin is wanted, as it was written last: `load` and `unload` need not read what they wrote before. */
#include <string.h>

#include "registry/epoch.h"
#include "registry/internal.h"

void wanted_forget(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    memset(r->notes, 0, sizeof r->notes);
    pthread_mutex_unlock(&r->lock);
}

/* Under the lock. */
static struct wanted_note *find(struct registry *r, const char *name)
{
    for (size_t i = 0; i < WANTED_NOTES; i++)
        if (strcmp(r->notes[i].name, name) == 0)
            return &r->notes[i];
    return NULL;
}

static void note(struct registry *r, const char *name, enum registry_wanted wanted)
{
    struct wanted_note *n = find(r, name);
    if (!n)
        n = &r->notes[r->next_note++ % WANTED_NOTES];
    memset(n->name, 0, sizeof n->name);
    memcpy(n->name, name, strnlen(name, sizeof n->name - 1));
    n->wanted = wanted;
}

void wanted_take(struct registry *r, const struct registry_command *group)
{
    for (const struct registry_command *c = group; c; c = c->next) {
        if (c->verb != REGISTRY_WANT || c->code < 0)
            continue;
        if (!c->want.name) { /* all of them */
            wanted_forget(r);
            continue;
        }
        pthread_mutex_lock(&r->lock);
        note(r, c->want.name, c->want.wanted);
        pthread_mutex_unlock(&r->lock);
    }
}

bool registry_wanted(struct registry *r, const char *name, enum registry_wanted *out)
{
    pthread_mutex_lock(&r->lock);
    const struct wanted_note *n = *name ? find(r, name) : NULL;
    if (n)
        *out = n->wanted;
    pthread_mutex_unlock(&r->lock);
    return n != NULL;
}
