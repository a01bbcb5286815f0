/* docs/permissions.md, from the tables that decide. */
#include "service/internal.h"

static const char head[] =
    "# Permissions\n\n"
    "This page is made from the tables that decide (`moat help pages/permissions`).\n\n"
    "A manifest asks for permissions, required or optional. Nothing is granted by default. The operator answers with\n"
    "`moat grant` and `moat refuse`; `moat grants NAME` shows what holds and why. A plugin that lacks a required one "
    "is\n"
    "not started, and the answer names the command that decides.\n\n"
    "## The eight, and what a grant of each looks like\n\n"
    "| permission | it may | a grant |\n| --- | --- | --- |\n";

static const char reasons[] =
    "\nWhat is granted is compared in its normal form only. A form that has several spellings is taken in one of them "
    "and\n"
    "refused in the others, so that what is shown is what is compared; what a *plugin* names may be spelt as it likes\n"
    "(`0x7f.1` is `127.0.0.1`) and is decided on as what it stands for. A path is resolved when it is granted and when "
    "a\n"
    "plugin starts; where it leads to decides, not its name.\n\n"
    "## What holds\n\n"
    "One pure function makes the answer from the manifest, the decisions, the ceilings and the time. A grant never "
    "takes\n"
    "a right away; a revocation, a refusal, a ceiling and the passing of time never give one; nothing granted is "
    "nothing.\n"
    "`moat grants` and `moat info` give one of these reasons for each decision and each permission:\n\n"
    "| reason | |\n| --- | --- |\n";

static const char rest[] =
    "\n## Grants that end\n\n"
    "`moat grant NAME G --for TIME` and `moat install FILE --grant G --for TIME` end by themselves, as if the grant "
    "were\n"
    "revoked then: workers that held it are killed, calls that ran with it answer `permission_denied`, the row is "
    "gone\n"
    "and the audit trail has a `grant.end` by `host`. A running server does so within a second, unless an operation "
    "over\n"
    "the same plugin goes on: that ends first; a home that nobody held does it when it is opened next, before "
    "anything\n"
    "runs by it. A grant that holds for longer is not cut short by another one: revoke it first.\n\n"
    "The time by which they end is the home's own and never goes back. Within one boot it goes as the boot's clock "
    "does,\n"
    "suspended time included: setting the wall clock changes nothing. In another boot it is the wall clock's, but "
    "never\n"
    "below the highest time that the home has kept; it keeps it when such a grant is given, once a minute while there "
    "is\n"
    "one, and at its end. A machine that loses its power and its clock can lose the last minute of this.\n\n"
    "## Ceilings\n\n"
    "`moat ceiling set SUBJECT NEVER` says what can never be got: by a publisher's plugins (`publisher:NAME`, whose "
    "key\n"
    "signed the version), by those with a capability (`capability:NAME`), or by `everybody`. NEVER is a permission, "
    "for\n"
    "all of it, or a grant. It holds for what was granted before: such a grant stays and gives nothing, and workers "
    "that\n"
    "held it are dead when the command returns. Removing the ceiling lets it hold again; the answer names those "
    "plugins.\n\n"
    "Places and code are given by the kernel as a whole, so a grant that meets the ceiling anywhere is refused: below "
    "a\n"
    "ceiling on `/etc/shadow`, `/etc` cannot be granted either. Who may never read a place may not write it. Brokered\n"
    "rights are decided object by object: below a ceiling on `169.254.0.0/16:*` a grant of `network_access` reaches\n"
    "everything else. At most 64 ceilings; an export has them. A file that is also reached by another path\n"
    "(a bind mount, a hard link) has to be named by both.\n\n"
    "## Learning what an action needs\n\n"
    "`moat learn NAME ACTION PARAMS` (or FILE, a package) runs the action with nothing granted, reads what it was "
    "denied, and\n"
    "asks for the smallest grants that would serve; with a yes to some of them it runs the action again, ten times at "
    "most.\n"
    "All of it happens in a home that is thrown away, behind the same walls, in development mode: the package need not "
    "be\n"
    "trusted yet, and asks there for all eight permissions, none of them required. Neither decisions nor denials of "
    "your home\n"
    "change, and its ceilings hold. It ends with a fragment of plugin.json, and with the commands that grant it where "
    "the\n"
    "plugin is to run: what the action failed without is required, the rest optional. The exit status is 1 when the "
    "last run\n"
    "failed.\n\n"
    "A file is asked for itself. Its directory is, when an entry of it is to be made, renamed or removed, or when "
    "three or\n"
    "more of its files are asked for, unless it stands in the root or lies over what a ceiling keeps. What is not "
    "there is\n"
    "proposed in no case. Sixteen proposals are told in a round, of more only the number: who asks for that much is "
    "not\n"
    "learned from but read about, with `moat denials`. Nobody's yes is taken for granted: with `--auto DIR` what lies "
    "in DIR\n"
    "(where its links lead decides) is granted unasked, for an action that is tried in a directory to be thrown away. "
    "The\n"
    "action really runs, each time: what it may write it writes. /tmp is a plugin's own, so nothing there is ever "
    "asked for.\n\n"
    "## Data sources\n\n"
    "`moat source add NAME KIND PLACE` gives a data source the name that grants use. KIND is `sqlite` (PLACE is the\n"
    "database; it may be made later) or `postgres` (PLACE is a file with the connection string, which must belong to "
    "the\n"
    "host's user and be readable by nobody else). The string never enters the registry, the audit trail or an "
    "export.\n";

bool service_permissions_page(struct buf *out)
{
    buf_puts(out, head);
    for (int p = 0; p < PERMISSION_COUNT; p++)
        buf_printf(out, "| `%s` | %s | %s |\n", permission_name((enum permission)p),
                   permission_about((enum permission)p), policy_scope_about((enum permission)p));
    buf_puts(out, reasons);
    for (int r = 0; r < POLICY_REASON_COUNT; r++)
        buf_printf(out, "| `%s` | %s |\n", policy_reason_name((enum policy_reason)r),
                   policy_reason_text((enum policy_reason)r));
    return buf_puts(out, rest);
}
