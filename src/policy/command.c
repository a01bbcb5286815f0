#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "policy/scope.h"

/* Appends text as one word of a POSIX shell; false when it does not fit. */
static bool put_word(struct buf *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";
    if (text[strspn(text, plain)] == '\0')
        return buf_puts(out, text);
    buf_putc(out, '\'');
    for (; *text; text++)
        if (*text == '\'')
            buf_puts(out, "'\\''");
        else
            buf_putc(out, *text);
    return buf_putc(out, '\'');
}

bool grant_command(const char *verb, const char *plugin, const struct grant *g, char out[POLICY_COMMAND_MAX])
{
    char text[POLICY_SCOPE_MAX + 64];
    grant_format(g, text, sizeof text);
    buf_auto command = BUF_INIT(POLICY_COMMAND_MAX - 1);
    buf_printf(&command, "moat %s %s ", verb, plugin);
    if (!put_word(&command, text))
        return false;
    memcpy(out, command.data, command.len);
    out[command.len] = '\0';
    return true;
}

static bool put_command(char out[POLICY_COMMAND_MAX], const char *plugin, const struct grant *g)
{
    return grant_command("grant", plugin, g, out);
}

void grant_advice(const char *verb, const char *plugin, const struct grant *g, char out[POLICY_COMMAND_MAX + 2])
{
    char command[POLICY_COMMAND_MAX];
    if (grant_command(verb, plugin, g, command))
        snprintf(out, POLICY_COMMAND_MAX + 2, "`%s`", command);
    else /* too many letters of it have to be quoted */
        snprintf(out, POLICY_COMMAND_MAX + 2, "`moat help %s`", verb);
}

bool policy_command(const char *plugin, int permission, const char *object, char out[POLICY_COMMAND_MAX])
{
    if (permission < 0 || permission >= PERMISSION_COUNT)
        return false;
    const struct scope_rule *rule = scope_rule((enum permission)permission);
    struct grant form = {.permission = (enum permission)permission}, exact = form;
    if (rule->placeholder)
        snprintf(form.scope, sizeof form.scope, "%s", rule->placeholder);
    /* An object that is no scope (relative, with control characters), that was not told whole or that no command line
     * holds gives the form, not a wrong command. */
    if (!*object || strstr(object, POLICY_UNTOLD) || !rule->object || !rule->object(object, exact.scope))
        return put_command(out, plugin, &form);
    bool is_path = permission == PERMISSION_FILE_READ || permission == PERMISSION_FILE_WRITE ||
                   (permission == PERMISSION_EXECUTE_CODE && exact.scope[0] == '/');
    if (is_path && scope_path_is_closed(exact.scope))
        return false;
    return put_command(out, plugin, &exact) || put_command(out, plugin, &form);
}

bool policy_denial_command(const char *plugin, int permission, const char *operation, const char *object,
                           char out[POLICY_COMMAND_MAX])
{
    struct grant more = {.permission = PERMISSION_FILE_WRITE};
    if (permission != PERMISSION_FILE_WRITE || strcmp(operation, POLICY_WRITE_MORE) != 0 ||
        !text_copy(more.scope, sizeof more.scope, object) || !grant_normalise(&more))
        return policy_command(plugin, permission, object, out);
    return put_command(out, plugin, &more);
}
