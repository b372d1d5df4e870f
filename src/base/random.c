/* SPDX-License-Identifier: MIT
 * Philox 4x32-10, a counter-based generator: ten rounds of multiply and mix turn a counter and
 * a key into four random words. A number depends on nothing but its coordinates, so dropout is
 * the same for every layout, split and thread count. Salmon, Moraes, Dror, Shaw: Parallel
 * random numbers: as easy as 1, 2, 3. SC 2011. */
#include "base/base.h"

enum { PHILOX_ROUNDS = 10 };

/* One round; the keys advance by these odd constants (golden ratio, sqrt(3) - 1). */
static void philox_round(uint32_t x[4], uint32_t key[2])
{
    uint64_t a = UINT64_C(0xD2511F53) * x[0], b = UINT64_C(0xCD9E8D57) * x[2];
    uint32_t first = (uint32_t)(b >> 32) ^ x[1] ^ key[0];
    uint32_t third = (uint32_t)(a >> 32) ^ x[3] ^ key[1];
    x[0] = first;
    x[1] = (uint32_t)b;
    x[2] = third;
    x[3] = (uint32_t)a;
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
}

void attn__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t x[4] = {counter[0], counter[1], counter[2], counter[3]};
    uint32_t k[2] = {key[0], key[1]};
    for (int i = 0; i < PHILOX_ROUNDS; i++) philox_round(x, k);
    for (int i = 0; i < 4; i++) out[i] = x[i];
}
