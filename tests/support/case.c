/* SPDX-License-Identifier: MIT
 * A random case: drawn, run, poisoned, printed. Drawing itself is in draw_*.c. */
#include "support/draw.h"

#include <math.h>

typedef struct case_option {
    const char *name;
    int percent;
} case_option;

/* Options that came later are drawn from streams of their own, so that the cases before them
 * stay what they are. */
#define CASE_LATER UINT64_C(0x1A7E0123)

static const case_option options[] = {
#define OPTION(name, percent) {#name, percent},
#include "support/options.def"
#undef OPTION
};

bool draw_wants(const draw *d, test_option_index option)
{
    return (d->want >> option & 1) != 0;
}

void draw_on(draw *d, test_option_index option)
{
    d->c->options |= (uint64_t)1 << option;
}

void draw_off(draw *d, test_option_index option)
{
    d->want &= ~((uint64_t)1 << option);
}

attn_dtype draw_float(draw *d)
{
    static const attn_dtype types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_BF16, ATTN_DTYPE_F16,
                                       ATTN_DTYPE_F64};
    return draw_wants(d, TEST_INDEX_DTYPES) ? types[test_rng_range(&d->rng, 0, 3)]
                                            : ATTN_DTYPE_F32;
}

attn_dtype draw_int(draw *d)
{
    return test_rng_chance(&d->rng, 50) ? ATTN_DTYPE_I64 : ATTN_DTYPE_I32;
}

attn_tensor draw_input(draw *d, attn_dtype dtype, int rank, const int64_t *shape)
{
    if (!draw_wants(d, TEST_INDEX_LAYOUT)) return test_tensor(&d->c->arena, dtype, rank, shape);
    return test_tensor_layout(&d->c->arena, &d->rng, dtype, rank, shape, true);
}

static void case_wants(draw *d, const test_profile *profile)
{
    uint64_t allow = profile->allow ? profile->allow : TEST_ALL_OPTIONS;
    test_rng later = test_rng_make(d->c->seed ^ CASE_LATER);
    for (int i = 0; i < TEST_N_OPTIONS; i++)
        if (test_rng_chance(i < TEST_INDEX_L2 ? &d->rng : &later, options[i].percent))
            d->want |= (uint64_t)1 << i;
    /* One case in eight is plain: bare combinations must not go short. */
    if (test_rng_chance(&d->rng, 12)) d->want &= TEST_OPTION(LAYOUT) | TEST_OPTION(GQA);
    d->want = (d->want & allow) | profile->force;
}

static void case_numbers(draw *d)
{
    static const double scales[] = {1, -0.5, 0.3, 0.0625, ATTN_ZERO};
    attn_spec *s = &d->c->spec;
    if (draw_wants(d, TEST_INDEX_SCALE)) {
        s->scale = scales[test_rng_range(&d->rng, 0, 4)];
        draw_on(d, TEST_INDEX_SCALE);
    }
    if (draw_wants(d, TEST_INDEX_SOFTCAP)) {
        s->softcap = 0.5 + 30 * test_rng_uniform(&d->rng) * test_rng_uniform(&d->rng);
        draw_on(d, TEST_INDEX_SOFTCAP);
    }
    if (draw_wants(d, TEST_INDEX_DROPOUT)) {
        s->dropout = test_rng_uniform(&d->rng) * 0.95;
        s->seed = test_rng_next(&d->rng);
        draw_on(d, TEST_INDEX_DROPOUT);
    }
    d->c->isa_choice = (int)test_rng_range(&d->rng, 0, 59);
    d->c->threads = 1;
    if (draw_wants(d, TEST_INDEX_THREADS)) {
        d->c->threads = (int)test_rng_range(&d->rng, 2, 3);
        draw_on(d, TEST_INDEX_THREADS);
    }
    if (draw_wants(d, TEST_INDEX_POISON)) draw_on(d, TEST_INDEX_POISON);
}

static void case_spans(const draw *d)
{
    test_case *c = d->c;
    c->n_seq = d->N;
    c->q_packed = d->q.packed;
    c->k_packed = d->k.packed;
    for (int64_t b = 0; b < d->N; b++) {
        int64_t prefix = c->spec.prefix;
        if (c->args.prefix.dtype) prefix = (int64_t)test_get(&c->args.prefix, &b);
        c->span[b] = (test_span){.q_batch = d->q.packed ? 0 : b,
                                 .q_row = d->q.start[b],
                                 .T = d->q.len[b],
                                 .k_batch = d->k.packed ? 0 : b,
                                 .k_row = d->k.start[b],
                                 .S = d->k.len[b],
                                 .offset = d->offset[b],
                                 .prefix = prefix};
    }
}

void test_case_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    draw d = {.rng = test_rng_make(seed), .c = c};
    *c = (test_case){.seed = seed};
    c->spec.size = sizeof c->spec;
    c->args.size = sizeof c->args;
    case_wants(&d, profile);
    draw_sizes(&d, profile);
    draw_sequences(&d);
    draw_positions(&d);
    draw_tensors(&d);
    draw_masks(&d);
    draw_biases(&d);
    draw_callbacks(&d);
    case_numbers(&d);
    case_spans(&d);
    d.rng = test_rng_make(seed ^ ~CASE_LATER);
    draw_scores(&d);
}

void test_case_free(test_case *c)
{
    test_arena_reset(&c->arena);
}

attn_status test_case_run(test_case *c, test_contexts *contexts, attn_error *error)
{
    int isa = contexts->usable[c->isa_choice % contexts->n_usable];
    return attn_forward(test_contexts_get(contexts, isa, c->threads), &c->spec, &c->args,
                        error);
}

/* Rows that share memory with others cannot be poisoned alone. */
static bool case_shares(const attn_tensor *t)
{
    for (int i = 0; i < t->rank; i++)
        if (t->stride[i] == 0 && t->shape[i] > 1) return true;
    return t->rank != 4;
}

static bool case_key_used(const oracle_result *r, int64_t batches, const int64_t *index)
{
    for (int64_t b = 0; b < r->KB; b++)
        if ((batches == 1 || b == index[0] || r->KB == 1) &&
            r->key_used[(b * r->G + index[1]) * r->S + index[2]])
            return true;
    return false;
}

static void case_poison(const attn_tensor *t, const oracle_result *r)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (case_shares(t) || test_tensor_empty(t)) return;
    do
        if (!case_key_used(r, t->shape[0], index)) test_put(t, index, (double)NAN);
    while (test_index_next(t, index));
}

void test_case_poison(test_case *c, const oracle_result *r)
{
    bool shown = c->args.scores.dtype && c->spec.scores_stage != ATTN_SCORES_MASKED;
    if (!(c->options & TEST_OPTION(POISON))) return;
    if (!shown) case_poison(&c->args.k, r);
    case_poison(&c->args.v, r);
}

/* ---- printing ---- */

static void case_print_tensor(FILE *file, const char *name, const attn_tensor *t)
{
    if (t->dtype == ATTN_DTYPE_NONE) return;
    fprintf(file, "  %-10s %-4s shape", name, attn_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++) fprintf(file, " %lld", (long long)t->shape[i]);
    fprintf(file, "  strides");
    for (int i = 0; i < t->rank; i++) fprintf(file, " %lld", (long long)t->stride[i]);
    bool values = t->rank == 1 && attn_dtype_size(t->dtype) >= 4 && t->dtype >= ATTN_DTYPE_I64;
    if (values) fprintf(file, "  values");
    for (int64_t i = 0; values && i < t->shape[0]; i++) fprintf(file, " %g", test_get(t, &i));
    fprintf(file, "\n");
}

static void case_print_spec(FILE *file, const attn_spec *s)
{
    fprintf(file,
            "  scale %g softcap %g causal %d softmax1 %d align %d offset %lld prefix %lld\n",
            s->scale, s->softcap, s->causal, s->softmax1, (int)s->align, (long long)s->offset,
            (long long)s->prefix);
    fprintf(file, "  window %d (%lld, %lld) chunk %lld heads %d blocks %lld x %lld\n",
            s->window.on, (long long)s->window.left, (long long)s->window.right,
            (long long)s->chunk, (int)s->head_map, (long long)s->block_q,
            (long long)s->block_k);
    fprintf(file, "  rope %d dims %lld base %g; rel %d causal %d max %lld grid %lld x %lld\n",
            (int)s->rope.kind, (long long)s->rope.dims, s->rope.base, (int)s->rel.kind,
            s->rel.causal_buckets, (long long)s->rel.max_distance, (long long)s->rel.height,
            (long long)s->rel.width);
    fprintf(file, "  score %d center width %g sigma %g\n", (int)s->score, s->center_width,
            s->center_sigma);
    fprintf(file, "  normaliser %d shift %g count %d mean %d alpha %g top_k %lld\n",
            (int)s->normaliser, s->norm_shift, s->norm_count, s->norm_mean, s->alpha,
            (long long)s->top_k);
    fprintf(file, "  dropout %g seed %llu stage %d tile %d classify %d\n", s->dropout,
            (unsigned long long)s->seed, (int)s->scores_stage, s->tile != NULL,
            s->classify != NULL);
}

void test_case_print(FILE *file, const test_case *c)
{
    fprintf(file, "case 0x%llx:", (unsigned long long)c->seed);
    for (int i = 0; i < TEST_N_OPTIONS; i++)
        if (c->options >> i & 1) fprintf(file, " %s", options[i].name);
    fprintf(file, "\n  isa choice %d, threads %d\n", c->isa_choice, c->threads);
    case_print_spec(file, &c->spec);
#define TENSOR(name, kind) case_print_tensor(file, #name, &c->args.name);
#include "support/tensors.def"
#undef TENSOR
}
