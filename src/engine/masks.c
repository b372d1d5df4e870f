/* SPDX-License-Identifier: MIT
 * Which pairs of a tile are allowed. First the interval that every lane has by causal, prefix,
 * window and chunk: keys outside all of them are cut off, keys inside all of them need no mask.
 * Then the masks of masks.def clear bits, one word a key, one bit a lane. What is left decides:
 * nothing allowed, the tile is skipped; all allowed, it runs as if there were no mask. */
#include <string.h>

#include "engine/engine.h"

typedef uint64_t mask_word;
enum { MASK_AT_ONCE = 8 }; /* words, which compilers make vectors of */

static bool mask_segments_on(const attn__tile *t)
{
    return attn__present(&t->r->p->at.q_seg);
}

/* Documents are mostly long: when all queries are in one segment, a key decides for all lanes.
 */
static void mask_segments(attn__tile *t)
{
    const attn__problem *p = t->r->p;
    const attn__panel *panel = t->panel;
    attn_tensor mine_at = p->at.q_seg, theirs_at = p->at.k_seg;
    int64_t mine[ATTN__PANEL];
    bool one = true;
    if (mine_at.dtype == ATTN_DTYPE_U64 && theirs_at.dtype == ATTN_DTYPE_U64) /* same bits */
        mine_at.dtype = theirs_at.dtype = ATTN_DTYPE_I64;
    for (int l = 0; l < panel->n; l++) {
        mine[l] = attn__int_at(&mine_at, t->seq->qb, t->seq->q0 + panel->i[l]);
        one = one && mine[l] == mine[0];
    }
    for (int64_t j = 0; j < t->n; j++) {
        const int64_t theirs = attn__int_at(&theirs_at, t->seq->kb, t->seq->k0 + t->j0 + j);
        mask_word same = one && mine[0] == theirs ? ~(mask_word)0 : 0;
        for (int l = 0; l < panel->n && !one; l++) same |= (mask_word)(mine[l] == theirs) << l;
        t->allowed[j] &= same;
    }
}

static bool mask_dense_on(const attn__tile *t)
{
    const attn_tensor *mask = &t->r->p->at.mask;
    return attn__present(mask) && !attn__dtype_is_float(mask->dtype);
}

/* The kind of the block that holds a pair; without a block mask every pair asks the mask. */
static int mask_block_kind(const attn__tile *t, int l, int64_t j)
{
    const attn__problem *p = t->r->p;
    const attn_tensor *blocks = &p->at.block_mask;
    if (!attn__present(blocks)) return ATTN_TILE_PARTIAL;
    const int64_t y = (t->seq->iq + t->panel->i[l]) / p->spec.block_q;
    const int64_t x = (t->seq->jk + t->j0 + j) / p->spec.block_k;
    return *(const uint8_t *)attn__at(blocks, t->seq->b, t->panel->h[l], y, x);
}

/* Lanes that read the same row of the mask (it broadcasts over queries or heads) are done at
 * once; not under a block mask, which may say FULL to some. */
static void mask_dense(attn__tile *t)
{
    const attn_tensor *mask = &t->r->p->at.mask;
    const attn__panel *panel = t->panel;
    const bool blocks = attn__present(&t->r->p->at.block_mask);
    for (int first = 0, l; first < panel->n; first = l) {
        const uint8_t *row = attn__operand_row(t, mask, first);
        for (l = first + 1; l < panel->n && !blocks && attn__operand_row(t, mask, l) == row;)
            l++;
        const mask_word lanes = attn__low_bits(l) & ~attn__low_bits(first);
        for (int64_t j = 0; j < t->n; j++) {
            if (row[j * mask->stride[3]]) continue;
            if (blocks && mask_block_kind(t, first, j) == ATTN_TILE_FULL) continue;
            t->allowed[j] &= ~lanes;
        }
    }
}

static bool mask_blocks_on(const attn__tile *t)
{
    return attn__present(&t->r->p->at.block_mask);
}

/* One look for each run of keys in a block. */
static void mask_blocks(attn__tile *t)
{
    const int64_t size = t->r->p->spec.block_k, from = t->seq->jk + t->j0;
    for (int l = 0; l < t->panel->n; l++)
        for (int64_t j = 0, next; j < t->n; j = next) {
            next = attn__min(t->n, ((from + j) / size + 1) * size - from);
            if (mask_block_kind(t, l, j) != ATTN_TILE_EMPTY) continue;
            for (int64_t x = j; x < next; x++) t->allowed[x] &= ~((mask_word)1 << l);
        }
}

/* Keys that the cache has forgotten. */
static bool mask_held_on(const attn__tile *t)
{
    return t->held != NULL;
}

static void mask_held(attn__tile *t)
{
    for (int64_t j = 0, at = t->j0 - t->held0; j < t->n; j++, at++)
        if (!(t->held[at / 64] >> at % 64 & 1)) t->allowed[j] = 0;
}

/* Among the last keys of the sequence, which are its queries' own. */
static bool mask_tree_on(const attn__tile *t)
{
    return attn__present(&t->r->p->at.tree) && t->j0 + t->n > t->seq->S - t->seq->T;
}

static void mask_tree(attn__tile *t)
{
    const attn_tensor *tree = &t->r->p->at.tree;
    const attn__seq *seq = t->seq;
    const int64_t own = seq->S - seq->T;
    for (int l = 0; l < t->panel->n; l++) {
        const uint8_t *row = attn__at(tree, seq->b, seq->iq + t->panel->i[l], seq->iq, 0);
        for (int64_t j = attn__max(0, own - t->j0); j < t->n; j++)
            if (!row[(t->j0 + j - own) * tree->stride[2]])
                t->allowed[j] &= ~((mask_word)1 << l);
    }
}

typedef struct mask_rule {
    bool (*on)(const attn__tile *t);
    void (*apply)(attn__tile *t);
} mask_rule;

static const mask_rule mask_rules[] = {
#define MASK(name) {mask_##name##_on, mask_##name},
#include "engine/masks.def"
#undef MASK
};

enum { MASK_RULES = sizeof mask_rules / sizeof mask_rules[0] };

/* The interval of each lane as bits: it is switched on where it begins and off where it ends,
 * and a running exclusive or makes words of the switches. */
static void mask_ranges(attn__tile *t)
{
    memset(t->allowed, 0, (size_t)t->n * sizeof *t->allowed);
    for (int l = 0; l < t->panel->n; l++) {
        const int64_t from = attn__max(t->panel->lo[l] - t->j0, 0);
        const int64_t to = attn__min(t->panel->hi[l] - t->j0, t->n);
        if (from >= to) continue;
        t->allowed[from] ^= (mask_word)1 << l;
        if (to < t->n) t->allowed[to] ^= (mask_word)1 << l;
    }
    mask_word lanes = 0; /* not in memory, where each key would wait for the one before it */
    for (int64_t j = 0; j < t->n; j++) t->allowed[j] = lanes ^= t->allowed[j];
}

static void mask_fill(mask_word *words, int64_t n, mask_word lanes)
{
    int64_t i = 0;
    for (; i + MASK_AT_ONCE <= n; i += MASK_AT_ONCE)
        for (int x = 0; x < MASK_AT_ONCE; x++) words[i + x] = lanes;
    for (; i < n; i++) words[i] = lanes;
}

/* Keys from j on, behind those that all lanes see: mostly one lane drops out at each. */
static void mask_steps(const attn__tile *t, int64_t j, mask_word all)
{
    const int64_t *hi = t->panel->hi, end = t->j0 + t->n;
    mask_word lanes = all;
    if (hi[t->panel->n - 1] - hi[0] == t->panel->n - 1) {
        for (; j < end; j++) t->allowed[j - t->j0] = all & all << (j - hi[0] + 1);
        return;
    }
    for (int64_t l = 0; j < end; j++) {
        for (; hi[l] <= j; l++) lanes &= lanes - 1;
        t->allowed[j - t->j0] = lanes;
    }
}

/* The same where every lane begins at key 0 and stops no earlier than the one before it: lanes
 * drop out one after the other behind the keys that all see. */
static void mask_stairs(attn__tile *t)
{
    const attn__panel *panel = t->panel;
    const mask_word all = attn__low_bits(panel->n);
    const int64_t shut = attn__max(t->j0, attn__min(panel->all_hi, t->j0 + t->n));
    mask_fill(t->allowed, shut - t->j0, all);
    mask_steps(t, shut, all);
    t->shut = shut;
    t->stairs = true;
}

/* Keys that nobody sees are cut off at both ends; a tile without a cleared bit is unmasked. The
 * first run of keys that all see is what a causal mask or a window has in its middle. */
static bool mask_settle(attn__tile *t)
{
    const mask_word all = attn__low_bits(t->panel->n);
    int64_t first = 0;
    while (first < t->n && !t->allowed[first]) first++;
    if (first == t->n) return false;
    while (!t->allowed[t->n - 1]) t->n--;
    t->n -= first;
    t->j0 += first;
    if (first) memmove(t->allowed, t->allowed + first, (size_t)t->n * sizeof *t->allowed);
    int64_t open = 0, shut;
    while (open < t->n && t->allowed[open] != all) open++;
    for (shut = open; shut < t->n && t->allowed[shut] == all;) shut++;
    t->masked = shut - open < t->n;
    t->open = t->j0 + open;
    t->shut = t->j0 + shut;
    return true;
}

bool attn__masks_apply(attn__tile *t)
{
    const attn__panel *panel = t->panel;
    const int64_t from = attn__max(t->j0, panel->any_lo);
    const int64_t to = attn__min(t->j0 + t->n, panel->any_hi);
    if (from >= to) return false;
    t->j0 = t->open = from;
    t->shut = to;
    t->n = to - from;
    t->masked = from < panel->all_lo || to > panel->all_hi;
    bool rules = false;
    for (int i = 0; i < MASK_RULES; i++) rules = rules || mask_rules[i].on(t);
    if (!rules && !t->masked) return true;
    if (!rules && panel->stairs) {
        mask_stairs(t);
        return true;
    }
    mask_ranges(t);
    for (int i = 0; i < MASK_RULES; i++)
        if (mask_rules[i].on(t)) mask_rules[i].apply(t);
    return mask_settle(t);
}

bool attn__tile_open(const attn__tile *t, int64_t first, int64_t n)
{
    const uint64_t all = attn__low_bits(t->panel->n);
    bool open = true;
    for (int64_t j = first; t->masked && open && j < first + n; j++)
        open = (t->allowed[j] & all) == all;
    return open;
}
