#include "base/fill.h"

#include <string.h>

void fill_marks(struct buf *out, const char *text, const struct fill_mark *marks, size_t n)
{
    while (*text) {
        size_t plain = strcspn(text, "@"), i = 0;
        buf_put(out, text, plain);
        text += plain;
        while (i < n && strncmp(text, marks[i].mark, strlen(marks[i].mark)) != 0)
            i++;
        if (i < n) {
            buf_puts(out, marks[i].value);
            text += strlen(marks[i].mark);
        } else if (*text) {
            buf_putc(out, *text++);
        }
    }
}
