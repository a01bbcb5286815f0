/* What test_measure.py compares with Python.
 *   measure_tool quantiles Q…             values on standard input, by words; the word "merge" begins another histogram
 *   measure_tool sequential T M A P K L   outcomes on standard input: b or n, of the old one or the new one, then 0 or
 * 1 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/histogram.h"
#include "measure/sequential.h"

static int quantiles(int argc, char **argv)
{
    struct histogram all = {0}, one = {0};
    char word[32];
    while (scanf("%31s", word) == 1) {
        if (strcmp(word, "merge") != 0) {
            histogram_add(&one, strtoull(word, NULL, 10));
            continue;
        }
        histogram_merge(&all, &one);
        memset(&one, 0, sizeof one);
    }
    histogram_merge(&all, &one);
    printf("%" PRIu64 " %" PRIu64 "\n", all.count, all.sum);
    for (int i = 0; i < argc; i++)
        printf("%" PRIu64 "\n", histogram_quantile(&all, strtod(argv[i], NULL)));
    return 0;
}

static int sequential(char **argv)
{
    struct sequential s;
    struct sequential_limits limits = {strtod(argv[0], NULL), strtod(argv[1], NULL), strtod(argv[2], NULL),
                                       strtod(argv[3], NULL)};
    char word[8];
    sequential_init(&s, &limits, (unsigned)atoi(argv[4]), (unsigned)atoi(argv[5]));
    while (scanf("%7s", word) == 1) {
        enum sequential_verdict v =
            word[0] == 'b' ? sequential_before(&s, word[1] == '1') : sequential_after(&s, word[1] == '1');
        printf("%s %.9g %.9g\n", sequential_verdict_name(v), s.log_worse, s.log_fine);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "quantiles") == 0)
        return quantiles(argc - 2, argv + 2);
    if (argc == 8 && strcmp(argv[1], "sequential") == 0)
        return sequential(argv + 2);
    fprintf(stderr, "usage: measure_tool quantiles Q… | sequential T M A P K L\n");
    return 2;
}
