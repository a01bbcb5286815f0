/* service/vault: code that was verified and unpacked, kept as sealed memory files by the SHA-256 of its package, so
 * that a load after the first does not ask the inspector again.  Never decides whether something may run: the caller
 * has verified the package with that hash just before.  Jobs threads. */
#ifndef SERVICE_VAULT_H
#define SERVICE_VAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "package/package.h"

#define VAULT_ENTRIES 64
#define VAULT_BYTES (256ull << 20)

struct vault;

struct vault *vault_new(void); /* NULL: out of memory */
void vault_free(struct vault *v);

/* What is kept for that package, and the vault stays locked until vault_unlock; NULL: nothing, and it is not locked. */
const struct unpacked *vault_lock(struct vault *v, const uint8_t sha256[32]);
void vault_unlock(struct vault *v);

/* Takes the files over, whether it keeps them or not; the longest unused make room. */
void vault_keep(struct vault *v, const uint8_t sha256[32], struct unpacked *files);

#endif
