/* From the registry's records to what the loader is told: a gate, or a spec. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "registry/epoch.h"
#include "service/config.h"
#include "service/installed.h"
#include "service/programs.h"
#include "service/recall.h"

void plan_clear(struct plan *p)
{
    if (p->spec)
        spec_unref(p->spec);
    p->spec = NULL;
    buf_free(&p->text);
}

static void plan_close(struct plan *p, enum moat_code gate, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void plan_close(struct plan *p, enum moat_code gate, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->message, sizeof p->message, format, args);
    va_end(args);
    p->gate = gate;
}

/* ---- a spec ---- */

static struct spec *spec_of(struct manifest *m)
{
    struct spec *s = calloc(1, sizeof *s);
    char *config = strdup(m->config_defaults);
    if (!s || !config) {
        free(s);
        free(config);
        return NULL;
    }
    s->refs = 1;
    s->manifest = manifest_ref(m);
    s->config = config;
    s->config_len = strlen(config);
    for (size_t i = 0; i < WALL_CODE_MAX; i++)
        s->code[i] = -1;
    return s;
}

static int add_code(struct spec *s, const struct unpacked *files, const char *path, struct error *err)
{
    int fd = unpacked_find(files, path);
    if (fd < 0)
        return error_set(err, MOAT_E_BAD_MANIFEST, "the package has no %s", path);
    if (s->ncode == WALL_CODE_MAX)
        return error_set(err, MOAT_E_LIMIT, "a plugin brings at most %d libraries", WALL_CODE_MAX - 1);
    s->code[s->ncode] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (s->code[s->ncode] < 0)
        return error_set(err, MOAT_E_LIMIT, "too many open files in the host");
    s->ncode++;
    return 0;
}

static int add_assets(struct spec *s, const struct unpacked *files, struct error *err)
{
    if (files->assets < 0)
        return 0;
    int fd = fcntl(files->assets, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return error_set(err, MOAT_E_LIMIT, "too many open files in the host");
    s->assets = fd;
    return 0;
}

/* Libraries in the manifest's order, the entry last; then what all workers will map. */
static int spec_code(struct spec *s, const struct unpacked *files, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < s->manifest->nlibraries && rc == 0; i++)
        rc = add_code(s, files, s->manifest->libraries[i], err);
    s->libraries = files->libraries;
    if (rc == 0)
        rc = add_code(s, files, s->manifest->entry, err);
    if (rc == 0)
        rc = programs_ship(s, files, err);
    return rc < 0 ? rc : add_assets(s, files, err);
}

/* One mount per place: what may be written there may be read there. */
static int add_grant(struct spec *s, const struct wall_grant *g, struct error *err)
{
    for (size_t i = 0; i < s->ngrants; i++) {
        if (strcmp(s->grants[i].path, g->path) == 0) {
            s->grants[i].writable |= g->writable;
            return 0;
        }
    }
    if (s->ngrants == WALL_GRANTS_MAX)
        return error_set(err, MOAT_E_LIMIT, "%s has more than %d granted places", s->manifest->name, WALL_GRANTS_MAX);
    s->grants[s->ngrants++] = *g;
    return 0;
}

static int spec_grants(struct job *job, struct spec *s, const struct policy_answer *a,
                       const struct decisions *decisions, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < a->ngrants && rc == 0; i++) {
        const struct grant *g = &a->grants[i];
        struct wall_grant resolved;
        if (g->permission == PERMISSION_EXECUTE_CODE && !*g->scope)
            s->execute_code = true;
        if (g->permission == PERMISSION_NETWORK_ACCESS)
            s->network = true;
        if (g->permission != PERMISSION_FILE_READ && g->permission != PERMISSION_FILE_WRITE)
            continue;
        rc = grant_find(g, a, &resolved, err);
        if (rc == 0)
            rc = add_grant(s, &resolved, err);
        else
            error_prefix(err, "%s was granted %s=%s", s->manifest->name, permission_name(g->permission), g->scope);
    }
    if (rc == 0)
        rc = quota_plan(job, s, a, decisions, err);
    return rc < 0 ? rc : programs_grant(s, a, loader_spawner(job->s->loader), err);
}

/* ---- the code of what is installed ---- */

static int unpack_installed(struct job *job, const struct registry_version *v, struct package *package,
                            struct spec *spec, struct error *err)
{
    struct unpacked files = {0};
    int rc = package_read(package, err);
    if (rc == 0)
        rc = package_unpack(package, loader_spawner(job->s->loader), &files, NULL, err);
    if (rc == 0)
        rc = spec_code(spec, &files, err);
    if (rc == 0)
        vault_keep(job->s->vault, v->sha256, spec->manifest, &files);
    else
        unpacked_free(&files);
    return rc;
}

/* Key, revocation, expiry and hash are looked at each time; the inspector only the first. */
static int code_of(struct job *job, const struct registry_version *v, const struct buf *text, struct spec *spec,
                   const struct policy_answer *answer, struct error *err)
{
    struct package *package = NULL;
    int rc = installed_open(job, v, text, &package, err);
    const struct unpacked *kept = rc == 0 ? vault_lock(job->s->vault, v->sha256) : NULL;
    if (kept) {
        rc = spec_code(spec, kept, err);
        vault_unlock(job->s->vault);
    } else if (rc == 0) {
        rc = unpack_installed(job, v, package, spec, err);
    }
    package_free(package);
    if (installed_is_damage(rc))
        return installed_mark_damaged(job, v, err);
    return rc < 0 ? rc : spec_grants(job, spec, answer, NULL, err);
}

static void spec_empty(struct spec *s)
{
    while (s->ncode)
        io_close(&s->code[--s->ncode]);
    s->ngrants = s->nprograms = 0;
    s->execute_code = s->network = false;
}

int plan_keep_code(struct job *job, struct plan *p)
{
    struct error unsaid; /* plan_bring_code meets it again, in its own order */
    const struct unpacked *kept = p->spec ? vault_lock(job->s->vault, p->record.sha256) : NULL;
    if (!kept)
        return 0;
    int rc = spec_code(p->spec, kept, &unsaid);
    vault_unlock(job->s->vault);
    if (rc == 0)
        rc = spec_grants(job, p->spec, &p->answer, NULL, &unsaid);
    if (rc < 0)
        spec_empty(p->spec);
    return rc == 0;
}

int plan_verify(struct job *job, const struct plan *p, struct error *err)
{
    struct package *package = NULL;
    int rc = installed_open(job, &p->record, &p->text, &package, err);
    package_free(package);
    return installed_is_damage(rc) ? installed_mark_damaged(job, &p->record, err) : rc;
}

/* ---- plans ---- */

static void close_damaged(struct job *job, struct plan *p, const struct registry_version *v)
{
    char cure[200];
    installed_cure(job, v->name, v->version, cure);
    plan_close(p, MOAT_E_PACKAGE_DAMAGED, "the installed package of %s %s is damaged: %s", v->name, v->version, cure);
}

/* Everything that keeps calls out before the manifest is looked at. */
static void close_by_state(struct job *job, struct plan *p, const struct registry_version *v,
                           const struct trust_answer *signer, bool ignore_stop)
{
    const char *name = p->plugin.name;
    if (!p->plugin.active)
        plan_close(p, MOAT_E_WRONG_STATE, "%s is inactive: `moat activate %s`", name, name);
    else if (v->state == REGISTRY_DAMAGED)
        close_damaged(job, p, v);
    else if (trust_is_unsigned(v->key_id) && !signer->known)
        plan_close(p, MOAT_E_UNSIGNED, "%s %s is not signed, and this home is not in development mode", name,
                   v->version);
    else if (v->state == REGISTRY_ARCHIVED)
        plan_close(p, MOAT_E_WRONG_STATE, "%s %s is archived: `moat archive %s@%s --undo`", name, v->version, name,
                   v->version);
    else if (signer->revoked)
        plan_close(p, MOAT_E_KEY_REVOKED, "the key that signed %s %s is revoked", name, v->version);
    else if (!trust_name_matches(signer->names, name))
        plan_close(p, MOAT_E_NAME_NOT_ALLOWED, "%s may publish \"%s\", not \"%s\"", signer->publisher, signer->names,
                   name);
    else if (v->expires_at && v->expires_at <= clock_wall_ns() / NS_PER_S)
        plan_close(p, MOAT_E_PACKAGE_EXPIRED, "%s %s has expired", name, v->version);
    else if (!ignore_stop && p->plugin.wanted == REGISTRY_STOPPED)
        plan_close(p, MOAT_E_WRONG_STATE, "%s is unloaded: `moat load %s`", name, name);
}

int version_may_run(struct job *job, const struct registry_plugin *plugin, const struct registry_version *v,
                    const struct buf *text, struct error *err)
{
    struct plan p = {.plugin = *plugin};
    struct package *package = NULL;
    struct trust_answer signer;
    p.plugin.active = true;
    int rc = trust_find(job, v->key_id, &signer, err);
    if (rc == 0)
        close_by_state(job, &p, v, &signer, true);
    if (rc == 0 && p.gate != MOAT_E_OK)
        rc = error_set(err, p.gate, "%s", p.message);
    if (rc == 0)
        rc = installed_open(job, v, text, &package, err);
    package_free(package);
    return installed_is_damage(rc) ? error_set(err, MOAT_E_PACKAGE_DAMAGED,
                                               "the installed package of %s %s is missing or damaged: install it again",
                                               v->name, v->version)
                                   : rc;
}

/* Which version it is to be. */
static int find(struct job *job, const char *name, const char *version, struct plan *p, struct error *err)
{
    int rc = registry_find_plugin(job->reader, name, &p->plugin, err);
    if (rc < 0)
        return rc;
    if (rc == 0 || !p->plugin.versions)
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", name);
    bool told = version && *version;
    if (!told && !p->plugin.current[0])
        return error_set(err, MOAT_E_WRONG_STATE, "no version of %s is the current one: `moat use %s@VERSION`", name,
                         name);
    snprintf(p->version, sizeof p->version, "%s", told ? version : p->plugin.current);
    return 0;
}

/* The answer of the policy, and an empty spec when it lets the plugin run. */
static int decide(const struct decisions *d, const char *publisher, struct manifest *m, struct plan *p,
                  struct error *err)
{
    decisions_answer(m, publisher, d, &p->answer);
    if (!p->answer.ready) {
        p->gate = MOAT_E_PERMISSION_DENIED;
        answer_explain(m, &p->answer, p->message, sizeof p->message);
        return 0;
    }
    p->spec = spec_of(m);
    return p->spec ? 0 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", m->name);
}

/* What is set for the plugin, over the manifest's defaults. What does not fit this version keeps calls out. */
static int configure(struct job *job, struct plan *p, struct error *err)
{
    struct error why;
    if (!p->spec)
        return 0;
    int rc = config_apply(job, p->spec->manifest->name, p->spec, &why);
    if (rc == -MOAT_E_WRONG_STATE) {
        plan_close(p, why.code, "%s", why.message);
        plan_clear(p);
        return 0;
    }
    if (rc < 0 && err)
        *err = why;
    return rc;
}

static int installed_manifest(struct job *job, const struct registry_version *v, struct buf *text,
                              struct manifest **out, struct error *err)
{
    *out = vault_manifest(job->s->vault, v->sha256);
    if (*out)
        return 0;
    if (!buf_reserve(text, 0))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", v->name);
    return manifest_parse(text->data, text->len, out, err);
}

static int decide_installed(struct job *job, const struct known *k, struct plan *p, struct error *err)
{
    struct decisions of_now = k->decisions;
    struct manifest *m = NULL;
    int rc = installed_manifest(job, &p->record, &p->text, &m, err);
    decisions_at_now(job, &of_now);
    if (rc == 0)
        rc = decide(&of_now, p->record.publisher, m, p, err);
    if (rc == 0 && k->configured)
        rc = configure(job, p, err);
    manifest_unref(m);
    return rc;
}

/* ---- what the registry says ---- */

static int read_version(struct job *job, const struct plan *p, struct known *k, struct error *err)
{
    const char *name = p->plugin.name;
    int rc = registry_find_version(job->reader, name, p->version, &k->record, &k->text, err);
    if (rc == 0)
        return error_set(err, MOAT_E_NO_SUCH_VERSION, "`%s` is not installed in version %s", name, p->version);
    return rc < 0 ? rc : trust_find(job, k->record.key_id, &k->signer, err);
}

static int read_decisions(struct job *job, const char *name, struct known *k, struct error *err)
{
    struct config c = CONFIG_INIT;
    int rc = decisions_read(job, name, &k->decisions, err);
    if (rc == 0)
        rc = config_read(job, name, &c, err);
    k->configured = c.revision != 0;
    k->decided = rc == 0;
    config_free(&c);
    return rc;
}

static int fill_plan(struct job *job, struct known *k, bool ignore_stop, struct plan *p, struct error *err)
{
    p->record = k->record;
    if (!buf_put(&p->text, k->text.data, k->text.len) || !buf_reserve(&p->text, 0))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest of %s", p->plugin.name);
    close_by_state(job, p, &p->record, &k->signer, ignore_stop);
    if (p->gate != MOAT_E_OK)
        return 0;
    int rc = k->decided ? 0 : read_decisions(job, p->plugin.name, k, err); /* what is recalled has them */
    return rc < 0 ? rc : decide_installed(job, k, p, err);
}

static bool is_epoch(struct job *job, uint64_t epoch)
{
    return registry_epoch(job->s->registry) == epoch && epoch % 2 == 0;
}

/* All that the registry says, of one moment. */
static int read_known(struct job *job, const char *name, const char *version, bool ignore_stop, struct plan *p,
                      struct error *err)
{
    uint64_t epoch = registry_epoch(job->s->registry);
    struct known *k = known_new();
    int rc =
        k ? registry_snapshot_begin(job->reader, err) : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a plan");
    if (rc < 0) {
        known_unref(job->s->recall, k);
        return rc;
    }
    rc = find(job, name, version, p, err);
    if (rc == 0)
        rc = read_version(job, p, k, err);
    if (rc == 0)
        rc = fill_plan(job, k, ignore_stop, p, err);
    registry_snapshot_end(job->reader);
    k->plugin = p->plugin;
    if (rc == 0 && k->decided && !k->configured && is_epoch(job, epoch))
        recall_keep(job->s->recall, k, epoch);
    known_unref(job->s->recall, k);
    return rc;
}

/* The same as it was read before, when nothing of it was written since: 1, or 0. */
static int recall_plan(struct job *job, const char *name, const char *version, bool ignore_stop, struct plan *p,
                       struct error *err)
{
    uint64_t epoch = registry_epoch(job->s->registry);
    struct known *k = recall_find(job->s->recall, name, version, epoch);
    enum registry_wanted wanted;
    int rc = k && registry_wanted(job->s->registry, name, &wanted) && is_epoch(job, epoch);
    if (rc) {
        p->plugin = k->plugin;
        p->plugin.wanted = wanted;
        memcpy(p->version, k->record.version, sizeof k->record.version);
        int filled = fill_plan(job, k, ignore_stop, p, err);
        rc = filled < 0 ? filled : 1;
    }
    known_unref(job->s->recall, k);
    return rc;
}

static int read_plan(struct job *job, const char *name, const char *version, bool ignore_stop, struct plan *p,
                     struct error *err)
{
    int rc = recall_plan(job, name, version, ignore_stop, p, err);
    if (rc == 0)
        return read_known(job, name, version, ignore_stop, p, err);
    return rc < 0 ? rc : 0;
}

int plan_make(struct job *job, const char *name, const char *version, enum plan_depth depth, bool ignore_stop,
              struct plan *out, struct error *err)
{
    struct plan p = {.text = BUF_INIT(2 * MANIFEST_MAX)};
    int rc = read_plan(job, name, version, ignore_stop, &p, err);
    if (rc == 0 && depth == PLAN_CODE)
        rc = plan_bring_code(job, &p, err);
    if (rc < 0)
        plan_clear(&p);
    else
        *out = p;
    return rc;
}

int plan_bring_code(struct job *job, struct plan *p, struct error *err)
{
    return p->spec ? code_of(job, &p->record, &p->text, p->spec, &p->answer, err) : 0;
}

int plan_from_package(struct job *job, struct package *package, const struct unpacked *files,
                      const struct decisions *decisions, struct plan *out, struct error *err)
{
    struct plan p = {0};
    struct manifest *m = package_manifest(package);
    snprintf(p.version, sizeof p.version, "%s", m->version);
    int rc = decide(decisions, package_publisher(package), m, &p, err);
    if (rc == 0)
        rc = configure(job, &p, err);
    if (rc == 0 && p.spec)
        rc = spec_code(p.spec, files, err);
    if (rc == 0 && p.spec)
        rc = spec_grants(job, p.spec, &p.answer, decisions, err);
    if (rc < 0)
        plan_clear(&p);
    else
        *out = p;
    return rc;
}

/* ---- telling the loader ---- */

void plan_set(struct service *s, const char *name, const struct plan *p, enum loader_how how, loader_done done,
              void *context)
{
    if (how == LOADER_REVOKE)
        rights_drop(s, name);
    if (p->spec)
        rights_set(s, name, p->version, &p->answer);
    loader_set(s->loader, name, p->spec, how, p->gate, p->message, done, context);
}

int plan_set_wait(struct service *s, const char *name, const struct plan *p, enum loader_how how, struct error *err)
{
    struct waits *w = waits_new(1);
    if (!w)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to wait for %s", name);
    plan_set(s, name, p, how, waits_done, waits_add(w, name));
    return waits_finish(w, WAIT_DEAD_NS, err);
}

void plan_define(struct job *job, const char *name)
{
    struct plan p = {0};
    struct error err;
    int rc = plan_make(job, name, NULL, PLAN_MANIFEST, false, &p, &err);
    if (rc == -MOAT_E_NO_SUCH_PLUGIN)
        return;
    if (rc < 0)
        plan_close(&p, err.code, "%s", err.message);
    rc = plan_set_wait(job->s, name, &p, LOADER_LAZY, &err);
    plan_clear(&p);
    if (rc < 0)
        log_event(LOG_ERROR, "define_failed", "plugin", name, "code", error_info(rc)->name, "why", err.message, NULL);
}
