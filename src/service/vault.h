/* service/vault: what was verified, read and unpacked, kept by the SHA-256 of its package: the manifest, and the code
 * as sealed memory files.  A load after the first does not ask the inspector again.  Never decides whether something
 * may run: the caller verifies the package with that hash each time.  Jobs threads. */
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

/* A reference of its own to that package's manifest, or NULL. */
struct manifest *vault_manifest(struct vault *v, const uint8_t sha256[32]);

/* Takes the files over, whether it keeps them or not, and a reference of the manifest; the longest unused make room. */
void vault_keep(struct vault *v, const uint8_t sha256[32], struct manifest *manifest, struct unpacked *files);

#endif
