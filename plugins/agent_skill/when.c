#include "when.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- days ---- */

/* Days since 1970-01-01 of a day of the Gregorian calendar; years begin in March, so that leap days come last. */
static int32_t days_from(int y, int m, int d)
{
    y -= m <= 2;
    int era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int32_t day, int *y, int *m, int *d)
{
    int32_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
    int32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int32_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    *d = of_year - (153 * month + 2) / 5 + 1;
    *m = month < 10 ? month + 3 : month - 9;
    *y = year + era * 400 + (*m <= 2);
}

/* The day if there is such a day. */
static int32_t checked(int y, int m, int d)
{
    if (y < 1600 || y > 9999 || m < 1 || m > 12 || d < 1 || d > 31)
        return NO_DAY;
    int y2, m2, d2;
    int32_t day = days_from(y, m, d);
    date_of(day, &y2, &m2, &d2);
    return m2 == m && d2 == d ? day : NO_DAY;
}

int32_t day_of(const char *iso)
{
    int y, m, d, used = 0;
    if (strlen(iso) != 10 || sscanf(iso, "%4d-%2d-%2d%n", &y, &m, &d, &used) != 3 || used != 10)
        return NO_DAY;
    return checked(y, m, d);
}

void day_write(int32_t day, char out[DAY_ROOM])
{
    int y, m, d;
    date_of(day, &y, &m, &d);
    snprintf(out, DAY_ROOM, "%04d-%02d-%02d", y, m, d);
}

/* 0 is Monday; 1970-01-01 was a Thursday. */
static int weekday_of(int32_t day)
{
    return (int)(((day + 3) % 7 + 7) % 7);
}

/* ---- expressions ---- */

/* 2026-11-30, 30.11.2026, 2026/11/30; one with slashes and the year last may mean two days: no day. */
static int32_t numeric_date(uint32_t i)
{
    char word[WORD_ROOM];
    int a, b, c;
    text_word(i, word);
    if (strchr(word, '-'))
        return day_of(word);
    if (sscanf(word, "%4d/%2d/%2d", &a, &b, &c) == 3 && a > 31)
        return checked(a, b, c);
    if (sscanf(word, "%2d.%2d.%4d", &a, &b, &c) == 3)
        return checked(c, b, a);
    if (sscanf(word, "%2d/%2d/%4d", &a, &b, &c) == 3 && (a > 12 || b > 12 || a == b))
        return a > 12 ? checked(c, b, a) : checked(c, a, b);
    return NO_DAY;
}

/* 3, 3rd, 21st; 0 when it is no day of a month. */
static int month_day(uint32_t i)
{
    char word[WORD_ROOM], *end;
    long n = strtol(text_word(i, word), &end, 10);
    bool plain = *end == 0,
         ordinal = strcmp(end, "st") == 0 || strcmp(end, "nd") == 0 || strcmp(end, "rd") == 0 || strcmp(end, "th") == 0;
    return i < text.n && word[0] >= '0' && word[0] <= '9' && (plain || ordinal) && n >= 1 && n <= 31 ? (int)n : 0;
}

static int year_at(uint32_t i)
{
    double n;
    return text_number(i, &n) && text.tokens[i].len == 4 && n >= 1900 && n <= 2999 ? (int)n : 0;
}

static const struct lex *when_lex(uint32_t i, enum when value, uint32_t *n)
{
    const struct lex *l = lexicon_base(i, LEX_WHEN, n);
    return l && l->value == value ? l : NULL;
}

/* Without a year: the next such day. */
static int32_t next_such_day(int month, int day, int year, int32_t today)
{
    int y, m, d;
    if (year || today == NO_DAY)
        return year ? checked(year, month, day) : NO_DAY;
    date_of(today, &y, &m, &d);
    int32_t this_year = checked(y, month, day);
    return this_year != NO_DAY && this_year >= today ? this_year : checked(y + 1, month, day);
}

/* March 3, 3 March, March 3rd 2027, the 3rd of March */
static uint32_t month_expression(uint32_t i, int32_t today, int32_t *out)
{
    uint32_t n, at = i + text_is(i, "the"), from = at;
    int day = month_day(at);
    if (day)
        at += 1 + text_is(at + 1, "of");
    const struct lex *month = when_lex(at, WHEN_MONTH, &n);
    if (!month || (!day && !text_capital(at)))
        return 0;
    at += 1;
    if (!day && (day = month_day(at)))
        at++;
    uint32_t comma = text_is(at, ",");
    int year = year_at(at + comma);
    if (year)
        at += comma + 1;
    if (!day && !year) /* "march on", "may": a month alone is too little */
        return text_is(from, "may") || text_is(from, "march") ? 0 : at - i;
    if (day)
        *out = next_such_day(month->weight, day, year, today);
    return at - i;
}

static int32_t end_of(unsigned what, int32_t today)
{
    int y, m, d;
    if (today == NO_DAY)
        return NO_DAY;
    date_of(today, &y, &m, &d);
    if (what == 0)
        return today;
    if (what == 2)
        return days_from(m == 12 ? y + 1 : y, m == 12 ? 1 : m + 1, 1) - 1;
    return what == 4 ? days_from(y, 12, 31) : NO_DAY;
}

static uint32_t day_expression(uint32_t i, int32_t today, int32_t *out)
{
    uint32_t n, skip = text_is(i, "next") || text_is(i, "this") || text_is(i, "coming");
    const struct lex *l;
    if (i < text.n && text.tokens[i].kind == TOKEN_DATE) {
        *out = numeric_date(i);
        return 1;
    }
    if ((l = when_lex(i + skip, WHEN_WEEKDAY, &n))) {
        /* "next Friday" may be this week's or the one after: only the plain name is taken for the next such day. */
        if (today != NO_DAY && !text_is(i, "next"))
            *out = today + (l->weight - weekday_of(today) + 7) % 7;
        return skip + n;
    }
    if ((l = when_lex(i, WHEN_DAY, &n))) {
        *out = today == NO_DAY ? NO_DAY : today + l->weight;
        return n;
    }
    uint32_t the = text_is(i, "the");
    if ((l = when_lex(i + the, WHEN_END_OF, &n))) {
        *out = end_of(l->weight, today);
        return the + n;
    }
    return month_expression(i, today, out);
}

static uint32_t clock_expression(uint32_t i)
{
    static const char *const halves[] = {"am", "pm", "a.m", "p.m", "utc", "o'clock", NULL};
    if (i < text.n && text.tokens[i].kind == TOKEN_TIME)
        return 1 + text_is_one_of(i + 1, halves);
    double n;
    return text_number(i, &n) && text_is_one_of(i + 1, halves) ? 2 : 0;
}

uint32_t when_expression(uint32_t i, int32_t today, int32_t *day)
{
    *day = NO_DAY;
    uint32_t n = day_expression(i, today, day), clock;
    if (n) {
        uint32_t at = text_is(i + n, "at") || text_is(i + n, ",");
        return (clock = clock_expression(i + n + at)) ? n + at + clock : n;
    }
    if (!(clock = clock_expression(i)))
        return 0;
    uint32_t on = text_is(i + clock, "on") || text_is(i + clock, ",");
    n = day_expression(i + clock + on, today, day);
    return n ? clock + on + n : clock;
}

/* ---- timings ---- */

static int small_number(uint32_t i)
{
    static const char *const words[] = {"a",   "one",   "two",   "three", "four", "five",
                                        "six", "seven", "eight", "nine",  "ten",  NULL};
    double n;
    if (text_number(i, &n) && n >= 0 && n < 10000)
        return (int)n;
    for (int k = 0; words[k]; k++)
        if (text_is(i, words[k]))
            return k ? k : 1;
    return -1;
}

/* in 3 days, within two weeks; shorter than an hour it is a limit of something else. */
static uint32_t span_from_now(uint32_t i, int32_t today, struct finding *out)
{
    static const struct {
        const char *unit;
        int days;
    } units[] = {{"hour", 0},          {"day", 1},          {"week", 7},    {"month", -1},
                 {"business day", -1}, {"working day", -1}, {"quarter", -1}};
    uint32_t n, the = text_is(i + 1, "the") + text_is(i + 2, "next");
    if (!text_is(i, "in") && !text_is(i, "within"))
        return 0;
    int count = small_number(i + 1 + the);
    const struct lex *l = count >= 0 ? lexicon_find(i + 2 + the, LEX_UNIT, &n) : NULL;
    for (size_t k = 0; l && k < sizeof units / sizeof *units; k++)
        if (strcmp(units[k].unit, l->phrase) == 0) {
            bool known = today != NO_DAY && units[k].days > 0;
            *out = (struct finding){.type = TIMING_DEADLINE, .day = known ? today + count * units[k].days : NO_DAY};
            return 2 + the + n;
        }
    return 0;
}

static uint32_t due(uint32_t i, int32_t today, struct finding *out)
{
    static const char *const links[] = {"is", "on", "by", ":", "the", "of", "date", NULL};
    uint32_t n;
    if (!when_lex(i, WHEN_BY, &n))
        return 0;
    while (n < 6 && text_is_one_of(i + n, links) &&
           !(text_is(i + n, "the") && when_expression(i + n, today, &out->day)))
        n++;
    uint32_t used = when_expression(i + n, today, &out->day);
    out->type = TIMING_DEADLINE;
    return used ? n + used : 0;
}

uint32_t when_at(uint32_t i, int32_t today, struct finding *out)
{
    uint32_t n;
    *out = (struct finding){.day = NO_DAY};
    const struct lex *l = lexicon_base(i, LEX_WHEN, &n);
    if (l && (l->value == WHEN_URGENT || l->value == WHEN_RECURRING)) {
        out->type = l->value == WHEN_URGENT ? TIMING_URGENCY : TIMING_RECURRING;
        if (out->type == TIMING_RECURRING) {
            uint32_t at = n + text_is(i + n, "at"), clock = clock_expression(i + at);
            n = clock ? at + clock : n;
        }
        return n;
    }
    if ((n = due(i, today, out)) || (n = span_from_now(i, today, out)))
        return n;
    bool on = text_is(i, "on") || text_is(i, "at");
    n = when_expression(i + on, today, &out->day);
    uint32_t unused;
    bool end = !on && (when_lex(i, WHEN_DAY, &unused) || when_lex(i + text_is(i, "the"), WHEN_END_OF, &unused));
    out->type = end ? TIMING_DEADLINE : TIMING_SCHEDULED;
    return n && (on || end) ? n + on : 0;
}
