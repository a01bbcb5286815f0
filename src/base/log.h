/* base/log: structured lines for the operator on standard error (or a file), one event a line: text on a terminal,
 * JSON lines otherwise.  Any thread may call; a line is one write where it has at most PIPE_BUF bytes.  Who
 * reads too slowly holds nobody up: lines are dropped, and `log_lost` says how many before the next.  Library code
 * below src/service never prints: it returns errors; events that nobody asked for (a denial, a crash) are what is
 * logged.
 *
 *     log_event(LOG_WARN, "denial", "plugin", "hostile", "operation", "open", "object", path, NULL);
 *
 * Values are strings of any bytes; control characters and bad UTF-8 are neutralised. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON };

/* Call before threads start.  fd stays the caller's.  Without it: standard error, automatic, LOG_WARN. */
void log_setup(int fd, enum log_format format, enum log_level least);
void log_set_level(enum log_level least); /* any thread, at any time */
bool log_enabled(enum log_level level);

/* Pairs of const char * (key, value), ended by NULL; a NULL value leaves its pair out.
 * A key that starts with '#' carries a number and is written without quotes in JSON. */
__attribute__((sentinel)) void log_event(enum log_level level, const char *event, ...);

/* A number as text for log_event, valid until the end of the full expression's block. */
#define log_num(n) (log_num_text((char[24]){0}, (long long)(n)))
const char *log_num_text(char out[24], long long n);

#endif
