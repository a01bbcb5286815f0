/* docs/permissions.md: src/service/permissions.md.in, and the tables that decide. */
#include "base/fill.h"
#include "service/internal.h"

extern const uint8_t permissions_page[]; /* a 0 ends it */

bool service_permissions_page(struct buf *out)
{
    buf_auto permissions = BUF_INIT(1 << 20), reasons = BUF_INIT(1 << 20);
    for (int p = 0; p < PERMISSION_COUNT; p++)
        buf_printf(&permissions, "| `%s` | %s | %s |\n", permission_name((enum permission)p),
                   permission_about((enum permission)p), policy_scope_about((enum permission)p));
    for (int r = 0; r < POLICY_REASON_COUNT; r++)
        buf_printf(&reasons, "| `%s` | %s |\n", policy_reason_name((enum policy_reason)r),
                   policy_reason_text((enum policy_reason)r));
    const struct fill_mark marks[] = {{"@PERMISSIONS@", buf_text(&permissions)}, {"@REASONS@", buf_text(&reasons)}};
    fill_marks(out, (const char *)permissions_page, marks, sizeof marks / sizeof *marks);
    return !permissions.failed && !reasons.failed && !out->failed;
}
