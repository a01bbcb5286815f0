#include "all_checkers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "place.h"
#include "json/check.h"
#include "json/json.h"

#define MOST (1u << 20)

static struct place text_place, copy_place;
static bool placed;

static void prepare(void)
{
    if (placed)
        return;
    place_init(&text_place, MOST);
    place_init(&copy_place, MOST);
    placed = true;
}

void all_checkers_clear(void)
{
    if (!placed)
        return;
    place_clear(&text_place);
    place_clear(&copy_place);
    placed = false;
}

static int differ(const char *who, bool said, const void *text, size_t len)
{
    fprintf(stderr, "# %s says %s, the scalar checker the opposite, about %zu bytes:\n# ", who,
            said ? "valid" : "not valid", len);
    fwrite(text, 1, len, stderr);
    fputc('\n', stderr);
    return -1;
}

/* The padding that could complete the text if a checker looked at it. */
static uint8_t tempting_pad(const uint8_t *text, size_t len)
{
    static const char pads[] = "\"]}e01 \n";
    return (uint8_t)pads[len ? (text[len - 1] + len) % (sizeof pads - 1) : 0];
}

static bool copied(const void *text, size_t len, uint8_t pad, bool wide)
{
    const uint8_t *src = place_text(&text_place, text, len, 0);
    uint8_t *dst = place_room(&copy_place, len, pad);
    bool members = false;
    bool valid = wide ? check_wide(dst, src, len, &members) : json_copy_valid(dst, src, len);
    if (valid && (memcmp(dst, src, len) != 0 || dst[len] != 0)) {
        fprintf(stderr, "# the copy is not the text\n");
        abort();
    }
    return valid;
}

int all_checkers(const void *text, size_t len)
{
    prepare();
    uint8_t pad = tempting_pad(text, len);
    bool members = false, wide_members = false;
    bool valid = len && check_scalar(place_text(&text_place, text, len, pad), len, &members), said;
    if ((said = json_valid(place_text(&text_place, text, len, pad), len)) != valid)
        return differ("json_valid", said, text, len);
    if ((said = json_explain(place_text(&text_place, text, len, pad), len, NULL)) != valid)
        return differ("json_explain", said, text, len);
    if ((said = copied(text, len, pad, false)) != valid)
        return differ("json_copy_valid", said, text, len);
    if (!check_wide_usable() || !len)
        return valid;
    said = check_wide(place_text(&text_place, text, len, pad), NULL, len, &wide_members);
    if (said != valid)
        return differ("check_wide", said, text, len);
    if (valid && members != wide_members)
        return differ("check_wide (members)", wide_members, text, len);
    if ((said = copied(text, len, pad, true)) != valid)
        return differ("check_wide (copying)", said, text, len);
    return valid;
}

int all_checkers_shifted(const char *text, size_t len)
{
    int first = all_checkers(text, len);
    char *longer = malloc(len + 256);
    if (!longer)
        abort();
    for (size_t before = 1; before <= 70 && first >= 0; before++) {
        memset(longer, ' ', before);
        memcpy(longer + before, text, len);
        memset(longer + before + len, '\n', before & 3);
        if (all_checkers(longer, before + len + (before & 3)) != first) {
            fprintf(stderr, "# %zu spaces in front change the answer about %.*s\n", before, (int)len, text);
            first = -1;
        }
    }
    free(longer);
    return first;
}
