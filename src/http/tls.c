/* Certificates: read, checked, and exchanged while connections stand. */
#include <errno.h>
#include <gnutls/abstract.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "http/server.h"

#define CHAIN_MAX 10
/* A handshake may hold a pair over several rounds, but no longer than a connection's first phase. */
#define KEEP_OLD_NS (600 * NS_PER_S)

const char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";

struct tls_pair {
    struct tls_pair *older;
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned length;
    gnutls_privkey_t key;
    uint64_t replaced_ns;
};

struct tls {
    char *cert, *key;
    pthread_mutex_t lock;
    struct tls_pair *current; /* lock */
};

static void pair_free(struct tls_pair *p)
{
    for (unsigned i = 0; i < p->length; i++)
        gnutls_pcert_deinit(&p->chain[i]);
    gnutls_privkey_deinit(p->key);
    free(p);
}

/* GnuTLS itself says whether the two belong together. */
static int pair_matches(const struct tls *t, struct error *err)
{
    gnutls_certificate_credentials_t both;
    if (gnutls_certificate_allocate_credentials(&both) < 0)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a certificate");
    int rc = gnutls_certificate_set_x509_key_file(both, t->cert, t->key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(both);
    return rc < 0 ? error_set(err, MOAT_E_BAD_USAGE, "%s and %s are no certificate and its key in PEM: %s", t->cert,
                              t->key, gnutls_strerror(rc))
                  : 0;
}

static int check_file(const char *path, bool secret, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return error_errno(err, MOAT_E_NO_SUCH_FILE, errno, "cannot read %s", path);
    if (secret && st.st_mode & S_IRWXO)
        return error_set(err, MOAT_E_BAD_USAGE, "everybody may read the key %s: `chmod 600 %s`", path, path);
    return 0;
}

static int pair_read(const struct tls *t, struct tls_pair **out, struct error *err)
{
    gnutls_datum_t pem = {0};
    int rc = check_file(t->cert, false, err);
    if (rc == 0)
        rc = check_file(t->key, true, err);
    if (rc == 0)
        rc = pair_matches(t, err);
    if (rc < 0)
        return rc;
    struct tls_pair *p = calloc(1, sizeof *p);
    if (!p || gnutls_privkey_init(&p->key) < 0) {
        free(p);
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a certificate");
    }
    unsigned length = CHAIN_MAX;
    rc = gnutls_load_file(t->cert, &pem);
    if (rc >= 0)
        rc = gnutls_pcert_list_import_x509_raw(p->chain, &length, &pem, GNUTLS_X509_FMT_PEM, 0);
    gnutls_free(pem.data);
    pem.data = NULL;
    if (rc >= 0) {
        p->length = length;
        rc = gnutls_load_file(t->key, &pem);
    }
    if (rc >= 0)
        rc = gnutls_privkey_import_x509_raw(p->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (pem.data)
        explicit_bzero(pem.data, pem.size);
    gnutls_free(pem.data);
    if (rc < 0) {
        pair_free(p);
        return error_set(err, MOAT_E_BAD_USAGE, "cannot use %s with %s: %s", t->cert, t->key, gnutls_strerror(rc));
    }
    *out = p;
    return 0;
}

static void drop_old(struct tls_pair *newest, uint64_t now)
{
    struct tls_pair **link = &newest->older;
    while (*link) {
        struct tls_pair *p = *link;
        if (now - p->replaced_ns < KEEP_OLD_NS) {
            link = &p->older;
            continue;
        }
        *link = p->older;
        pair_free(p);
    }
}

int tls_reload(struct tls *t, struct error *err)
{
    struct tls_pair *fresh = NULL;
    int rc = pair_read(t, &fresh, err);
    if (rc < 0)
        return rc;
    uint64_t now = clock_mono_ns();
    pthread_mutex_lock(&t->lock);
    fresh->older = t->current;
    if (t->current)
        t->current->replaced_ns = now;
    t->current = fresh;
    drop_old(fresh, now);
    pthread_mutex_unlock(&t->lock);
    return 0;
}

int tls_new(const char *cert, const char *key, struct tls **out, struct error *err)
{
    if (!cert || !key)
        return error_set(err, MOAT_E_BAD_USAGE, "--tls-cert and --tls-key go together");
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for TLS");
    pthread_mutex_init(&t->lock, NULL);
    t->cert = strdup(cert);
    t->key = strdup(key);
    int rc = t->cert && t->key ? tls_reload(t, err) : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for TLS");
    if (rc < 0) {
        tls_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    for (struct tls_pair *p = t->current, *older; p; p = older) {
        older = p->older;
        pair_free(p);
    }
    pthread_mutex_destroy(&t->lock);
    free(t->cert);
    free(t->key);
    free(t);
}

/* GnuTLS asks for a certificate without a word of whose; it asks inside MHD_run, which knows. */
static _Thread_local struct tls *here;

void tls_here(struct tls *t)
{
    here = t;
}

static int choose(gnutls_session_t session, const gnutls_datum_t *ca, int nca, const gnutls_pk_algorithm_t *algorithms,
                  int nalgorithms, gnutls_pcert_st **chain, unsigned *length, gnutls_privkey_t *key)
{
    if (!here)
        return -1;
    pthread_mutex_lock(&here->lock);
    struct tls_pair *p = here->current;
    pthread_mutex_unlock(&here->lock);
    *chain = p->chain;
    *length = p->length;
    *key = p->key;
    return 0;
}

void *tls_chooser(void)
{
    return (void *)(intptr_t)choose;
}
