/* base/words: the closed vocabularies of the design, their names and their one-line descriptions. */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include <stddef.h>

#define WORDS_CAPABILITIES(X) \
    X(DATA_PROCESSING, "data_processing", "transforms, filters, aggregates or cleans data") \
    X(MODEL_INFERENCE, "model_inference", "runs a model and returns what it infers") \
    X(AGENT_SKILL, "agent_skill", "gives an agent a skill, such as analysis or planning") \
    X(INTEGRATION, "integration", "connects to another system") \
    X(VISUALIZATION, "visualization", "draws data") \
    X(MONITORING, "monitoring", "watches systems and reports on them") \
    X(SECURITY, "security", "checks or protects systems") \
    X(CUSTOM, "custom", "anything else")

#define WORDS_PERMISSIONS(X) \
    X(FILE_READ, "file_read", "read the granted files and directories") \
    X(FILE_WRITE, "file_write", "create and change files in the granted directories") \
    X(NETWORK_ACCESS, "network_access", "connect to the granted hosts and ports") \
    X(DATABASE_READ, "database_read", "query the granted data sources") \
    X(DATABASE_WRITE, "database_write", "change data in the granted data sources") \
    X(EXECUTE_CODE, "execute_code", "map new executable code and run named programs inside the wall") \
    X(SYSTEM_ACCESS, "system_access", "ask for a fixed list of the machine's public facts") \
    X(AGENT_CONTROL, "agent_control", "call the granted actions of other plugins")

enum capability {
#define X(id, name, about) CAPABILITY_##id,
    WORDS_CAPABILITIES(X)
#undef X
        CAPABILITY_COUNT,
};

enum permission {
#define X(id, name, about) PERMISSION_##id,
    WORDS_PERMISSIONS(X)
#undef X
        PERMISSION_COUNT,
};

/* Names are read without regard to case; -1 when there is no such word. */
int capability_parse(const char *text);
int permission_parse(const char *text);
const char *capability_name(enum capability c);
const char *capability_about(enum capability c);
const char *permission_name(enum permission p);
const char *permission_about(enum permission p);

#endif
