/* cli/supervisor: what systemd, or another supervisor that speaks its protocol, gives a server and hears of it:
 * listening sockets (sd_listen_fds(3)) and its state (sd_notify(3)).  The protocol is two environment variables and one
 * datagram: that is less than the library which would bring it. */
#ifndef CLI_SUPERVISOR_H
#define CLI_SUPERVISOR_H

#include "base/error.h"

/* Takes the sockets that were inherited, one of TCP and one of Unix at most; -1 where there is none. Forgets the
 * variables, so that no child believes in them. Before threads start. */
int supervisor_sockets(int *tcp, int *unix_fd, struct error *err);

/* "READY=1", "STOPPING=1"; nobody listens: nothing happens. */
void supervisor_tell(const char *state);

#endif
