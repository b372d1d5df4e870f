/* SPDX-License-Identifier: MIT
 * What the environment asks of a test program, and the time. */
#include "support/support.h"

#include <stdlib.h>
#include <time.h>

int64_t test_env_int(const char *name, int64_t fallback)
{
    const char *text = getenv(name);
    return text && *text ? (int64_t)strtoull(text, NULL, 0) : fallback;
}

bool test_env_long(void)
{
    return test_env_int("ATTN_LONG", 0) != 0;
}

int64_t test_env_share(int64_t n)
{
    int64_t share = n / test_env_int("ATTN_SHARE", 1);
    return share > 0 ? share : 1;
}

double test_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
