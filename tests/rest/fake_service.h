/* A service that records what it is asked and answers what it is told: routes are tested without plugins under them. */
#ifndef FAKE_SERVICE_H
#define FAKE_SERVICE_H

#include "service/service.h"

/* home: an existing directory. One loop, which runs on a thread of its own until fake_end. */
struct service *fake_begin(const char *home);
void fake_end(struct service *s);

/* What was asked last, as one line: "install path=… grants=[a,b] load=1". */
const char *fake_asked(struct service *s);
uint64_t fake_principal(struct service *s); /* of the last call */
/* The package's bytes of the last install or validate. */
const char *fake_package(struct service *s);
/* The next answers fail so; MOAT_E_OK: they succeed with {"fake":true}. */
void fake_fail(struct service *s, enum moat_code code, const char *message);
/* Calls do not end until they are cancelled. */
void fake_hold_calls(struct service *s, bool hold);
unsigned fake_cancelled(struct service *s);
/* Of the last call that is held, on its loop: it logs so many lines of len bytes, each beginning with its number; it
 * ends as one that is not held. */
void fake_tell(struct service *s, unsigned lines, size_t len);
void fake_finish(struct service *s);
void fake_limits(struct service *s, uint64_t payload_max, uint64_t package_max);
void fake_forget_tokens(struct service *s); /* from here on they let nobody in */

#define FAKE_TOKEN "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define FAKE_READ_TOKEN "1111111111111111111111111111111111111111111111111111111111111111"
#define FAKE_EXECUTE_TOKEN "2222222222222222222222222222222222222222222222222222222222222222" /* of echo and other */
#define FAKE_ORIGIN "https://console.example.org"

#endif
