/* broker: decides what a plugin's running call asks of the host, by the rights that were granted, at the moment it
 * asks. Owns those rights, one answer of the policy for each version that may run; runs no plugin and opens nothing
 * itself. Any thread; nothing here blocks. */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "base/error.h"
#include "policy/policy.h"
#include "wire/ask.h"

struct broker;

struct broker_config {
    uint64_t (*now)(void *context); /* seconds of the home's time: ends of grants are by it */
    /* The ask is for this data source, and allowed: opens it and answers, later. */
    void (*open_source)(void *context, struct question *ask, const char *source, bool write);
    /* A task that the plugin wants to be run: whether it may call each PLUGIN.ACTION is asked of broker_allows, before
     * anything of it begins and before each call; answers later. */
    void (*run_task)(void *context, struct question *ask);
    /* Can a call of this version ask for anything? Of many versions of a plugin the rights of those that cannot are
     * forgotten, the ones that were set longest ago first. NULL: none can. */
    bool (*lives)(void *context, const char *plugin, const char *version);
    void *context;
};
int broker_new(const struct broker_config *config, struct broker **out, struct error *err);
void broker_free(struct broker *b); /* NULL is fine; every ask has been answered */

/* Who makes connections (broker/net.h), before the first ask; it is not the broker's. NULL: nobody. */
struct net;
void broker_use_net(struct broker *b, struct net *n);

/* What a running call asks: answered now or later (wire/ask.h). */
void broker_ask(struct broker *b, struct question *ask);
/* It was allowed when it was asked; is it still? false: err says why not, as the plugin is told. */
bool broker_still(struct broker *b, const struct question *ask, struct error *err);

/* May this version do what needs the permission for the object, now? */
bool broker_allows(struct broker *b, const char *plugin, const char *version, enum permission p, const char *object);

/* It may not: answered as broker_ask does, and told of as a denial. err (may be NULL) gets the words instead, and
 * nothing is answered. */
void broker_deny_call(struct broker *b, struct question *ask, const char *object, struct error *err);

/* From now on this version asks by this answer, of which the broker keeps what it needs. Without memory it asks in
 * vain. */
void broker_set(struct broker *b, const char *plugin, const char *version, const struct policy_answer *answer);
/* No version of the plugin has any right. */
void broker_drop(struct broker *b, const char *plugin);

#endif
