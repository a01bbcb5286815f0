#include "cli/page.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void put_escaped(struct buf *out, const char *text)
{
    static const struct {
        char letter;
        const char *entity;
    } rows[] = {{'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (; *text; text++) {
        size_t i = 0;
        while (i < sizeof rows / sizeof *rows && rows[i].letter != *text)
            i++;
        if (i < sizeof rows / sizeof *rows)
            buf_puts(out, rows[i].entity);
        else
            buf_putc(out, *text);
    }
}

void page_text(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    char *plain = malloc(len + 1); /* never longer */
    if (plain)
        text_plain(plain, len + 1, text, len);
    put_escaped(out, plain ? plain : "?");
    free(plain);
}

void page_begin(struct buf *out, const char *title)
{
    buf_puts(out,
             "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    page_text(out, title);
    buf_puts(out, "</title>\n<style>\n"
                  "body{font:14px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\n"
                  "section{border-top:1px solid #ddd;padding:.5em 0;overflow-x:auto}\n"
                  "h2 small{font-weight:normal;color:#666}\n"
                  "table{border-collapse:collapse;margin:.5em 0;font-size:12px}\n"
                  "td,th{border:1px solid #ddd;padding:.2em .6em;text-align:left}\n"
                  "td{overflow-wrap:anywhere}\n"
                  "th,.short{white-space:nowrap}\n"
                  "svg{width:100%;max-width:730px;font-size:11px}\n"
                  "</style></head><body>\n");
}

void page_end(struct buf *out)
{
    buf_puts(out, "</body></html>\n");
}
