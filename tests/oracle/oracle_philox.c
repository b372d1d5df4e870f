/* SPDX-License-Identifier: MIT
 * Philox 4x32-10 (Salmon et al. 2011): ten rounds, each two wide products whose halves are
 * exchanged and mixed with the key, which walks by two constants. */
#include "oracle/oracle.h"

void oracle_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t left = (uint64_t)a * UINT64_C(0xD2511F53);
        uint64_t right = (uint64_t)c * UINT64_C(0xCD9E8D57);
        uint32_t next_a = (uint32_t)(right >> 32) ^ b ^ k0;
        uint32_t next_c = (uint32_t)(left >> 32) ^ d ^ k1;
        b = (uint32_t)right;
        d = (uint32_t)left;
        a = next_a;
        c = next_c;
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}
