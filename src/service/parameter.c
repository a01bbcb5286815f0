#include "service/parameter.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/setting.h"

const char *parameter_guard_name(enum parameter_guard g)
{
    static const char *const names[] = {"unguarded", "watched", "kept", "worse", "taken_back", "replaced"};
    return names[g];
}

struct parameter *parameter_find(struct parameters *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->list[i]->name, name) == 0)
            return p->list[i];
    return NULL;
}

/* ---- values ---- */

static int check_number(const struct parameter *one, double x, struct error *err)
{
    if (x < one->min || x > one->max)
        return error_set(err, MOAT_E_BAD_USAGE, "%s: %.17g is not between %.17g and %.17g", one->name, x, one->min,
                         one->max);
    double off = one->step > 0 ? fabs(remainder(x - one->min, one->step)) : 0;
    if (off > 1e-9 * fmax(1, fabs(x)))
        return error_set(err, MOAT_E_BAD_USAGE, "%s: %.17g is not %.17g and a whole number of steps of %.17g",
                         one->name, x, one->min, one->step);
    return 0;
}

static int check_choice(const struct parameter *one, const json_t *value, struct error *err)
{
    json_t *choices = json_loads(one->choices, JSON_DECODE_ANY, NULL);
    bool there = false;
    for (size_t i = 0; i < json_array_size(choices) && !there; i++)
        there = json_equal(value, json_array_get(choices, i));
    json_decref(choices);
    return there ? 0 : error_set(err, MOAT_E_BAD_USAGE, "%s: it is one of %.800s", one->name, one->choices);
}

static const char *kind_of(const json_t *value)
{
    return json_is_boolean(value)  ? "true or false"
           : json_is_number(value) ? "a number"
           : json_is_string(value) ? "a text"
                                   : NULL;
}

/* A value is of the kind that it was at first. */
static int check_kind(const struct parameter *one, const json_t *value, struct error *err)
{
    json_t *now = one->value ? json_loads(one->value, JSON_DECODE_ANY, NULL) : NULL;
    const char *kind = kind_of(value), *asked = now ? kind_of(now) : kind;
    json_decref(now);
    if (!kind || (one->bounded && !json_is_number(value)))
        return error_set(err, MOAT_E_BAD_USAGE, "%s: its value is %s", one->name,
                         one->bounded ? "a number" : "a number, a text, true or false");
    return kind == asked ? 0 : error_set(err, MOAT_E_BAD_USAGE, "%s: its value is %s", one->name, asked);
}

int parameter_check(const struct parameter *one, const char *value, char **canonical, struct error *err)
{
    json_error_t why;
    json_t *v = json_loads(value, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    int rc = v ? 0 : error_set(err, MOAT_E_BAD_JSON, "%s: the value is not JSON: %s", one->name, why.text);
    if (rc == 0 && !one->setting)
        rc = check_kind(one, v, err);
    if (rc == 0 && one->bounded)
        rc = check_number(one, json_number_value(v), err);
    if (rc == 0 && one->choices)
        rc = check_choice(one, v, err);
    if (rc == 0 && one->setting)
        rc = settings_check(one->setting->key, value, err);
    char *text = rc == 0 ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    json_decref(v);
    if (rc == 0 && !text)
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the value");
    if (rc == 0 && strlen(text) > PARAMETER_VALUE_MAX)
        rc = error_set(err, MOAT_E_BAD_USAGE, "%s: a value has at most %d bytes", one->name, PARAMETER_VALUE_MAX);
    if (rc == 0)
        *canonical = text;
    else
        free(text);
    return rc;
}

/* ---- history ---- */

struct parameter_change *parameter_last(struct parameter *one)
{
    return one->changes ? &one->history[(one->changes - 1) % PARAMETER_HISTORY] : NULL;
}

struct parameter_change *parameter_note(struct parameter *one, char *from, char *to, const char *who, const char *why)
{
    struct parameter_change *c = &one->history[one->changes % PARAMETER_HISTORY];
    free(c->from);
    free(c->to);
    *c = (struct parameter_change){
        .number = ++one->changes, .wall_ns = clock_wall_ns(), .from = from, .to = to, .guard = PARAMETER_UNGUARDED};
    text_copy(c->who, sizeof c->who, who && *who ? who : "host");
    text_plain(c->why, sizeof c->why, why ? why : "", why ? strlen(why) : 0);
    return c;
}

/* ---- registering ---- */

static bool is_name(const char *text)
{
    size_t n = text ? strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") : 0;
    return n > 0 && n <= PARAMETER_NAME_MAX && !text[n];
}

static int check_definition(const struct service_parameter *d, struct error *err)
{
    if (!is_name(d->name))
        return error_set(err, MOAT_E_BAD_USAGE, "a parameter's name has 1 to %d letters, digits and _.-",
                         PARAMETER_NAME_MAX);
    if (strncmp(d->name, "settings.", 9) == 0)
        return error_set(err, MOAT_E_BAD_USAGE, "%s: names that begin with `settings.` are the host's", d->name);
    if (!d->current || !d->set)
        return error_set(err, MOAT_E_BAD_USAGE, "%s: it needs its current value and a function that sets it", d->name);
    if (d->bounded && !(isfinite(d->min) && isfinite(d->max) && d->min <= d->max && d->step >= 0))
        return error_set(err, MOAT_E_BAD_USAGE, "%s: min is to be at most max, and step not below 0", d->name);
    if (d->watched && strlen(d->watched) > MONITOR_WORD_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "%s: what is watched is a name of at most %d letters", d->name,
                         MONITOR_WORD_MAX);
    return 0;
}

static int check_choices(const struct service_parameter *d, struct error *err)
{
    json_t *list = d->choices ? json_loads(d->choices, 0, NULL) : NULL;
    bool good = !d->choices || (json_is_array(list) && json_array_size(list));
    json_decref(list);
    return good ? 0 : error_set(err, MOAT_E_BAD_USAGE, "%s: choices are a JSON array of at least one value", d->name);
}

static void fill(struct parameter *one, const struct service_parameter *d)
{
    text_copy(one->name, sizeof one->name, d->name);
    text_copy(one->watched, sizeof one->watched, d->watched ? d->watched : "");
    text_plain(one->about, sizeof one->about, d->about ? d->about : "", d->about ? strlen(d->about) : 0);
    one->bounded = d->bounded;
    one->min = d->min;
    one->max = d->max;
    one->step = d->step;
    one->set = d->set;
    one->context = d->context;
}

static void parameter_free(struct parameter *one)
{
    for (size_t i = 0; one && i < PARAMETER_HISTORY; i++) {
        free(one->history[i].from);
        free(one->history[i].to);
    }
    if (one) {
        free(one->value);
        free(one->choices);
    }
    free(one);
}

static struct parameter *parameter_new(const struct service_parameter *d, struct error *err)
{
    struct parameter *one = calloc(1, sizeof *one);
    int rc = one ? 0 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a parameter");
    if (rc == 0 && d->choices && !(one->choices = strdup(d->choices)))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a parameter");
    if (rc == 0) {
        fill(one, d);
        rc = parameter_check(one, d->current, &one->value, err);
    }
    if (rc == 0)
        return one;
    parameter_free(one);
    return NULL;
}

/* The same name again: what is new holds; what happened stays. Nothing of it is watched any more. */
static void take_over(struct parameters *p, struct parameter *old, struct parameter *new)
{
    struct parameter_change *last = parameter_last(old);
    char *value = old->value, *choices = old->choices;
    if (last && last->guard == PARAMETER_WATCHED) {
        last->guard = PARAMETER_REPLACED;
        atomic_fetch_sub(&p->watching, 1);
    }
    text_copy(old->watched, sizeof old->watched, new->watched);
    text_copy(old->about, sizeof old->about, new->about);
    old->bounded = new->bounded;
    old->min = new->min;
    old->max = new->max;
    old->step = new->step;
    old->set = new->set;
    old->context = new->context;
    old->value = new->value;
    old->choices = new->choices;
    new->value = value;
    new->choices = choices;
    parameter_free(new);
}

int service_register_parameter(struct service *s, const struct service_parameter *d, struct error *err)
{
    struct parameters *p = s->parameters;
    int rc = check_definition(d, err);
    if (rc == 0)
        rc = check_choices(d, err);
    struct parameter *one = rc == 0 ? parameter_new(d, err) : NULL;
    if (!one)
        return -(int)err->code;
    pthread_mutex_lock(&p->lock);
    struct parameter *old = parameter_find(p, d->name);
    if (old)
        take_over(p, old, one);
    else if (p->count < PARAMETERS_MAX)
        p->list[p->count++] = one;
    else
        rc = error_set(err, MOAT_E_LIMIT, "%d parameters are registered already: no more are taken", PARAMETERS_MAX);
    pthread_mutex_unlock(&p->lock);
    if (rc < 0)
        parameter_free(one);
    return rc;
}

void service_on_parameter(struct service *s, service_parameter_sink sink, void *context)
{
    pthread_mutex_lock(&s->parameters->sink_lock);
    s->parameters->sink = sink;
    s->parameters->sink_context = context;
    pthread_mutex_unlock(&s->parameters->sink_lock);
}

/* ---- open and close ---- */

static bool add_setting(struct parameters *p, const struct setting *t)
{
    struct parameter *one = calloc(1, sizeof *one);
    if (!one)
        return false;
    snprintf(one->name, sizeof one->name, "settings.%s", t->key);
    text_copy(one->about, sizeof one->about, t->about);
    one->setting = t;
    p->list[p->count++] = one;
    return true;
}

struct parameters *parameters_new(struct service *s)
{
    struct parameters *p = calloc(1, sizeof *p);
    bool whole = p != NULL;
    if (!p)
        return NULL;
    p->s = s;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->sink_lock, NULL);
    for (size_t i = 0; i < nsettings && whole; i++)
        if (settings_table[i].live)
            whole = add_setting(p, &settings_table[i]);
    if (whole)
        return p;
    parameters_free(p);
    return NULL;
}

void parameters_free(struct parameters *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        parameter_free(p->list[i]);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->sink_lock);
    free(p);
}
