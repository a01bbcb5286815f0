/* The one table of errors.  Every refusal that a user, a client or a program can meet stands here once:
 * its code in C, its name in JSON, its HTTP status, the exit status of the command line, and what to do about it.
 * Numbers are part of the ABI: new errors are added at the end. */
#ifndef MOAT_ERRORS_H
#define MOAT_ERRORS_H

/* X(code, name, HTTP status, exit status, advice) */
#define MOAT_ERRORS(X) \
    X(OK, "ok", 200, 0, "") \
    X(BAD_USAGE, "bad_usage", 400, 2, "see `moat help COMMAND`") \
    X(BAD_REQUEST, "bad_request", 400, 2, "see docs/api.md for the request's form") \
    X(BAD_JSON, "bad_json", 400, 2, "send one JSON text as RFC 8259 defines it, in UTF-8") \
    X(BAD_PARAMETERS, "bad_parameters", 422, 2, "`moat info NAME` shows the action's schema") \
    X(METADATA_MISMATCH, "metadata_mismatch", 422, 2, "leave `metadata` out or make it equal the signed manifest") \
    X(TOO_LARGE, "too_large", 413, 2, "send less, or raise the limit with `moat settings set`") \
    X(UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415, 2, "send the media type that the message names") \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, 2, "use a method that the Allow header names") \
    X(NOT_A_PACKAGE, "not_a_package", 422, 3, "make packages with `moat pack`") \
    X(PACKAGE_DAMAGED, "package_damaged", 422, 3, "get the package again from its publisher") \
    X(BAD_MANIFEST, "bad_manifest", 422, 3, "mend plugin.json and pack again") \
    X(BAD_SIGNATURE, "bad_signature", 403, 3, "get the package again from its publisher") \
    X(UNKNOWN_KEY, "unknown_key", 403, 3, "`moat trust add NAME PUBFILE`, if you trust the publisher") \
    X(KEY_REVOKED, "key_revoked", 403, 3, "ask the publisher for a package signed with a valid key") \
    X(NAME_NOT_ALLOWED, "name_not_allowed", 403, 3, "`moat trust list` shows who may publish which names") \
    X(PACKAGE_EXPIRED, "package_expired", 403, 3, "ask the publisher for a newer package") \
    X(PACKAGE_FROM_FUTURE, "package_from_future", 403, 3, "check this machine's clock, then the package's source") \
    X(OLDER_VERSION, "older_version", 409, 3, "`--allow-older` installs it; it never becomes current by itself") \
    X(IMPORT_REFUSED, "import_refused", 422, 3, "`moat inspect FILE` lists each finding with its cure") \
    X(UNAUTHORIZED, "unauthorized", 401, 3, "send `Authorization: Bearer TOKEN`") \
    X(FORBIDDEN, "forbidden", 403, 3, "use a token with the scope that the message names") \
    X(PERMISSION_DENIED, "permission_denied", 403, 3, "decide with the command that the message names") \
    X(NOT_FOUND, "not_found", 404, 4, "see docs/api.md for what there is") \
    X(NO_SUCH_PLUGIN, "no_such_plugin", 404, 4, "`moat list` shows what is installed") \
    X(NO_SUCH_VERSION, "no_such_version", 404, 4, "`moat info NAME` shows the installed versions") \
    X(NO_SUCH_ACTION, "no_such_action", 404, 4, "`moat info NAME` shows the plugin's actions") \
    X(NO_SUCH_FILE, "no_such_file", 404, 4, "check the path") \
    X(ACTION_FAILED, "action_failed", 422, 1, "the message is the plugin's own") \
    X(PLUGIN_CRASHED, "plugin_crashed", 502, 5, "`moat info NAME` shows the last errors and log lines") \
    X(START_FAILED, "start_failed", 502, 5, "the message says what the plugin or its wall answered") \
    X(BAD_RESULT, "bad_result", 502, 5, "tell the plugin's author") \
    X(DEADLINE, "deadline", 504, 5, "give more time with --deadline, up to the operator's limit") \
    X(CANCELLED, "cancelled", 409, 8, "") \
    X(LIMIT, "limit", 507, 5, "raise the limit that the message names, or ask for less") \
    X(WALL_MISSING, "wall_missing", 503, 6, "`moat doctor` names the missing layer and how to get it") \
    X(STORAGE_FAILED, "storage_failed", 503, 7, "check the disk that holds the home") \
    X(OUT_OF_MEMORY, "out_of_memory", 503, 7, "give the host more memory") \
    X(NO_ANSWER, "no_answer", 503, 7, "check the server that holds the home") \
    X(INTERNAL, "internal", 503, 7, "this is a defect of Moat: please report it") \
    X(QUEUE_FULL, "queue_full", 429, 8, "try again after a moment") \
    X(WRONG_STATE, "wrong_state", 409, 8, "the message names the state and the command that changes it") \
    X(ALREADY_EXISTS, "already_exists", 409, 8, "a version never changes; publish a new one") \
    X(DRAINING, "draining", 503, 8, "try again after a moment") \
    X(HOME_BUSY, "home_busy", 503, 8, "wait for the other command to end") \
    X(REVOKE_INCOMPLETE, "revoke_incomplete", 409, 8, "the message names what is left") \
    X(UNSIGNED, "unsigned", 403, 3, "sign it with `moat pack --key FILE`; only development mode runs it as it is") \
    X(CHANGES_NOT_ACCEPTED, "changes_not_accepted", 409, 3, "`moat diff` shows what agents would be told instead") \
    X(BAD_DOCUMENT, "bad_document", 422, 2, "the message names the record by its JSON Pointer") \
    X(IDEMPOTENCY_CONFLICT, "idempotency_conflict", 409, 2, "use a new Idempotency-Key for another body") \
    X(ANSWER_NOT_KEPT, "answer_not_kept", 409, 8, "it was run once; use a new Idempotency-Key to run it again") \
    X(NOT_READY, "not_ready", 503, 8, "try again after a moment") \
    X(RATE_LIMITED, "rate_limited", 429, 8, \
      "try again when Retry-After says so, or raise the setting `token_requests`") \
    X(BAD_TASK, "bad_task", 422, 2, "`moat task check FILE` lists each finding with its JSON Pointer") \
    X(OUTCOME_UNKNOWN, "outcome_unknown", 409, 5, "find out whether it was done; Moat does not do it twice") \
    X(CALL_CYCLE, "call_cycle", 409, 5, "a plugin must not be called on its own behalf, not through others either") \
    X(CALL_DEPTH, "call_depth", 409, 5, "let fewer plugins stand between the first call and the last") \
    X(WOULD_DEADLOCK, "would_deadlock", 409, 5, "try again, or give one of these plugins more workers") \
    X(CONNECT_FAILED, "connect_failed", 502, 5, "the message says how far it came")

enum moat_code {
#define X(code, name, http, exit, advice) MOAT_E_##code,
    MOAT_ERRORS(X)
#undef X
        MOAT_E_COUNT,
};

#endif
