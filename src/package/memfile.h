/* package/memfile: memory files that are filled piece by piece and then sealed.  io_sealed does it in one go. */
#ifndef PACKAGE_MEMFILE_H
#define PACKAGE_MEMFILE_H

/* Writable, not yet sealed; -1 with errno. */
int memfile_new(const char *name);

/* Seals it (write, shrink, grow, seal) and opens it again read-only; fd stays the caller's.  -1 with errno.
 * No writable mapping may be left. */
int memfile_seal(int fd);

#endif
