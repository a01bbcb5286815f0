/* sandbox/spawner_main: the process that clones.  Runs as `moat-worker spawner`, single thread, links nothing but libc,
 * holds no secret, and ends when its host does.  Everything it started ends with it. */
#ifndef SANDBOX_SPAWNER_MAIN_H
#define SANDBOX_SPAWNER_MAIN_H

/* Returns the process's exit status. */
int spawner_main(void);

#endif
