#include "policy/scope.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static bool has_control(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return true;
    return false;
}

/* ---- paths ---- */

/* Appends "/name" for the component at *text and moves past it; false when it does not fit. */
static bool path_step(const char **text, char *out, size_t *used)
{
    size_t n = strcspn(*text, "/");
    const char *name = *text;
    *text += n;
    if (n == 0 || (n == 1 && name[0] == '.'))
        return true;
    if (*used + 1 + n >= POLICY_SCOPE_MAX)
        return false;
    out[(*used)++] = '/';
    memcpy(out + *used, name, n);
    *used += n;
    return true;
}

/* "..", read as text, is not what the kernel makes of it behind a symbolic link: it is refused, not resolved. */
static bool path_goes_up(const char *text)
{
    for (const char *p = text; (p = strstr(p, "..")); p += 2)
        if ((p == text || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

static bool path_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    if (*text != '/') {
        *why = "the scope must be an absolute path";
        return false;
    }
    if (has_control(text) || path_goes_up(text)) {
        *why = "a path must not hold \"..\" or control characters";
        return false;
    }
    char normal[POLICY_SCOPE_MAX];
    size_t used = 0;
    while (*text) {
        text += *text == '/';
        if (!path_step(&text, normal, &used)) {
            *why = "the path is too long";
            return false;
        }
    }
    if (!used)
        normal[used++] = '/';
    normal[used] = '\0';
    memcpy(out, normal, used + 1);
    return true;
}

static bool path_contains(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    if (n == 1)
        return true; /* "/" */
    return strncmp(outer, inner, n) == 0 && (inner[n] == '\0' || inner[n] == '/');
}

bool scope_path_is_closed(const char *path)
{
    static const char *const closed[] = {"/proc", "/sys", "/dev"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        if (path_contains(closed[i], path))
            return true;
    return strcmp(path, "/") == 0;
}

/* ---- host:port ---- */

static bool port_parse(const char *text, unsigned *port)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] || *text == '0')
        return false;
    *port = (unsigned)atoi(text);
    return *port <= 65535;
}

/* A name of letters, digits, '-' and '_' in labels.  Whatever looks like a number must be an IPv4 address written in
 * full: "0x7f.1", "2130706433" and the like reach hosts that nobody meant to grant. */
static bool host_normalise(char *host)
{
    size_t n = strlen(host);
    if (n && host[n - 1] == '.')
        host[--n] = '\0';
    if (n == 0 || n > 253)
        return false;
    size_t label = 0;
    for (size_t i = 0; i < n; i++) {
        if (host[i] >= 'A' && host[i] <= 'Z')
            host[i] = (char)(host[i] + 32);
        char c = host[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (c == '.' ? label == 0 : !plain || label == 63)
            return false;
        label = c == '.' ? 0 : label + 1;
    }
    if (label == 0)
        return false;
    const char *last = host + n - label;
    struct in_addr v4;
    return (*last < '0' || *last > '9') || inet_pton(AF_INET, host, &v4) == 1;
}

static bool address_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    *why = "the scope must be HOST:PORT, [IPv6]:PORT or IPv4:PORT, without wildcards";
    char host[POLICY_SCOPE_MAX];
    const char *colon = strrchr(text, ':');
    unsigned port;
    if (!colon || !port_parse(colon + 1, &port) || (size_t)(colon - text) >= sizeof host)
        return false;
    size_t n = (size_t)(colon - text);
    memcpy(host, text, n);
    host[n] = '\0';
    if (*host != '[')
        return host_normalise(host) && snprintf(out, POLICY_SCOPE_MAX, "%s:%u", host, port) > 0;
    struct in6_addr v6;
    char shown[INET6_ADDRSTRLEN];
    if (host[n - 1] != ']')
        return false;
    host[n - 1] = '\0';
    if (inet_pton(AF_INET6, host + 1, &v6) != 1)
        return false;
    inet_ntop(AF_INET6, &v6, shown, sizeof shown);
    return snprintf(out, POLICY_SCOPE_MAX, "[%s]:%u", shown, port) > 0;
}

static bool same_text(const char *outer, const char *inner)
{
    return strcmp(outer, inner) == 0;
}

/* ---- names ---- */

static bool source_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    *why = "the scope must be the name of a data source";
    return text_is_name(text, 64) && text_copy(out, POLICY_SCOPE_MAX, text);
}

static bool action_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    *why = "the scope must be PLUGIN or PLUGIN.ACTION";
    char plugin[64];
    const char *dot = strchr(text, '.');
    size_t n = dot ? (size_t)(dot - text) : strlen(text);
    if (n >= sizeof plugin)
        return false;
    memcpy(plugin, text, n);
    plugin[n] = '\0';
    return text_is_name(plugin, 30) && (!dot || text_is_name(dot + 1, 32)) && text_copy(out, POLICY_SCOPE_MAX, text);
}

static bool action_contains(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    return strncmp(outer, inner, n) == 0 && (inner[n] == '\0' || inner[n] == '.');
}

static const struct scope_rule rules[PERMISSION_COUNT] = {
    [PERMISSION_FILE_READ] = {true, "PATH", path_normalise, path_contains},
    [PERMISSION_FILE_WRITE] = {true, "PATH", path_normalise, path_contains},
    [PERMISSION_NETWORK_ACCESS] = {false, "HOST:PORT", address_normalise, same_text},
    [PERMISSION_DATABASE_READ] = {false, "NAME", source_normalise, same_text},
    [PERMISSION_DATABASE_WRITE] = {false, "NAME", source_normalise, same_text},
    [PERMISSION_EXECUTE_CODE] = {false, NULL, NULL, same_text},
    [PERMISSION_SYSTEM_ACCESS] = {false, NULL, NULL, same_text},
    [PERMISSION_AGENT_CONTROL] = {false, "PLUGIN.ACTION", action_normalise, action_contains},
};

const struct scope_rule *scope_rule(enum permission p)
{
    return &rules[p];
}
