/* A fuzzer as a program of its own: see fuzz.h. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/fuzz/fuzz.h"

static int usage(void)
{
    fprintf(stderr, "usage: %s [--seed N] [--first N] [--cases N] [--seconds N] [--verbose]\n",
            fuzz_target.name);
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, first = 0, cases = 0, seconds = 0;
    bool verbose = false;

    for (int i = 1; i < argc; i++) {
        uint64_t *to = !strcmp(argv[i], "--seed")      ? &seed
                       : !strcmp(argv[i], "--first")   ? &first
                       : !strcmp(argv[i], "--cases")   ? &cases
                       : !strcmp(argv[i], "--seconds") ? &seconds
                                                       : NULL;
        char *end = "";
        if (!strcmp(argv[i], "--verbose")) {
            verbose = true;
            continue;
        }
        if (!to || ++i == argc)
            return usage();
        *to = strtoull(argv[i], &end, 0);
        if (*end || end == argv[i])
            return usage();
    }
    if (!cases)
        cases = seconds ? UINT64_MAX : fuzz_target.cases;

    time_t start = time(NULL);
    uint64_t done = 0;
    fuzz_begin("setting up");
    for (; done < cases && (!seconds || (uint64_t)(time(NULL) - start) < seconds); done++) {
        struct fuzz f = {.state = seed ^ (first + done) * 0xd1342543de82ef95ull};
        fuzz_case(seed, first + done);
        if (verbose)
            fprintf(stderr, "case %llu\n", (unsigned long long)(first + done));
        f.left = 1 + (uint32_t)fuzz_u32(&f) % fuzz_target.steps;
        fuzz_target.run(&f);
    }
    fuzz_end();
    printf("%s: %llu cases\n", fuzz_target.name, (unsigned long long)done);
    return 0;
}
