/* SPDX-License-Identifier: MIT
 * Strided sparse attention: the last few keys, and every stride-th one before.
 *
 *     near(i) = { j : i - stride < j <= i }      far(i) = { j <= i : stride divides i - j }
 *
 * q, k B H T D, v B H T E, causal always. sets=merged: each head has one softmax over both
 * sets; sets=alternate: heads 0, 2 ... see near, heads 1, 3 ... see far alone. With stride
 * about sqrt(T) two layers reach every earlier token at a cost of T sqrt(T). It is made for
 * data with a period (rows of a picture, beats of music); for text see fixed.
 * The far keys of i are its residue class, a short causal sequence; merged, i itself is in
 * near, and the two softmaxes become one by their log-sums. mask B T hides keys. Child et al.
 * 2019 (1904.10509). */
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

enum { STRIDE, SETS };
enum { MERGED, ALTERNATE };
static const attn_param params[] = {
    [STRIDE] = {"stride", 'i', "64", NULL, "near keys, and from one far key to the next"},
    [SETS] = {"sets", 'e', "merged", "merged|alternate", "which keys a head sees"},
    {0}};

static bool strided_sees(const void *user, const int64_t *at)
{
    const attn_value *p = user;
    const int64_t apart = at[1] - at[2];
    const bool near = apart < p[STRIDE].i, far = apart % p[STRIDE].i == 0;
    if (apart < 0) return false;
    return p[SETS].i == MERGED ? near || far : at[0] % 2 ? far : near;
}

static attn_var strided_near(const attn__build *b, const attn_attention_vars *vars,
                             attn_var *lse)
{
    const attn_spec spec =
        ATTN_SPEC(.window = {.on = true, .left = b->params[STRIDE].i - 1, .right = 0});
    return attn__attend_part(b->t, &spec, vars, b->in[MASK], (attn_tensor){0}, lse);
}

/* own: 0 with the query itself, -1 without. */
static attn_var strided_far(const attn__build *b, const attn_attention_vars *vars, int64_t own,
                            attn_var *lse)
{
    const attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_OFFSET, .offset = own);
    return attn__attend_classes(b->t, &spec, vars, b->in[MASK], b->params[STRIDE].i, lse);
}

static void strided_build(const attn__build *b)
{
    const attn_attention_vars all = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    attn_var part[2], lse[2];
    if (!attn__build_need(b, b->params[STRIDE].i > 0, ATTN_E_PARAM, "stride",
                          "must be positive", 1, b->params[STRIDE].i))
        return;
    attn__build_flags(b, PATTERN, strided_sees, b->params);
    if (b->params[SETS].i == ALTERNATE) {
        const attn_attention_vars even = attn__heads_every_other(b->t, &all, 0);
        const attn_attention_vars odd = attn__heads_every_other(b->t, &all, 1);
        b->out[OUT] = attn__heads_alternate(b->t, strided_near(b, &even, NULL),
                                            strided_far(b, &odd, 0, NULL));
        return;
    }
    part[0] = strided_near(b, &all, &lse[0]);
    part[1] = strided_far(b, &all, -1, &lse[1]);
    b->out[OUT] = attn__merge(b->t, 2, part, lse);
}

const attn_mech attn__mech_strided = {
    .name = "strided",
    .family = "sparse",
    .about = "the last stride keys and every stride-th one before",
    .formula =
        "out_i = softmax_N(q_i k_j / sqrt(D)) v_j, N: i - stride < j <= i, or stride | i - j",
    .cost = "n sqrt n: time T (stride + T / stride) (D + E), memory T (D + E)",
    .source = "1904.10509",
    .sizes = "B=1,H=2,T=8,D=4,E=4",
    .grows = "T",
    .example = "compute strided -s stride=3 --random T=12 --want out,pattern",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = strided_build,
};
