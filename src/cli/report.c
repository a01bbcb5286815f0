/* Failures as people and programs read them. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "cli/cli.h"

const char cli_development[] =
    "moat: DEVELOPMENT MODE: signatures are not required here, unsigned packages run; never use it for real\n";

enum moat_code cli_code(const char *name)
{
    for (int i = 0; name && i < MOAT_E_COUNT; i++)
        if (strcmp(error_info(i)->name, name) == 0)
            return (enum moat_code)i;
    return MOAT_E_INTERNAL;
}

/* Is the advice worth a second half of the line?  Not where it points back at the message, nor where the message says
 * what to do by itself. */
static bool adds(const char *message, const char *advice)
{
    return *advice && !strstr(advice, "message") && !strchr(message, ';') && !strchr(message, '`');
}

/* What the table says of a command in general is said of the one that was typed. */
static const char *advice_of(const struct cli *c, enum moat_code code, char *own, size_t size)
{
    if (code != MOAT_E_BAD_USAGE)
        return error_info(code)->advice;
    bool known = c && c->command;
    snprintf(own, size, "see `moat help%s%s`", known ? " " : "", known ? c->command->name : "");
    return own;
}

static void print_line(const struct cli *c, const char *message, enum moat_code code)
{
    char own[80];
    const char *advice = advice_of(c, code, own, sizeof own);
    fputs("moat: ", stderr);
    show_text(stderr, message);
    if (adds(message, advice)) {
        fputs("; ", stderr);
        show_text(stderr, advice);
    }
    fputc('\n', stderr);
}

static void print_document(const struct error *err)
{
    uint8_t bytes[16] = {0};
    char id[33];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        memset(bytes, 0, sizeof bytes);
    text_hex(id, bytes, sizeof bytes);
    buf_auto out = BUF_INIT(16 * 1024);
    buf_printf(&out, "{\"success\":false,\"error\":{\"code\":\"%s\",\"message\":", error_info(err->code)->name);
    text_json_string(&out, err->message);
    buf_printf(&out, ",\"id\":\"%s\",\"detail\":%s}}\n", id, *err->detail ? err->detail : "{}");
    fputs(buf_text(&out), stderr);
}

int cli_fail(const struct cli *c, const struct error *err)
{
    const struct error_info *info = error_info(err->code);
    if (c && cli_has(c, OPT_JSON))
        print_document(err);
    else
        print_line(c, err->message, err->code);
    return info->exit;
}

int cli_failf(const struct cli *c, enum moat_code code, const char *format, ...)
{
    struct error err = {.code = code};
    va_list args;
    va_start(args, format);
    vsnprintf(err.message, sizeof err.message, format, args);
    va_end(args);
    return cli_fail(c, &err);
}

int cli_fail_document(const struct cli *c, const char *document, size_t len)
{
    json_t *root = json_loadb(document, len, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *name = json_string_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    int status = error_info(cli_code(name))->exit;
    if (!name || !message)
        status = cli_failf(c, MOAT_E_NO_ANSWER, "the server's answer is not one of Moat's");
    else if (cli_has(c, OPT_JSON))
        fprintf(stderr, "%.*s\n", (int)len, document);
    else
        print_line(c, message, cli_code(name));
    json_decref(root);
    return status;
}

int cli_done(const struct cli *c)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    if (errno == EPIPE) /* who reads it has had enough */
        return error_info(MOAT_E_STORAGE_FAILED)->exit;
    return cli_failf(c, MOAT_E_STORAGE_FAILED, "cannot write to standard output");
}
