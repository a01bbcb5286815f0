/* Routes of what is to come. */
#include <stdlib.h>

#include "rest/request.h"

void handle_forecast(struct rest_request *q)
{
    const char *horizon = request_query(q, "horizon"), *limit = request_query(q, "limit");
    struct service_forecast asked = {.name = request_query(q, "plugin"),
                                     .starts = request_flag(q, "pool"),
                                     .horizon = horizon ? (unsigned)strtoul(horizon, NULL, 10) : 0,
                                     .limit = limit ? strtod(limit, NULL) : 0};
    service_forecast(request_service(q), &asked, request_complete, q);
}

/* The numbers of a list, freed by the caller; NULL: *at is none, or there is no memory. */
static double *numbers(const json_t *list, size_t n, size_t *at)
{
    double *out = calloc(n + 1, sizeof *out);
    for (*at = 0; out && *at < n; ++*at) {
        const json_t *one = json_array_get(list, *at);
        if (!json_is_number(one)) {
            free(out);
            return NULL;
        }
        out[*at] = json_number_value(one);
    }
    return out;
}

void handle_forecast_series(struct rest_request *q)
{
    const json_t *list = json_object_get(q->json, "plugin_executions");
    size_t n = json_array_size(list), at = 0;
    json_int_t horizon = json_integer_value(json_object_get(q->json, "horizon"));
    double *series = json_is_array(list) ? numbers(list, n, &at) : NULL;
    struct service_forecast asked = {.series = series,
                                     .n = n,
                                     .horizon = (unsigned)(horizon > 0 && horizon < UINT16_MAX ? horizon : UINT16_MAX),
                                     .limit = json_number_value(json_object_get(q->json, "limit"))};
    if (!json_object_get(q->json, "horizon"))
        asked.horizon = 0;
    if (!json_is_array(list))
        request_fail(q, MOAT_E_BAD_PARAMETERS, "/plugin_executions: an array of numbers, one for each hour");
    else if (!series)
        request_fail(q, MOAT_E_BAD_PARAMETERS, "/plugin_executions/%zu: not a number", at);
    else
        service_forecast(request_service(q), &asked, request_complete, q);
    free(series);
}
