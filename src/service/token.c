/* The admin token of TCP listeners: 256 random bits, of which only the SHA-256 is kept. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "service/internal.h"

#define SCOPES "admin"

static void remember(struct service *s, const uint8_t hash[32])
{
    memcpy(s->token, hash, 32);
    atomic_store_explicit(&s->has_token, true, memory_order_release);
}

static bool keep_admin(void *context, const struct registry_token *t)
{
    if (strcmp(t->scopes, SCOPES) != 0)
        return true;
    remember(context, t->hash);
    return false;
}

int token_load(struct service *s, struct registry_reader *reader, struct error *err)
{
    return registry_each_token(reader, keep_admin, s, err);
}

static int make(struct service *s, char text[65], struct error *err)
{
    uint8_t bytes[32], hash[32];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return error_errno(err, MOAT_E_INTERNAL, errno, "no random bytes for a token");
    text_hex(text, bytes, sizeof bytes);
    sha256(text, 64, hash);
    struct registry_command c = {.verb = REGISTRY_TOKEN_ADD, .token_add = {.hash = hash, .scopes = SCOPES}};
    int rc = registry_run(s->registry, &c, err);
    if (rc == 0)
        remember(s, hash);
    explicit_bzero(bytes, sizeof bytes);
    if (rc < 0)
        explicit_bzero(text, 65);
    return rc;
}

int service_admin_token(struct service *s, char fresh[65], struct error *err)
{
    char text[65] = "";
    int rc = 0;
    pthread_mutex_lock(&s->token_lock);
    if (!atomic_load_explicit(&s->has_token, memory_order_acquire))
        rc = make(s, text, err);
    pthread_mutex_unlock(&s->token_lock);
    if (rc == 0 && fresh)
        memcpy(fresh, text, sizeof text);
    explicit_bzero(text, sizeof text);
    return rc;
}

bool service_token_is_admin(struct service *s, const char *token)
{
    uint8_t hash[32], differ = 0;
    if (!atomic_load_explicit(&s->has_token, memory_order_acquire))
        return false;
    sha256(token, strlen(token), hash);
    for (size_t i = 0; i < sizeof hash; i++)
        differ |= hash[i] ^ s->token[i];
    return differ == 0;
}
