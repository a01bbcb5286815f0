/* cli/top: what `moat top` shows: two looks at the figures, what happened between them, and a page of it.  Pure but for
 * top_read: knows no terminal. */
#ifndef CLI_TOP_H
#define CLI_TOP_H

#include "cli/cli.h"

#define TOP_NAME_MAX 31

struct top_row {
    char name[TOP_NAME_MAX], loading[16], health[16];
    uint64_t calls, errors, cpu_ns, memory, queued, running, workers, p50_ns, p99_ns; /* totals and readings */
    double calls_per_s, errors_per_s, cpu; /* between two looks; cpu: 1 is one CPU */
};

struct top_look {
    uint64_t at_ns; /* monotonic */
    uint64_t uptime_s;
    struct top_row *rows;
    size_t nrows;
};
void top_free(struct top_look *look);

/* A result of the server's, by GET; the caller's. 0 or -code. */
int top_ask(struct cli *c, const char *path, json_t **out, struct error *err);
/* Asks the server. 0 or -code. */
int top_read(struct cli *c, struct top_look *out, struct error *err);
/* Fills the rates of `now`; before NULL, or of a plugin that was not there: none. */
void top_compare(struct top_look *now, const struct top_look *before);

/* Calls an hour: so many of the past, so many that are expected. */
#define TOP_HOURS 24
struct top_forecast {
    uint64_t read_ns; /* 0: never */
    bool known;       /* enough is */
    size_t npast, nahead;
    double past[TOP_HOURS], ahead[TOP_HOURS];
    double next, next_high; /* of this hour: expected, and not exceeded nineteen times in twenty */
};
/* Asks the server, once a minute at most; where it does not answer nothing is known. */
void top_forecast_read(struct cli *c, struct top_forecast *f);
#define TOP_FORECAST_MAX 240
void top_forecast_text(const struct top_forecast *f, char out[TOP_FORECAST_MAX]); /* "" when nothing is known */

enum top_sort { TOP_CALLS, TOP_CPU, TOP_MEMORY, TOP_ERRORS, TOP_QUEUE, TOP_NAME, TOP_SORTS };
struct top_page {
    unsigned width, height; /* height 0: as many lines as there are plugins, and no line of keys */
    enum top_sort sort;
    size_t first;  /* rows above are scrolled away */
    bool measured; /* false: there are no rates yet */
    bool colours;
    const char *line_end;
    const struct top_forecast *forecast; /* or NULL */
};
/* The key that chooses it; '\0' behind the last. */
extern const char top_keys[TOP_SORTS + 1];
void top_sort(struct top_look *look, enum top_sort by);
void top_draw(struct buf *out, const struct top_look *look, const struct top_page *page);
/* For programs. */
void top_json(struct buf *out, const struct top_look *look);

#endif
