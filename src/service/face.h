/* service/face: what an agent is told of a plugin: its description, its actions' names, descriptions and schemas.  An
 * agent follows what it reads, so a changed face is a change of behaviour, whether the code changed or not.  Pure.
 *
 * Manifests are read with face_read: as trees, for comparing; what runs is decided by package/manifest alone. */
#ifndef SERVICE_FACE_H
#define SERVICE_FACE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/error.h"

#define FACE_DIGEST 65 /* hex, with its 0 */

/* The text of a manifest that was accepted before; NULL without memory. The caller decrefs it. */
json_t *face_read(const char *text, size_t len);

/* SHA-256 of the face in one canonical form: another order of members or of actions, or other white space, is the same
 * face. false without memory. */
bool face_digest(const json_t *manifest, char out[FACE_DIGEST]);

/* The first difference between two faces as a short text, such as "the description of `transform` changed"; false:
 * they are the same. */
bool face_change(const json_t *from, const json_t *to, char *out, size_t size);

/* Every difference of two JSON values: [{"pointer", "from", "to"}], a side that is not there left out; at most
 * FACE_CHANGES_MAX of them, then *cut. */
#define FACE_CHANGES_MAX 200
void tell_json_changes(struct buf *out, const char *key, const json_t *from, const json_t *to, bool *cut);
void tell_json(struct buf *out, const char *key, const json_t *value); /* NULL: null */

/* {"actions": {"added", "removed", "changed"}} of two manifests, as members of the object that is open in out. */
void tell_action_changes(struct buf *out, const json_t *from, const json_t *to, bool *cut);
/* A member of a manifest by the name of an array's element, or NULL. */
json_t *face_action(const json_t *manifest, const char *name);

#endif
