/* moat-worker: one executable, two roles.  `spawner` clones walled children for the host; `wall` is such a child: it
 * builds the wall around itself and runs one plugin.  Neither is for people. */
#include <stdio.h>
#include <string.h>

#include "sandbox/inside.h"
#include "sandbox/messages.h"
#include "sandbox/spawner_main.h"
#include "worker/engine.h"

static int worker_main(bool fallback)
{
    struct inside in;
    /* What stopped it has been reported over the control socket. */
    return inside_build(WORKER_CONTROL, fallback, engine_channel, &in) ? engine_serve(&in) : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], ROLE_SPAWNER) == 0)
        return spawner_main();
    if (argc == 2 && strcmp(argv[1], ROLE_WORKER) == 0)
        return worker_main(false);
    if (argc == 2 && strcmp(argv[1], ROLE_FALLBACK) == 0)
        return worker_main(true);
    fputs("moat-worker is started by moat; there is nothing to run by hand\n", stderr);
    return 2;
}
