/* SPDX-License-Identifier: MIT
 * BigBird, pair by pair; the draw again, by crossing out. */
#include "oracle/mech_pattern.h"
#include "oracle/oracle.h"

static bool bigbird_near(const gallery_call *c, int64_t y, int64_t x)
{
    const int64_t n =
        (gallery_size(c, 'T') + gallery_i(c, "block") - 1) / gallery_i(c, "block");
    const int64_t g = gallery_i(c, "global"), at[] = {y, x};
    for (int i = 0; i < 2; i++)
        for (int64_t e = 0; e < g && e < n; e++)
            if (at[i] == (e % 2 == 0 ? e / 2 : n - 1 - e / 2)) return true;
    return llabs(y - x) <= (gallery_i(c, "window") - 1) / 2;
}

static bool bigbird_drawn(const gallery_call *c, int64_t h, int64_t y, int64_t x)
{
    const int64_t n =
        (gallery_size(c, 'T') + gallery_i(c, "block") - 1) / gallery_i(c, "block");
    const uint64_t seed = (uint64_t)gallery_i(c, "seed");
    const uint32_t key[2] = {(uint32_t)(seed & UINT32_MAX), (uint32_t)(seed >> 32)};
    int64_t *left = test_alloc(c->arena, (size_t)(n + 1) * sizeof *left), count = 0;
    for (int64_t z = 0; z < n; z++)
        if (!bigbird_near(c, y, z)) left[count++] = z;
    for (int64_t r = 0; r < gallery_i(c, "random") && count > 0; r++) {
        const uint32_t counter[4] = {(uint32_t)r, (uint32_t)y, (uint32_t)h, 0};
        uint32_t words[4];
        oracle_philox(counter, key, words);
        const int64_t at = (int64_t)floor((double)words[0] * (double)count / 0x1p32);
        if (left[at] == x) return true;
        left[at] = left[count - 1];
        count--;
    }
    return false;
}

static bool bigbird_allowed(const gallery_call *c, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t y = i / gallery_i(c, "block"), x = j / gallery_i(c, "block");
    (void)b;
    return bigbird_near(c, y, x) || bigbird_drawn(c, h, y, x);
}

static void bigbird_oracle(gallery_call *c)
{
    pattern_attend(c, bigbird_allowed);
    pattern_flags(c, bigbird_allowed, gallery_size(c, 'H'));
}

static const char *const bigbird_cases[] = {
    "B=2,T=13;block=2,window=1,global=2,random=1",
    "H=1,T=12;block=1,window=3,global=1,random=2;mask",
    "B=1,H=3,T=15,E=2;block=2,window=3,global=3,random=2,seed=7",
    "H=1,T=9;block=1,window=1,global=0,random=0;mask",
    "T=5;;mask",
    NULL};

const gallery_oracle gallery_oracle_bigbird = {.cases = bigbird_cases, .run = bigbird_oracle};
