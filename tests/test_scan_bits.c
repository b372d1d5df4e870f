/* SPDX-License-Identifier: MIT
 * The bits of scans: the same for every instruction set and number of threads, for a sequence
 * cut anywhere (down to one token at a time) with its state handed on in f64, for sequences
 * packed, padded or alone; and frozen as hashes.
 *
 *   ATTN_CASES=n  random cases of each kind (60)   ATTN_SEED=s  the first of them
 *   ATTN_MANIFEST_WRITE=1  print the hashes instead of comparing */
#include "scan_case.h"

#include <stdio.h>
#include <stdlib.h>

#include "contexts.h"

enum { SCAN_HASHES = 8, SCAN_HASHED = 12 };

/* Every output and gradient of a case. */
static const size_t scan_results[] = {
    offsetof(attn_scan_args, out),     offsetof(attn_scan_args, final_state),
    offsetof(attn_scan_args, final_z), offsetof(attn_scan_args, d_q),
    offsetof(attn_scan_args, d_k),     offsetof(attn_scan_args, d_v),
    offsetof(attn_scan_args, d_decay), offsetof(attn_scan_args, d_beta),
    offsetof(attn_scan_args, d_state), offsetof(attn_scan_args, d_state_z)};
enum { SCAN_RESULTS = sizeof scan_results / sizeof scan_results[0], SCAN_OUTPUTS = 3 };

static attn_tensor *scan_at(attn_scan_args *args, int i)
{
    return (attn_tensor *)(void *)((char *)args + scan_results[i]);
}

/* args with dense results of its own. */
static attn_scan_args scan_fresh(scan_case *c)
{
    attn_scan_args args = c->args;
    for (int i = 0; i < SCAN_RESULTS; i++) {
        attn_tensor *t = scan_at(&args, i);
        if (t->dtype) *t = test_tensor(&c->arena, t->dtype, t->rank, t->shape);
    }
    return args;
}

static void scan_same(const scan_case *c, const char *how, attn_scan_args *a, attn_scan_args *b)
{
    for (int i = 0; i < SCAN_RESULTS; i++)
        if (scan_at(a, i)->dtype && !test_same_bits(*scan_at(a, i), *scan_at(b, i)))
            fail_msg("result %d differs: %s; ATTN_SEED=%llu", i, how,
                     (unsigned long long)c->seed);
}

static attn_tensor scan_ask(scan_case *c, const attn_tensor *t)
{
    return t->dtype ? scan_tensor(c, scan_dtype(c), t->rank, t->shape, false)
                    : (attn_tensor){0};
}

/* A case with all gradients asked for. */
static void scan_draw_all(scan_case *c, uint64_t seed, bool plain)
{
    scan_draw(c, seed, plain, seed % 3 == 0 ? 200 : 40, seed % 2 == 0 ? 70 : 20);
    attn_scan_args *a = &c->args;
    a->d_out = scan_normal(c, a->out.rank, a->out.shape, 1);
    if (a->final_state.dtype) a->d_final_state = scan_normal(c, 4, a->final_state.shape, 1);
    a->d_q = scan_ask(c, &a->q);
    a->d_k = scan_ask(c, &a->k);
    a->d_v = scan_ask(c, &a->v);
    a->d_decay = scan_ask(c, &a->decay);
    a->d_beta = scan_ask(c, &a->beta);
    a->d_state = scan_ask(c, &a->state);
    a->d_state_z = scan_ask(c, &a->state_z);
}

static void scan_both(attn_ctx *ctx, const scan_case *c, const attn_scan_args *args)
{
    scan_run(ctx, c, args, false);
    scan_run(ctx, c, args, true);
}

/* ---- contexts ---------------------------------------------------------------------------- */

static void scan_contexts_one(uint64_t seed)
{
    static const int threads[] = {1, 2, 3, 8};
    static scan_case c;
    char how[80];
    scan_draw_all(&c, seed, false);
    attn_scan_args want = scan_fresh(&c);
    scan_both(test_contexts_get(&contexts, contexts.usable[0], 1), &c, &want);
    for (int isa = 0; isa < contexts.n_usable; isa++)
        for (int t = 0; t < 4; t++) {
            attn_scan_args got = scan_fresh(&c);
            scan_both(test_contexts_get(&contexts, contexts.usable[isa], threads[t]), &c, &got);
            snprintf(how, sizeof how, "%s, %d threads", attn_isa_name(contexts.usable[isa]),
                     threads[t]);
            scan_same(&c, how, &want, &got);
        }
    scan_both(NULL, &c, &c.args);
    scan_same(&c, "other layouts", &want, &c.args);
    scan_free(&c);
}

/* ---- cuts -------------------------------------------------------------------------------- */

/* Tokens [from, to) of a tensor that has them in dimension 2. */
static attn_tensor scan_cut(attn_tensor t, int64_t from, int64_t to)
{
    return t.dtype ? attn_tensor_slice(t, 2, from, to) : t;
}

static attn_scan_args scan_piece(const scan_case *c, const attn_scan_args *whole, int64_t from,
                                 int64_t to)
{
    attn_scan_args a = *whole;
    attn_tensor *const cut[] = {&a.q, &a.k, &a.v, &a.out, &a.d_out, &a.d_q, &a.d_k, &a.d_v};
    for (int i = 0; i < 8; i++) *cut[i] = scan_cut(*cut[i], from, to);
    if (c->args.decay.rank > 2) a.decay = scan_cut(a.decay, from, to);
    if (c->args.beta.rank > 2) a.beta = scan_cut(a.beta, from, to);
    return a;
}

/* Causal, not packed, no lengths, states in f64. */
static void scan_draw_cuttable(scan_case *c, uint64_t seed)
{
    for (uint64_t x = seed;; x += 1000003) {
        scan_draw_all(c, x, true);
        const attn_scan_args *a = &c->args;
        if (!c->packed && !c->spec.whole && !a->k_len.dtype && a->q.rank == 4) return;
        scan_free(c);
    }
}

static attn_tensor scan_state(scan_case *c, int rank)
{
    return test_tensor(&c->arena, ATTN_DTYPE_F64, rank, (int64_t[]){c->N, c->G, c->D, c->E});
}

static void scan_states(scan_case *c)
{
    attn_scan_args *a = &c->args;
    a->final_state = scan_state(c, 4);
    if (!a->state.dtype) a->state = scan_state(c, 4);
    if (!c->spec.normalise) return;
    a->final_z = scan_state(c, 3);
    if (!a->state_z.dtype) a->state_z = scan_state(c, 3);
}

/* Forward by pieces of the given length, or of random ones. */
static void scan_forward_pieces(scan_case *c, attn_ctx *ctx, const attn_scan_args *whole,
                                int64_t length)
{
    attn_scan_args all = *whole;
    all.d_out = (attn_tensor){0};
    if (c->S > 0) assert_int_equal(attn_tensor_copy(all.final_state, all.state, NULL), ATTN_OK);
    if (c->S > 0 && c->spec.normalise)
        assert_int_equal(attn_tensor_copy(all.final_z, all.state_z, NULL), ATTN_OK);
    all.state = all.final_state; /* stepped on in its own place */
    all.state_z = all.final_z;
    for (int64_t from = 0; from < c->S;) {
        const int64_t n = length ? length : test_rng_range(&c->rng, 1, c->S);
        const int64_t to = from + n < c->S ? from + n : c->S;
        const attn_scan_args piece = scan_piece(c, &all, from, to);
        scan_run(ctx, c, &piece, false);
        from = to;
    }
}

static void scan_cuts_one(uint64_t seed)
{
    static scan_case c;
    scan_draw_cuttable(&c, seed);
    scan_states(&c);
    attn_ctx *ctx = test_contexts_get(&contexts, contexts.usable[contexts.n_usable - 1], 2);
    attn_scan_args want = scan_fresh(&c), steps = scan_fresh(&c), pieces = scan_fresh(&c);
    scan_run(ctx, &c, &want, false);
    if (c.S > 0) {
        scan_forward_pieces(&c, ctx, &steps, 1);
        scan_same(&c, "one token at a time", &want, &steps);
        scan_forward_pieces(&c, NULL, &pieces, 0);
        scan_same(&c, "in pieces", &want, &pieces);
    }
    scan_free(&c);
}

/* Gradients of two pieces, the later one first, its d_state handed on as d_final_state. The
 * decay is left out: its running sum begins anew with the states at the cut. */
static void scan_back_cut_one(uint64_t seed)
{
    static scan_case c;
    scan_draw_cuttable(&c, seed);
    scan_states(&c);
    c.args.d_decay = c.args.d_beta = c.args.d_final_state = (attn_tensor){0};
    if (c.args.beta.rank == 3) c.args.d_beta = scan_ask(&c, &c.args.beta);
    c.args.d_state = scan_state(&c, 4);
    if (c.spec.normalise) c.args.d_state_z = scan_state(&c, 3);
    attn_scan_args want = scan_fresh(&c), got = scan_fresh(&c), middle = scan_fresh(&c);
    const int64_t cut = c.S / 3;
    scan_both(NULL, &c, &want);
    attn_scan_args first = scan_piece(&c, &got, 0, cut), last = scan_piece(&c, &got, cut, c.S);
    if (c.args.d_beta.dtype) {
        first.d_beta = scan_cut(got.d_beta, 0, cut);
        last.d_beta = scan_cut(got.d_beta, cut, c.S);
    }
    first.final_state = last.state = middle.final_state;
    first.final_z = last.state_z = middle.final_z;
    first.d_final_state = last.d_state = middle.d_state;
    first.d_final_z = last.d_state_z = middle.d_state_z;
    scan_run(NULL, &c, &first, false);
    scan_run(NULL, &c, &last, false);
    scan_run(NULL, &c, &last, true);
    scan_run(NULL, &c, &first, true);
    scan_same(&c, "gradients of two pieces", &want, &got);
    scan_free(&c);
}

/* ---- sequences alone --------------------------------------------------------------------- */

static attn_tensor scan_rows_of(attn_tensor t, int64_t row, int64_t from, int64_t n)
{
    if (!t.dtype) return t;
    return attn_tensor_slice(attn_tensor_slice(t, 0, row, row + 1), 2, from, from + n);
}

static attn_tensor scan_state_of(attn_tensor t, int64_t b)
{
    return t.dtype ? attn_tensor_slice(t, 0, b, b + 1) : t;
}

static void scan_alone_one(uint64_t seed)
{
    static scan_case c;
    scan_draw_all(&c, seed, false);
    attn_scan_args *w = &c.args;
    scan_run(NULL, &c, w, false);
    for (int64_t b = 0; w->q.rank == 4 && b < c.N; b++) {
        const oracle_scan_span *s = &c.span[b];
        const attn_tensor out = scan_rows_of(w->out, s->row, s->q0, s->T);
        attn_scan_args a =
            ATTN_SCAN_ARGS(.q = scan_rows_of(w->q, s->row, s->q0, s->T),
                           .k = scan_rows_of(w->k, s->row, s->k0, s->S),
                           .v = scan_rows_of(w->v, s->row, s->k0, s->S), .decay = w->decay,
                           .beta = w->beta, .state = scan_state_of(w->state, b),
                           .state_z = scan_state_of(w->state_z, b));
        if (w->decay.rank > 2) a.decay = scan_rows_of(w->decay, s->row, s->k0, s->S);
        if (w->beta.rank > 2) a.beta = scan_rows_of(w->beta, s->row, s->k0, s->S);
        a.out = test_tensor(&c.arena, w->out.dtype, 4, out.shape);
        scan_run(NULL, &c, &a, false);
        if (!test_same_bits(a.out, out))
            fail_msg("sequence %d alone; ATTN_SEED=%llu", (int)b, (unsigned long long)seed);
    }
    scan_free(&c);
}

/* ---- frozen ------------------------------------------------------------------------------ */

static const uint64_t scan_hashes[SCAN_HASHES] = {
    UINT64_C(0x4792460ada688825), UINT64_C(0xbdc5053f344edc4f), UINT64_C(0x6d4bb0287646b8ca),
    UINT64_C(0x22eb532c5f8870b4), UINT64_C(0x7acc0c337812e3cc), UINT64_C(0x41bf1c466fa0b4ae),
    UINT64_C(0x4dca5aca33e65d7f), UINT64_C(0x295e2335cd670260)};

static uint64_t scan_hash(int group)
{
    static scan_case c;
    uint64_t hash = 1;
    for (int i = 0; i < SCAN_HASHED; i++) {
        scan_draw_all(&c, UINT64_C(0x5CA70000) + (uint64_t)(group * SCAN_HASHED + i), false);
        scan_both(NULL, &c, &c.args);
        for (int r = 0; r < SCAN_RESULTS; r++)
            if (scan_at(&c.args, r)->dtype) hash = test_hash_bits(*scan_at(&c.args, r), hash);
        scan_free(&c);
    }
    return hash;
}

static void scan_frozen(void **state)
{
    (void)state;
    for (int group = 0; group < SCAN_HASHES; group++) {
        const uint64_t hash = scan_hash(group);
        if (getenv("ATTN_MANIFEST_WRITE"))
            printf("UINT64_C(0x%016llx),\n", (unsigned long long)hash);
        else if (hash != scan_hashes[group])
            fail_msg("group %d: 0x%016llx, frozen as 0x%016llx", group,
                     (unsigned long long)hash, (unsigned long long)scan_hashes[group]);
    }
}

/* ---- all of them ------------------------------------------------------------------------- */

static void scan_each(void (*one)(uint64_t seed))
{
    const int64_t first = test_env_int("ATTN_SEED", 1);
    const int64_t n = test_env_int("ATTN_CASES", test_env_share(60));
    for (int64_t i = 0; i < n; i++) one((uint64_t)(first + i));
}

#define SCAN_TEST(name)                                                                        \
    static void name(void **state)                                                             \
    {                                                                                          \
        (void)state;                                                                           \
        scan_each(name##_one);                                                                 \
    }
SCAN_TEST(scan_contexts)
SCAN_TEST(scan_cuts)
SCAN_TEST(scan_back_cut)
SCAN_TEST(scan_alone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_contexts), cmocka_unit_test(scan_cuts),
        cmocka_unit_test(scan_back_cut), cmocka_unit_test(scan_alone),
        cmocka_unit_test(scan_frozen),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
