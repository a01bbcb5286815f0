/* What runs follows what was decided: the step that grants, revocations, ceilings and ends of grants share. */
#include <stdio.h>
#include <string.h>

#include "service/canary.h"
#include "service/internal.h"

int current_manifest(struct job *job, const char *name, struct manifest **out,
                     char publisher[REGISTRY_PUBLISHER_MAX + 1], struct error *err)
{
    buf_auto text = BUF_INIT(2 * MANIFEST_MAX);
    struct registry_plugin plugin;
    struct registry_version v;
    int rc = registry_find_plugin(job->reader, name, &plugin, err);
    if (rc < 0)
        return rc;
    if (rc == 0 || !plugin.versions)
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", name);
    rc = registry_find_version(job->reader, name, plugin.current, &v, &text, err);
    if (rc == 0)
        return error_set(err, MOAT_E_NO_SUCH_VERSION, "`%s` has no current version", name);
    if (rc > 0)
        rc = manifest_parse(text.data, text.len, out, err);
    if (rc == 0)
        snprintf(publisher, REGISTRY_PUBLISHER_MAX + 1, "%s", v.publisher);
    return rc;
}

bool nothing_can_run(int code)
{
    return code == -MOAT_E_NO_SUCH_PLUGIN || code == -MOAT_E_NO_SUCH_VERSION;
}

/* No worker with the old rights goes on, whatever else fails: what cannot be planned becomes a closed gate. */
static int end_workers(struct service *s, struct job *job, const char *name, struct error *err)
{
    struct plan p = {0};
    struct error why;
    int rc = plan_make(job, name, NULL, PLAN_MANIFEST, false, &p, &why);
    if (rc < 0) {
        p = (struct plan){.gate = why.code};
        snprintf(p.message, sizeof p.message, "%s", why.message);
    }
    rc = plan_set_wait(s, name, &p, LOADER_REVOKE, err);
    plan_clear(&p);
    return rc;
}

int follow_less(struct service *s, struct job *job, const char *name, const char *version,
                const struct policy_answer *was, const struct policy_answer *is, struct error *err)
{
    struct error second, third;
    rights_drop(s, name);
    if (is)
        rights_set(s, name, version, is);
    rights_review(s, name);
    int queries = queries_review(s, name, &second);
    int cut = !was || !is || answer_less_of(PERMISSION_NETWORK_ACCESS, was, is) ? connections_end(s, name, err) : 0;
    /* A canary may hold what the current version never asked for. */
    int rc = canary_end(s, name, NULL, true, "a right of the plugin was taken back", cut < 0 ? &third : err);
    rc = cut < 0 ? cut : rc;
    bool same = was && is && answer_same_wall(was, is) && was->ready == is->ready;
    int ended = same && plugin_is_running(s, name) ? 0 : end_workers(s, job, name, rc < 0 ? &third : err);
    rc = rc < 0 ? rc : ended;
    if (rc == 0 && queries < 0 && err)
        *err = second;
    return rc < 0 ? rc : queries;
}
