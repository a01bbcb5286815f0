/* cli/page: a page of HTML that needs nothing else and runs nothing: its policy forbids scripts, and what others wrote
 * is put in as text. */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include "base/buf.h"

void page_begin(struct buf *out, const char *title);
void page_end(struct buf *out);
/* As text, between tags or in a quoted attribute: also of SVG. Control characters, and what turns the direction of
 * writing, become '?'. */
void page_text(struct buf *out, const char *text);

#endif
