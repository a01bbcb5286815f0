/* Answers for other programs, which compare them with their own.
 *
 *   json_check syntax   reads records "LENGTH\n" BYTES; answers 1 or 0 a line
 *   json_check schema   reads pairs of lines, a schema and an instance; answers a line each:
 *                       ok | CODE TAB POINTER TAB REASON | refused TAB MESSAGE
 *                       A schema line that is empty means the one before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "all_checkers.h"
#include "json/json.h"

static uint8_t *padded(const char *bytes, size_t len)
{
    uint8_t *text = calloc(1, len + JSON_PAD);
    if (!text)
        abort();
    if (len)
        memcpy(text, bytes, len);
    return text;
}

static int syntax(void)
{
    size_t len;
    while (scanf("%zu", &len) == 1 && getchar() == '\n') {
        char *bytes = malloc(len + 1);
        if (!bytes || fread(bytes, 1, len, stdin) != len)
            return 2;
        printf("%d\n", all_checkers(bytes, len));
        free(bytes);
    }
    return 0;
}

static void answer(const struct json_schema *schema, const char *line, size_t len)
{
    struct json_fault fault;
    uint8_t *text = padded(line, len), *copy = malloc(len + JSON_PAD);
    int r = json_schema_check(schema, text, len, &fault);
    int again = copy ? json_schema_copy_check(schema, copy, text, len, NULL) : 1;
    if (r != again)
        printf("json_schema_copy_check differs\n");
    else if (!r)
        printf("ok\n");
    else
        printf("%s\t%s\t%s\n", error_info(r)->name, fault.pointer, fault.reason);
    free(text);
    free(copy);
}

/* Without its newline; -1 at the end. */
static ssize_t next_line(char **line, size_t *size)
{
    ssize_t n = getline(line, size, stdin);
    return n > 0 && (*line)[n - 1] == '\n' ? n - 1 : n;
}

static int schema(void)
{
    char *line = NULL;
    size_t size = 0;
    struct json_schema *schema = NULL;
    struct error err = {0};
    for (ssize_t n; (n = next_line(&line, &size)) >= 0;) {
        if (n) {
            json_schema_free(schema);
            schema = NULL;
            uint8_t *text = padded(line, (size_t)n);
            json_schema_compile(text, (size_t)n, &schema, &err);
            free(text);
        }
        if ((n = next_line(&line, &size)) < 0)
            break;
        if (schema)
            answer(schema, line, (size_t)n);
        else
            printf("refused\t%s\n", err.message);
    }
    json_schema_free(schema);
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "syntax"))
        return syntax();
    if (argc == 2 && !strcmp(argv[1], "schema"))
        return schema();
    fprintf(stderr, "usage: json_check syntax|schema\n");
    return 2;
}
