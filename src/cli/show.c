/* Aligned tables and fields for people. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"

#define CELL_MAX 4096

/* What may not reach a terminal from a plugin, a package or a publisher: see text_plain. */
void show_text(FILE *out, const char *text)
{
    if (!text)
        text = "-"; /* a member that is not there */
    size_t len = strlen(text);
    char *plain = malloc(len + 1); /* never longer */
    if (plain)
        text_plain(plain, len + 1, text, len);
    fputs(plain ? plain : "?", out);
    free(plain);
}

static const json_t *look_up(const json_t *object, const char *path)
{
    char part[64];
    while (object && *path) {
        size_t len = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)len, path);
        object =
            json_is_array(object) ? json_array_get(object, strtoul(part, NULL, 10)) : json_object_get(object, part);
        path += len + (path[len] == '.');
    }
    return object;
}

static void put_value(struct buf *out, const json_t *value)
{
    size_t i;
    const char *key;
    json_t *one, *all;
    switch (json_typeof(value)) {
    case JSON_STRING:
        buf_puts(out, json_string_value(value));
        break;
    case JSON_INTEGER:
        buf_printf(out, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        buf_printf(out, "%g", json_real_value(value));
        break;
    case JSON_TRUE:
        buf_puts(out, "yes");
        break;
    case JSON_FALSE:
        buf_puts(out, "no");
        break;
    case JSON_NULL:
        break;
    case JSON_ARRAY:
        json_array_foreach(value, i, one)
        {
            buf_puts(out, i ? ", " : "");
            put_value(out, one);
        }
        break;
    case JSON_OBJECT:
        /* jansson's iteration takes no const; nothing is changed by it. */
        all = json_copy((json_t *)(uintptr_t)value);
        i = 0;
        json_object_foreach(all, key, one)
        {
            buf_printf(out, "%s%s=", i++ ? " " : "", key);
            put_value(out, one);
        }
        json_decref(all);
        break;
    }
}

char *show_value(const json_t *object, const char *path)
{
    buf_auto out = BUF_INIT(CELL_MAX);
    const json_t *value = look_up(object, path);
    if (value)
        put_value(&out, value);
    return strdup(out.len ? buf_text(&out) : "-");
}

/* Columns on a terminal, near enough: one for each UTF-8 character. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; text && *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void pad(size_t n)
{
    while (n--)
        fputc(' ', stdout);
}

static void show_row(char **cells, const struct column *columns, const size_t *widths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t space = widths[i] - width_of(cells[i]);
        if (columns[i].right)
            pad(space);
        show_text(stdout, cells[i]);
        if (!columns[i].right && i + 1 < n)
            pad(space);
        fputs(i + 1 < n ? "  " : "\n", stdout);
    }
}

#define COLUMNS_MAX 12

void show_table(const json_t *rows, const struct column *columns, size_t n, const char *none)
{
    size_t count = json_array_size(rows), widths[COLUMNS_MAX] = {0};
    char **cells = calloc((count + 1) * n, sizeof *cells);
    if (!count || !cells || n > COLUMNS_MAX) {
        puts(none);
        free(cells);
        return;
    }
    bool whole = true;
    for (size_t i = 0; i < (count + 1) * n; i++) {
        const struct column *column = &columns[i % n];
        cells[i] = i < n ? strdup(column->title) : show_value(json_array_get(rows, i / n - 1), column->path);
        whole = whole && cells[i];
        size_t width = cells[i] ? width_of(cells[i]) : 0;
        widths[i % n] = width > widths[i % n] ? width : widths[i % n];
    }
    for (size_t row = 0; whole && row <= count; row++)
        show_row(cells + row * n, columns, widths, n);
    for (size_t i = 0; i < (count + 1) * n; i++)
        free(cells[i]);
    free(cells);
}

void show_fields(const json_t *object, const struct column *fields, size_t n)
{
    size_t widest = 0;
    for (size_t i = 0; i < n; i++)
        widest = strlen(fields[i].title) > widest ? strlen(fields[i].title) : widest;
    for (size_t i = 0; i < n; i++) {
        char *value = show_value(object, fields[i].path);
        if (value && strcmp(value, "-") != 0) {
            printf("%s:%*s ", fields[i].title, (int)(widest - strlen(fields[i].title)), "");
            show_text(stdout, value);
            fputc('\n', stdout);
        }
        free(value);
    }
}

void show_bytes(uint64_t n, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    double value = (double)n;
    while (value >= 1024 && unit < 3) {
        value /= 1024;
        unit++;
    }
    snprintf(out, 32, unit && value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

const json_t *show_list(const json_t *result, const char *key)
{
    return json_is_array(result) ? result : json_object_get(result, key);
}
