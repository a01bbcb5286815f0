/* stranger: stands where moat-worker should, and is of another version: answers each request in its own words. */
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/messages.h"

int main(void)
{
    struct spawn_request request;
    struct spawn_status answer;
    int fds[3];
    memset(&answer, 0, sizeof answer);
    answer.version = MESSAGE_VERSION + 1;
    answer.kind = STATUS_SPAWNED;
    for (;;) {
        size_t n = 3;
        if (io_recv(SPAWNER_MAIN, &request, sizeof request, fds, &n) <= 0)
            return 0;
        io_send(fds[0], &answer, sizeof answer, NULL, 0);
        for (size_t i = 0; i < n; i++)
            close(fds[i]);
    }
}
