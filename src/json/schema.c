/* A whole text against a schema: by one pass (run.c), or the fast checker where nothing inside it matters.
 *
 * The first miss ends the pass.  Only then it is asked whether the text is JSON at all, so that the common case pays
 * nothing for the rule that a syntax error further on comes first. */
#include "json/run.h"

#include "json/check.h"
#include "json/walk.h"

/* The budget: what a text of this length may cost beyond its one pass, in bytes looked at again or so.  A check runs on
 * an event loop: whatever text and schema do together, PROGRAM_STEPS_MAX bounds it to some 50 ms. */
#define STEPS_BASE (1 << 20)
#define STEPS_PER_BYTE 32

int64_t json_steps(size_t len)
{
    if (len > (PROGRAM_STEPS_MAX - STEPS_BASE) / STEPS_PER_BYTE)
        return PROGRAM_STEPS_MAX;
    return STEPS_BASE + (int64_t)len * STEPS_PER_BYTE;
}

static void run_init(struct run *r, const uint8_t *text, size_t len)
{
    r->depth = 0;
    r->branches = 0;
    r->seen_used = 0;
    r->steps = json_steps(len);
    unique_init(&r->unique, text, &r->steps);
}

static int not_json(uint8_t *text, size_t len, struct json_fault *fault)
{
    if (!json_explain(text, len, fault))
        return -MOAT_E_BAD_JSON;
    if (fault)
        *fault = (struct json_fault){.code = MOAT_E_INTERNAL, .reason = "the checkers disagree about this text"};
    return -MOAT_E_INTERNAL;
}

static int misfit(const struct run *r, const uint8_t *text, struct json_fault *fault)
{
    struct json_fault unwanted;
    if (!fault)
        fault = &unwanted;
    fault_fill(fault, &r->miss, text);
    return -(int)fault->code;
}

/* Only the outermost kind matters: the fast checker, then the names. */
static int check_shallow(const struct node *root, uint8_t *text, size_t len, bool valid, bool members,
                         struct json_fault *fault)
{
    if (!valid)
        return not_json(text, len, fault);
    struct run r;
    const uint8_t *p = scan_space(text);
    run_init(&r, text, len);
    if (run_outermost(&r, root, p, members))
        return 0;
    return misfit(&r, text, fault);
}

static bool is_shallow(const struct node *root)
{
    return !root->number && !root->string && !root->array && !root->object && !root->more && !root->integer;
}

static int check_run(struct run *r, const struct node *root, uint8_t *text, size_t len, struct json_fault *fault)
{
    text[len] = 0;
    run_init(r, text, len);
    const uint8_t *end = run_text(r, root, scan_space(text));
    if (end && scan_space(end) == text + len)
        return 0;
    if (end || !json_valid(text, len))
        return not_json(text, len, fault);
    return misfit(r, text, fault);
}

static int check_deep(const struct node *root, uint8_t *text, size_t len, struct json_fault *fault)
{
    struct run r;
    return len ? check_run(&r, root, text, len, fault) : not_json(text, len, fault);
}

int json_schema_count(const struct json_schema *schema, uint8_t *text, size_t len, int64_t *steps)
{
    struct run r;
    int rc = check_run(&r, schema->root, text, len, NULL);
    *steps = json_steps(len) - r.steps;
    return rc;
}

static bool too_long(size_t len, struct json_fault *fault)
{
    if (len <= UINT32_MAX)
        return false;
    if (fault)
        *fault = (struct json_fault){.code = MOAT_E_LIMIT, .reason = "a text longer than 4 GiB is not checked"};
    return true;
}

int json_schema_check(const struct json_schema *schema, uint8_t *text, size_t len, struct json_fault *fault)
{
    if (too_long(len, fault))
        return -MOAT_E_LIMIT;
    if (!is_shallow(schema->root))
        return check_deep(schema->root, text, len, fault);
    bool members = false, valid = check_text(text, len, &members);
    return check_shallow(schema->root, text, len, valid, members, fault);
}

int json_schema_copy_check(const struct json_schema *schema, uint8_t *dst, const uint8_t *src, size_t len,
                           struct json_fault *fault)
{
    if (too_long(len, fault))
        return -MOAT_E_LIMIT;
    if (is_shallow(schema->root)) {
        bool members = false, valid = check_copy(dst, src, len, &members);
        return check_shallow(schema->root, dst, len, valid, members, fault);
    }
    check_copy_once(dst, src, len);
    return check_deep(schema->root, dst, len, fault);
}
