#include "base/error.h"

#include <stdio.h>
#include <string.h>

#ifdef __clang_analyzer__
#undef error_set
#undef error_errno
#endif

static const struct error_info table[MOAT_E_COUNT] = {
#define X(code, name, http, exit, advice) [MOAT_E_##code] = {name, http, exit, advice},
    MOAT_ERRORS(X)
#undef X
};

const struct error_info *error_info(int code)
{
    if (code < 0)
        code = -code;
    return &table[code < MOAT_E_COUNT ? code : MOAT_E_INTERNAL];
}

/* Messages quote bytes of packages and plugins: nothing of them may steer a terminal.  UTF-8 stays as it is. */
static void neutralise(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
}

__attribute__((format(printf, 4, 0))) static void put(struct error *err, enum moat_code code, int errnum,
                                                      const char *format, va_list args)
{
    if (!err)
        return;
    err->code = code;
    err->detail[0] = '\0';
    vsnprintf(err->message, sizeof err->message, format, args);
    size_t used = strlen(err->message);
    if (errnum)
        snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(errnum));
    neutralise(err->message);
}

int error_set(struct error *err, enum moat_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put(err, code, 0, format, args);
    va_end(args);
    return -(int)code;
}

int error_errno(struct error *err, enum moat_code code, int errnum, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put(err, code, errnum, format, args);
    va_end(args);
    return -(int)code;
}

void error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return;
    char rest[ERROR_MESSAGE_MAX];
    memcpy(rest, err->message, sizeof rest);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", rest);
    neutralise(err->message);
}
