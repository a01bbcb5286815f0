/* Mending what is derived from the records: inside its savepoint, on the store thread. */
#include "registry/files.h"
#include "registry/search.h"
#include "registry/write.h"

/* FTS5's own check of its index, and ours of what is in it. */
static bool search_is_good(struct registry *r)
{
    int64_t wrong = 0;
    struct error why;
    return db_run(&r->writer, &why, "INSERT INTO search (search) VALUES ('integrity-check')", "") == 0 &&
           db_number(&r->writer, &why, 1, &wrong, SEARCH_WRONG, "") == 0 && wrong == 0;
}

int write_mend(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    bool good = search_is_good(r);
    c->mend.searched = false;
    c->mend.collected = 0;
    int rc = good ? 0 : search_rebuild(&r->writer, err);
    /* Only this thread publishes, and every package of this transaction is marked: none comes to be wanted meanwhile.
     */
    if (rc == 0)
        rc = files_collect(r->plugin_dir, store_fate, r, &c->mend.collected, err);
    if (rc == 0)
        c->mend.searched = !good;
    return rc < 0 ? rc : WRITE_NOTHING_NEW;
}

int write_note(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    return WRITE_CHANGED;
}
