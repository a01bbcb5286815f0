/* sandbox/explain_path: from a path as a plugin wrote it to a judgement against its grants.  Pure. */
#ifndef SANDBOX_EXPLAIN_PATH_H
#define SANDBOX_EXPLAIN_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "sandbox/wall.h"

#define EXPLAIN_PATH_MAX 8192

/* dir (absolute) and path become one absolute path without ".", ".." and doubled slashes.  Links are not looked at: the
 * result only explains.  false when it does not fit. */
bool explain_normalise(const char *dir, const char *path, char *out, size_t size);

enum explain_access { ACCESS_LOOK, ACCESS_READ, ACCESS_WRITE };

struct explain_judgement {
    int errnum;     /* 0: leave it to the kernel's walls */
    int permission; /* enum permission, or -1 when nothing can allow it */
};

struct explain_judgement explain_judge(const char *path, enum explain_access access, const struct wall_grant *grants,
                                       size_t ngrants);

/* The same behind the fallback wall, which has no /tmp and no tree of its own: what is in no grant is refused. */
struct explain_judgement explain_judge_alone(const char *path, enum explain_access access,
                                             const struct wall_grant *grants, size_t ngrants);

/* May it be executed inside? (Then it may be read, too.) path is normal. */
bool explain_is_program(const char *path, const struct wall_request *given);

/* For a control character, a byte that is neither ASCII nor UTF-8, and at the end for what did not fit. */
#define EXPLAIN_UNTOLD "\xef\xbf\xbd" /* U+FFFD */

/* Control characters, bytes that are not ASCII or UTF-8, and what does not fit, made harmless: it is seen that the text
 * is not what was named. */
void explain_neutralise(char *out, size_t size, const char *text);

#endif
