/* write: a result's JSON, in memory that stays.  Commas come by themselves.  What does not fit is noticed at the end.
 */
#ifndef AGENT_SKILL_WRITE_H
#define AGENT_SKILL_WRITE_H

#include <moat/plugin.h>

#include "analysis.h"

void write_begin(void);
bool write_end(const struct moat_host *host, struct moat_call *call); /* answers */

void write_open(const char *name, char bracket); /* name NULL: an item of an array */
void write_close(char bracket);
void write_text(const char *name, const char *value); /* NULL is null */
void write_bytes(const char *name, const char *value, size_t len);
void write_number(const char *name, double value, int digits); /* at most so many digits behind the point */
void write_bool(const char *name, bool value);
/* JSON as it is. */
void write_raw(const char *name, const char *json, size_t len);

/* "text", "offset" and "length", in characters of the text. */
void write_span(struct span s);
/* The text of a span without what surrounds it: at most `most` bytes, ended between two characters. */
size_t span_text(struct span s, size_t most, const char **at);

#endif
