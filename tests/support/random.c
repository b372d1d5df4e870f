/* SPDX-License-Identifier: MIT
 * Random numbers by a counter put through a mixing function (splitmix), integers only, so that
 * every machine draws the same. */
#include "support/support.h"

static uint64_t random_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

test_rng test_rng_make(uint64_t seed)
{
    return (test_rng){random_mix(seed + UINT64_C(0x632BE59BD9B4E019))};
}

uint64_t test_rng_next(test_rng *rng)
{
    rng->state += UINT64_C(0x9E3779B97F4A7C15);
    return random_mix(rng->state);
}

int64_t test_rng_range(test_rng *rng, int64_t low, int64_t high)
{
    uint64_t n = (uint64_t)(high - low) + 1;
    return low + (int64_t)(test_rng_next(rng) % n);
}

bool test_rng_chance(test_rng *rng, int percent)
{
    return test_rng_range(rng, 0, 99) < percent;
}

double test_rng_uniform(test_rng *rng)
{
    return (double)(test_rng_next(rng) >> 11) * 0x1p-53;
}

/* Twelve uniform numbers of 21 bits each: variance 1 and exact in every arithmetic. */
double test_rng_normal(test_rng *rng)
{
    int64_t sum = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t x = test_rng_next(rng);
        for (int part = 0; part < 3; part++) sum += (int64_t)(x >> (21 * part) & 0x1FFFFF);
    }
    return (double)(sum - 6 * 0x1FFFFF) * 0x1p-21;
}

int64_t test_rng_pick(test_rng *rng, const int64_t *values, size_t n)
{
    return values[test_rng_range(rng, 0, (int64_t)n - 1)];
}
