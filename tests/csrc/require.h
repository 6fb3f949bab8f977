/* require -- what must hold in a test of a kernel; where it does not, the test ends and says what. */
#ifndef PS_REQUIRE_H
#define PS_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(truth)                                                                      \
    do {                                                                                    \
        if (!(truth)) {                                                                     \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #truth);      \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

#endif
