/* service/setting: one setting as the table has it, and its values between JSON and code.  Private to src/service. */
#ifndef SERVICE_SETTING_H
#define SERVICE_SETTING_H

#include "service/settings.h"

enum setting_kind { KIND_NUMBER, KIND_SIZE, KIND_TIME, KIND_LAYERS, KIND_LEVEL, KIND_ORIGINS, KIND_URL, KIND_SERVERS };

struct setting {
    const char *key;
    enum setting_kind kind;
    uint64_t fallback, min, max;
    bool live; /* else from the next start on */
    size_t offset;
    const char *about;
};

/* settings.c: every setting there is. */
extern const struct setting settings_table[];
extern const size_t nsettings;

/* A number, or the text of a list or of a URL. */
struct setting_value {
    uint64_t n;
    char text[SETTINGS_TEXT_MAX];
};

bool setting_is_text(const struct setting *t);
const char *setting_kind_name(const struct setting *t);
struct setting_value setting_fallback(const struct setting *t);

/* From JSON text; *out is untouched on failure. MOAT_E_BAD_JSON, MOAT_E_BAD_USAGE. */
int setting_parse(const struct setting *t, const char *text, struct setting_value *out, struct error *err);

/* As JSON, into an object or (key NULL) an array. */
void setting_tell(struct buf *out, const char *key, const struct setting *t, const struct setting_value *v);
bool setting_has_bounds(const struct setting *t);
void setting_tell_bounds(struct buf *out, const struct setting *t, const char *least, const char *most);

#endif
