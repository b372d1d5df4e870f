/* SPDX-License-Identifier: MIT
 * BigBird: blocks see their neighbours, a few global blocks, and a few drawn at random.
 *
 *     block y sees x when |y - x| <= (window - 1) / 2, or x or y is global, or y drew x
 *     out_i = sum over j in the seen blocks of softmax_j(q_i . k_j / sqrt(D)) v_j
 *
 * q, k B H T D, v B H T E, cut into blocks of `block` tokens, the last one shorter. `global`
 * blocks stand at both ends, the first one first: they see everything and everything sees them.
 * Every other block draws `random` distinct blocks among those that it would not see anyway,
 * each head its own, or all of them when there are fewer. The draw is a function of seed, head
 * and block alone: word 0 of Philox at counter (draw, block, head, 0), key seed, times what is
 * left over 2^32, picks from the remaining blocks in ascending order, of which the picked one
 * leaves its place to the last. pattern tells what came of it. mask B T hides keys.
 * Zaheer et al. 2020 (2007.14062); the public code draws otherwise (NumPy's generator) and adds
 * up the first and last blocks the same way. */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT, PATTERN };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [PATTERN] = {"pattern", ATTN_OUT | ATTN_OPTIONAL | ATTN_FLAGS, "H T T",
                 "which key each query may see"},
    {0}};

enum { BLOCK, WINDOW, GLOBAL, RANDOM, SEED };
static const attn_param params[] = {
    [BLOCK] = {"block", 'i', "64", NULL, "tokens of a block"},
    [WINDOW] = {"window", 'i', "3", NULL, "neighbouring blocks seen, its own among them; odd"},
    [GLOBAL] = {"global", 'i', "2", NULL, "global blocks, at both ends in turn"},
    [RANDOM] = {"random", 'i', "3", NULL, "blocks drawn for each block"},
    [SEED] = {"seed", 'i', "0", NULL, "of the draw"},
    {0}};

typedef struct bigbird {
    int64_t block, n, window, global, random; /* n blocks */
    int64_t *drawn; /* H n random: those of block y of head h; -1 where there are fewer */
} bigbird;

static bool bigbird_always(const bigbird *p, int64_t y, int64_t x)
{
    const int64_t first = (p->global + 1) / 2, last = p->n - p->global / 2,
                  half = p->window / 2;
    return y < first || y >= last || x < first || x >= last || (y - x <= half && x - y <= half);
}

static bool bigbird_listed(const void *user, int64_t h, int64_t y, int64_t x)
{
    const bigbird *p = user;
    const int64_t *drawn = p->drawn + (h * p->n + y) * p->random;
    bool is = bigbird_always(p, y, x);
    for (int64_t r = 0; !is && r < p->random; r++) is = drawn[r] == x;
    return is;
}

static bool bigbird_sees(const void *user, const int64_t *at)
{
    const bigbird *p = user;
    return bigbird_listed(p, at[0], at[1] / p->block, at[2] / p->block);
}

/* left: room for n numbers. */
static void bigbird_draw(const bigbird *p, uint64_t seed, int64_t h, int64_t y, int64_t *left)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    int64_t n = 0;
    for (int64_t x = 0; x < p->n; x++)
        if (!bigbird_always(p, y, x)) left[n++] = x;
    for (int64_t r = 0; r < p->random; r++) {
        uint32_t words[4];
        int64_t *to = &p->drawn[(h * p->n + y) * p->random + r];
        *to = -1;
        if (n == 0) continue;
        attn__philox((const uint32_t[]){(uint32_t)r, (uint32_t)y, (uint32_t)h, 0}, key, words);
        const int64_t at = (int64_t)((uint64_t)words[0] * (uint64_t)n >> 32);
        *to = left[at];
        left[at] = left[--n];
    }
}

static bool bigbird_check(const attn__build *b)
{
    const attn_value *p = b->params;
    return attn__build_need(b, p[BLOCK].i > 0, ATTN_E_PARAM, "block", "must be positive", 1,
                            p[BLOCK].i) &&
           attn__build_need(b, p[WINDOW].i > 0 && p[WINDOW].i % 2 == 1, ATTN_E_PARAM, "window",
                            "must be odd and positive", 1, p[WINDOW].i) &&
           attn__build_need(b, p[GLOBAL].i >= 0, ATTN_E_PARAM, "global", "must not be negative",
                            0, p[GLOBAL].i) &&
           attn__build_need(b, p[RANDOM].i >= 0, ATTN_E_PARAM, "random", "must not be negative",
                            0, p[RANDOM].i);
}

static void bigbird_build(const attn__build *b)
{
    const int64_t T = attn__build_size(b, 'T'), H = attn__build_size(b, 'H');
    const attn_attention_vars vars = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    if (!bigbird_check(b)) return;
    bigbird p = {.block = b->params[BLOCK].i, .window = b->params[WINDOW].i};
    p.n = attn__ceil_div(T, p.block);
    p.random = attn__min(b->params[RANDOM].i, p.n);
    p.global = attn__min(b->params[GLOBAL].i, p.n);
    p.drawn = attn__tape_memory(b->t, H * p.n * p.random, sizeof *p.drawn);
    int64_t *left = attn__tape_memory(b->t, p.n, sizeof *left);
    if (!p.drawn || !left) return;
    for (int64_t x = 0; x < H * p.n; x++)
        bigbird_draw(&p, (uint64_t)b->params[SEED].i, x / p.n, x % p.n, left);
    attn__build_flags(b, PATTERN, bigbird_sees, &p);
    const attn__blocks blocks = {.T = T,
                                 .S = T,
                                 .H = H,
                                 .size_q = p.block,
                                 .size_k = p.block,
                                 .listed = bigbird_listed,
                                 .user = attn__tape_keep(b->t, &p, sizeof p)};
    b->out[OUT] = attn__attend_blocks(b->t, &vars, b->in[MASK], &blocks);
}

const attn_mech attn__mech_bigbird = {
    .name = "bigbird",
    .family = "sparse",
    .about = "blocks see neighbours, global blocks and random ones",
    .formula = "out_i = softmax_N(q_i k_j / sqrt(D)) v_j, N: blocks near, global or drawn",
    .cost = "n k: time T block (window + global + random) (D + E), memory T (D + E)",
    .source = "2007.14062",
    .sizes = "B=1,H=2,T=8,D=4,E=4",
    .grows = "T",
    .example =
        "compute bigbird -s block=1 -s global=1 -s random=1 --random T=12 --want out,pattern",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = bigbird_build,
};
