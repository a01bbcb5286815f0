/* The archive of a verified package: read by the inspector behind its wall, believed only as far as FILES goes. */
#include <unistd.h>

#include "base/clock.h"
#include "package/answer.h"
#include "package/helper.h"
#include "package/package_internal.h"

#define MIB (1024ull * 1024)
#define TIMEOUT_NS (20 * NS_PER_S) /* and a second for every 8 MiB */

/* What all files may have together: the format's bound, and a quarter of this machine's memory. */
static uint64_t budget_for(const struct package *p)
{
    uint64_t budget = archive_budget(p->head.archive_len);
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t quarter = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 4 : budget;
    return budget < quarter ? budget : quarter;
}

static ssize_t read_helper(void *context, void *data, size_t len, struct error *err)
{
    return helper_read(context, data, len, err);
}

static int inspect(struct package *p, struct spawner *spawner, uint64_t timeout_ns, struct answer *out,
                   struct error *err)
{
    struct helper helper;
    struct answer answer = {0};
    uint64_t budget = budget_for(p);
    int rc = helper_begin(&helper, spawner, "inspect", p->fd, budget, timeout_ns + budget / (8 * MIB) * NS_PER_S, err);
    if (rc)
        return rc;
    struct answer_source source = {.read = read_helper, .context = &helper};
    rc = helper_finish(&helper, answer_read(&source, &p->files, budget, &answer, err), err);
    if (rc) {
        answer_free(&answer);
        return rc;
    }
    *out = answer;
    return 0;
}

static int judge(const struct package *p, const struct answer *answer, struct findings *findings, struct error *err)
{
    struct finding first;
    if (!elf_judge(p->manifest, answer, findings, &first))
        return 0;
    return error_set(err, first.code, "%s (%s)", first.message, first.cure);
}

int package_unpack_within(struct package *p, struct spawner *spawner, uint64_t timeout_ns, struct unpacked *out,
                          struct findings *findings, struct error *err)
{
    struct error unwanted = {0};
    struct answer answer = {0};
    err = err ? err : &unwanted;
    if (p->stage < STAGE_READ)
        return error_set(err, MOAT_E_INTERNAL, "the package was not read before it was unpacked");
    int rc = inspect(p, spawner, timeout_ns, &answer, err);
    if (rc)
        findings_add(findings, err->code, "", error_info(rc)->advice, "%s", err->message);
    else
        rc = judge(p, &answer, findings, err);
    if (rc == 0) {
        *out = answer_steal_files(&answer);
        out->libraries = elf_libraries(&answer);
    }
    answer_free(&answer);
    return rc;
}

int package_unpack(struct package *p, struct spawner *spawner, struct unpacked *out, struct findings *findings,
                   struct error *err)
{
    return package_unpack_within(p, spawner, TIMEOUT_NS, out, findings, err);
}
