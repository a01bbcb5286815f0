/* service/log: what of the journal is asked for, and how a record is told.  Private to src/service. */
#ifndef SERVICE_LOG_H
#define SERVICE_LOG_H

#include "service/internal.h"

struct log_filter {
    char plugin[MANIFEST_NAME_MAX + 1], call[33], trace[33]; /* "": any */
    unsigned level;                                          /* at least */
    int source;                                              /* enum line_source, or -1: any */
    uint64_t since_ns;                                       /* wall */
};

/* As journal_waiter's fits. */
bool log_fits(const void *filter, const struct record *r);
void log_tell(struct buf *out, const struct record *r);

/* The operation with which both a page and following begin. */
struct log_op {
    struct op op;
    struct log_filter filter;
    uint64_t after, before, limit, wait_ns; /* after: when `goes_on` */
    uint64_t until;                         /* monotonic; 0: not waited yet */
    bool goes_on;
    struct log_follow *follow; /* who begins to; outlives the operation */
};
/* MOAT_E_BAD_REQUEST and what a name can be. */
int log_parse(struct log_op *l, const struct service_log *f, struct error *err);
/* A name that nobody has, and of which nothing was found, is a slip of the keys: MOAT_E_NO_SUCH_PLUGIN. */
int log_check_name(struct log_op *l, struct job *job, size_t found);
/* References to the newest `limit` that fit, up to the record `to`, in the order they came. */
size_t log_newest(struct log_op *l, uint64_t to, struct record **page);
#define LOG_PAGE_MAX 1000

#endif
