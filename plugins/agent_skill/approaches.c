/* Ways to go about a task: a table of them, what speaks for each, and the order that follows. */
#include <string.h>

#include "report.h"

enum feature {
    F_ALWAYS,
    F_MANY_OPEN, /* three points or more are left open */
    F_NO_GOAL,   /* nothing asks for anything, or the kind is unknown */
    F_DESTRUCTIVE,
    F_PRODUCTION,
    F_SECRETS,
    F_PERSONAL,
    F_MONEY,
    F_OUTREACH,
    F_LEGAL,
    F_AVAILABILITY,
    F_RECURRING,
    F_URGENT,
    F_DATED,
    F_MANY_STEPS, /* five requirements or more */
    F_BULK,       /* a thousand of something or more */
    F_SYSTEMS,    /* two products or systems, or more */
    F_CHECKABLE,  /* conditions are given */
    F_KIND,       /* + enum kind: the task asks for such work */
    FEATURES = F_KIND + KINDS
};

static const char *const because[FEATURES] = {
    [F_ALWAYS] = "it fits any task",
    [F_MANY_OPEN] = "the text leaves three points or more open",
    [F_NO_GOAL] = "the text does not tell what is to be done",
    [F_DESTRUCTIVE] = "something is deleted or overwritten",
    [F_PRODUCTION] = "it touches a system that people rely on",
    [F_SECRETS] = "it handles secrets",
    [F_PERSONAL] = "it handles data about people",
    [F_MONEY] = "it moves money or decides about it",
    [F_OUTREACH] = "others will read what comes out",
    [F_LEGAL] = "rules of law or contract are involved",
    [F_AVAILABILITY] = "a system may be away meanwhile",
    [F_RECURRING] = "it is to be done again and again",
    [F_URGENT] = "it is said to be urgent",
    [F_DATED] = "a time is given by which it must be done",
    [F_MANY_STEPS] = "it asks for five things or more",
    [F_BULK] = "there are a thousand of something, or more",
    [F_SYSTEMS] = "two systems or more have to work together",
    [F_CHECKABLE] = "it says conditions that can be checked",
    [F_KIND + KIND_DATA] = "it works on data",
    [F_KIND + KIND_CODE] = "it changes code",
    [F_KIND + KIND_WRITING] = "a text is wanted",
    [F_KIND + KIND_RESEARCH] = "something is to be found out",
    [F_KIND + KIND_OPERATIONS] = "it changes a running system",
    [F_KIND + KIND_INTEGRATION] = "it moves things between systems",
    [F_KIND + KIND_COMMUNICATION] = "somebody is to be told",
    [F_KIND + KIND_VISUALIZATION] = "a picture of data is wanted",
    [F_KIND + KIND_MONITORING] = "something is to be watched",
    [F_KIND + KIND_SECURITY] = "it is about protection",
    [F_KIND + KIND_MODEL] = "a model judges or makes something",
    [F_KIND + KIND_PLANNING] = "a plan is wanted",
};

static const struct approach {
    const char *name, *title;
    const char *steps[5];
    struct {
        uint8_t feature, weight;
    } speaks[8]; /* the first is needed */
} approaches[] = {
    {"ask_first",
     "Ask before beginning",
     {"Put the open questions to whoever gave the task", "Write the answers into the task", "Analyze it again"},
     {{F_MANY_OPEN, 6}, {F_NO_GOAL, 4}, {F_DESTRUCTIVE, 2}, {F_MONEY, 2}, {F_PRODUCTION, 1}, {F_LEGAL, 1}}},
    {"ask_for_goal",
     "Find out what is wanted",
     {"Ask what should be there when it is done", "Ask for an example of a good result"},
     {{F_NO_GOAL, 8}}},
    {"dry_run",
     "Show first what would happen, then do it",
     {"List what would be changed or removed, and change nothing", "Have the list confirmed",
      "Make a copy to go back to", "Do it, and compare with the list"},
     {{F_DESTRUCTIVE, 7}, {F_PRODUCTION, 3}, {F_BULK, 2}, {F_PERSONAL, 1}, {F_MONEY, 2}}},
    {"staged_rollout",
     "Change a part, look, then the rest",
     {"Try it where nobody is hurt", "Write down how to go back", "Change a small part and watch it",
      "Change the rest"},
     {{F_PRODUCTION, 6}, {F_AVAILABILITY, 3}, {F_KIND + KIND_OPERATIONS, 2}, {F_BULK, 1}}},
    {"maintenance_window",
     "Do it in an announced window",
     {"Agree on a time", "Tell those who are affected", "Make a copy and test it",
      "Do it, check, tell that it is over"},
     {{F_AVAILABILITY, 4}, {F_PRODUCTION, 3}, {F_KIND + KIND_OPERATIONS, 2}}},
    {"human_approval",
     "Prepare it, let a person release it",
     {"Prepare everything up to the last step", "Show it to a person who answers for it", "Release it after a yes"},
     {{F_OUTREACH, 5}, {F_MONEY, 5}, {F_LEGAL, 4}, {F_PERSONAL, 2}}},
    {"approve_payments",
     "Two people for what costs money",
     {"Prepare the payment with its reason", "Have it confirmed by a second person",
      "Carry it out once, with a key that keeps "
      "it from happening twice"},
     {{F_MONEY, 6}}},
    {"least_data",
     "Work with as little of the data as will do",
     {"Leave out or mask what names people or opens doors", "Work on the rest", "Delete working copies at the end"},
     {{F_PERSONAL, 6}, {F_SECRETS, 3}, {F_KIND + KIND_DATA, 1}}},
    {"secrets_apart",
     "Keep secrets out of the work",
     {"Refer to secrets by name, never by value", "Give them only to the step that needs them",
      "Rotate what may have leaked"},
     {{F_SECRETS, 7}, {F_KIND + KIND_SECURITY, 2}}},
    {"legal_review",
     "Have it read by somebody who knows the rules",
     {"Collect the passages that matter", "Name what is unclear", "Have it decided by somebody entitled to"},
     {{F_LEGAL, 5}}},
    {"automate",
     "Build it once, let it run by itself",
     {"Do it once by hand and check the result", "Make it repeatable, safe to run twice", "Schedule it",
      "Tell somebody when it fails"},
     {{F_RECURRING, 7}, {F_KIND + KIND_MONITORING, 1}, {F_SYSTEMS, 1}}},
    {"sample_first",
     "A sample first, then all of it",
     {"Take a small sample and look at it", "Work out the steps on the sample", "Check the result by hand",
      "Run all, and compare counts before and after"},
     {{F_KIND + KIND_DATA, 4}, {F_BULK, 3}, {F_CHECKABLE, 1}}},
    {"pipeline",
     "Small steps, each with a checked result",
     {"Read and check the input", "One step for each operation", "Check the output: counts, sums, missing values"},
     {{F_KIND + KIND_DATA, 4}, {F_MANY_STEPS, 2}, {F_RECURRING, 1}}},
    {"batches",
     "In batches that can be resumed",
     {"Cut the work into batches", "Note which are done", "Repeat those that failed"},
     {{F_BULK, 5}, {F_SYSTEMS, 1}}},
    {"test_first",
     "A failing test first",
     {"Write a test that shows what is wrong or missing", "Change the code until it passes", "Run all tests",
      "Review the change"},
     {{F_KIND + KIND_CODE, 6}, {F_CHECKABLE, 2}, {F_PRODUCTION, 1}}},
    {"prototype",
     "A small version first",
     {"Build the smallest version that shows the idea", "Show it", "Build the rest after what was learned"},
     {{F_KIND + KIND_CODE, 3}, {F_MANY_OPEN, 3}, {F_MANY_STEPS, 2}}},
    {"outline_draft_revise",
     "Outline, draft, revise",
     {"Say for whom it is and what it must tell", "Make an outline", "Draft it", "Check facts, cut, and correct it"},
     {{F_KIND + KIND_WRITING, 6}, {F_OUTREACH, 1}, {F_CHECKABLE, 1}}},
    {"several_sources",
     "Several sources, compared",
     {"Say what question is to be answered", "Collect sources that do not depend on each other",
      "Compare them, and note where they differ", "Answer, with sources and with what stays unknown"},
     {{F_KIND + KIND_RESEARCH, 6}, {F_CHECKABLE, 1}, {F_LEGAL, 1}}},
    {"compare_by_criteria",
     "A table of options and criteria",
     {"Fix the criteria before looking", "Fill in each option", "Weigh, and say what would change the order"},
     {{F_KIND + KIND_RESEARCH, 4}, {F_MONEY, 2}, {F_CHECKABLE, 2}}},
    {"contract_first",
     "Fix what goes between the systems first",
     {"Write down fields, errors and limits of both sides", "Try each side alone", "Connect them, safe to repeat",
      "Watch the first days"},
     {{F_KIND + KIND_INTEGRATION, 5}, {F_SYSTEMS, 3}, {F_RECURRING, 1}}},
    {"message_then_send",
     "Draft, check the recipients, send",
     {"Draft the message", "Check who gets it", "Send it to one, then to all"},
     {{F_KIND + KIND_COMMUNICATION, 5}, {F_OUTREACH, 2}, {F_DATED, 1}}},
    {"question_then_picture",
     "First the question, then the picture",
     {"Say what the picture must answer", "Prepare the data", "Choose the plainest form that shows it",
      "Label axes and units"},
     {{F_KIND + KIND_VISUALIZATION, 6}, {F_KIND + KIND_DATA, 1}}},
    {"baseline_then_alert",
     "Measure what is normal, then alert",
     {"Measure for a while", "Set limits from what was seen", "Alert with what to do about it", "Look at false alarms"},
     {{F_KIND + KIND_MONITORING, 6}, {F_RECURRING, 1}, {F_PRODUCTION, 1}}},
    {"inventory_then_fix",
     "List, rank by harm, fix the worst first",
     {"List what is exposed", "Rank by harm and likelihood", "Fix from the top", "Check again"},
     {{F_KIND + KIND_SECURITY, 6}, {F_PRODUCTION, 1}, {F_SECRETS, 1}}},
    {"judge_the_model",
     "Examples with known answers first",
     {"Collect examples with known answers", "Try the plainest method", "Measure on examples it has not seen",
      "Use it, with doubtful "
      "cases to a person"},
     {{F_KIND + KIND_MODEL, 6}, {F_BULK, 1}, {F_CHECKABLE, 1}}},
    {"backwards_plan",
     "Plan backwards from the date",
     {"Write down what must be there at the end", "Go back step by step", "Leave room for what goes wrong",
      "Agree on who does what"},
     {{F_KIND + KIND_PLANNING, 5}, {F_DATED, 3}, {F_MANY_STEPS, 2}}},
    {"smallest_useful",
     "The smallest useful part now, the rest later",
     {"Agree on what is needed first", "Do that part", "List what is left"},
     {{F_URGENT, 5}, {F_MANY_STEPS, 2}, {F_DATED, 1}}},
    {"milestones",
     "In parts, each shown when it is done",
     {"Cut it into parts that are useful alone", "Order them by need", "Show each"},
     {{F_MANY_STEPS, 5}, {F_DATED, 1}, {F_MANY_OPEN, 1}}},
    {"straight",
     "Do it in order, and check",
     {"Do the steps in their order", "Check the result against the text"},
     {{F_ALWAYS, 2}, {F_CHECKABLE, 1}}},
};
#define APPROACHES (sizeof approaches / sizeof *approaches)

static void features(bool out[FEATURES])
{
    memset(out, 0, FEATURES * sizeof *out);
    out[F_ALWAYS] = true;
    out[F_MANY_OPEN] = analysis.ambiguities.all >= 3;
    out[F_NO_GOAL] = analysis.requirements.all == 0 || analysis.kind == KIND_UNKNOWN;
    static const uint8_t risks[RISKS] = {F_DESTRUCTIVE, F_PRODUCTION, F_SECRETS,      F_PERSONAL, F_MONEY,
                                         F_OUTREACH,    F_LEGAL,      F_AVAILABILITY, F_SECRETS,  F_LEGAL};
    for (unsigned r = 0; r < RISKS; r++)
        out[risks[r]] = out[risks[r]] || analysis.severity[r] > 1 || (analysis.severity[r] && r == RISK_OUTREACH);
    for (uint32_t i = 0; i < analysis.timings.n; i++) {
        static const uint8_t timings[TIMINGS] = {F_DATED, F_DATED, F_RECURRING, F_URGENT};
        out[timings[analysis.timings.at[i].type]] = true;
    }
    out[F_MANY_STEPS] = analysis.requirements.all >= 5;
    out[F_BULK] = analysis.largest_quantity >= 1000;
    out[F_SYSTEMS] = analysis.technologies >= 2;
    out[F_CHECKABLE] = analysis.constraint_count > 0;
    for (uint32_t i = 0; i < analysis.requirements.n; i++)
        if (analysis.requirements.at[i].type < KINDS)
            out[F_KIND + analysis.requirements.at[i].type] = true;
}

static unsigned score(const struct approach *a, const bool has[FEATURES])
{
    unsigned sum = 0;
    if (!has[a->speaks[0].feature])
        return 0;
    for (size_t i = 0; i < sizeof a->speaks / sizeof *a->speaks; i++)
        sum += has[a->speaks[i].feature] ? a->speaks[i].weight : 0;
    /* Of two kinds of work the one that the text is mostly about comes first. */
    return sum + (a->speaks[0].feature == F_KIND + (unsigned)analysis.kind);
}

static void show(const struct approach *a, unsigned points, const bool has[FEATURES])
{
    write_open(NULL, '{');
    write_text("approach", a->name);
    write_text("title", a->title);
    write_number("score", points, 0);
    write_open("because", '[');
    for (size_t i = 0; i < sizeof a->speaks / sizeof *a->speaks; i++)
        if (a->speaks[i].weight && has[a->speaks[i].feature])
            write_text(NULL, because[a->speaks[i].feature]);
    write_close(']');
    write_open("steps", '[');
    for (size_t i = 0; i < sizeof a->steps / sizeof *a->steps && a->steps[i]; i++)
        write_text(NULL, a->steps[i]);
    write_close(']');
    write_close('}');
}

void report_approaches(void)
{
    bool has[FEATURES], shown[APPROACHES] = {false};
    features(has);
    write_open(NULL, '{');
    write_open("approaches", '[');
    for (unsigned rank = 0; rank < 5; rank++) {
        size_t best = APPROACHES;
        for (size_t i = 0; i < APPROACHES; i++)
            if (!shown[i] && score(&approaches[i], has) > (best < APPROACHES ? score(&approaches[best], has) : 0))
                best = i;
        if (best == APPROACHES)
            break;
        shown[best] = true;
        show(&approaches[best], score(&approaches[best], has), has);
    }
    write_close(']');
    write_text("kind", kind_names[analysis.kind]);
    write_text("language", analysis.english ? "en" : "unknown");
    write_close('}');
}
