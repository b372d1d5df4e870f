/* SPDX-License-Identifier: MIT
 * Prints random cases and the oracle's answers as text, for test_oracle.py, which works them
 * out anew with numpy. Usage: oracle_dump SEED CASES [PAIRS]
 *
 * A line a thing: "case seed", "spec name value", "tensor name shape : values" (row major,
 * after the views were followed), "result name shape : values", "end". */
#include <inttypes.h>
#include <stdlib.h>

#include "support/support.h"

static void dump_tensor(const char *name, const attn_tensor *t)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (t->dtype == ATTN_DTYPE_NONE) return;
    printf("tensor %s %s", name, attn_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++) printf(" %" PRId64, t->shape[i]);
    printf(" :");
    if (!test_tensor_empty(t)) {
        do printf(" %.17g", test_get(t, index));
        while (test_index_next(t, index));
    }
    printf("\n");
}

static void dump_result(const char *name, const double *x, const int64_t shape[4])
{
    int64_t n = shape[0] * shape[1] * shape[2] * shape[3];
    printf("result %s f64 %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " :", name, shape[0],
           shape[1], shape[2], shape[3]);
    for (int64_t i = 0; i < n; i++) printf(" %.17g", x[i]);
    printf("\n");
}

static void dump_int(const char *name, int64_t value)
{
    printf("spec %s %" PRId64 "\n", name, value);
}

static void dump_spec(const test_case *c)
{
    const attn_spec *s = &c->spec;
    printf("spec scale %.17g\nspec softcap %.17g\nspec base %.17g\nspec dropout %.17g\n",
           s->scale, s->softcap, s->rope.base, s->dropout);
    printf("spec center_width %.17g\nspec center_sigma %.17g\n", s->center_width,
           s->center_sigma);
    printf("spec seed %" PRIu64 "\n", s->seed);
    dump_int("causal", s->causal);
    dump_int("softmax1", s->softmax1);
    dump_int("window", s->window.on);
    dump_int("left", s->window.left);
    dump_int("right", s->window.right);
    dump_int("prefix", s->prefix);
    dump_int("chunk", s->chunk);
    dump_int("align", (int64_t)s->align);
    dump_int("offset", s->offset);
    dump_int("tiled", s->head_map == ATTN_HEADS_TILED);
    dump_int("rope", (int64_t)s->rope.kind);
    dump_int("dims", s->rope.dims);
    dump_int("rel", (int64_t)s->rel.kind);
    dump_int("causal_buckets", s->rel.causal_buckets);
    dump_int("max_distance", s->rel.max_distance);
    dump_int("height", s->rel.height);
    dump_int("width", s->rel.width);
    dump_int("block_q", s->block_q);
    dump_int("block_k", s->block_k);
    dump_int("stage", (int64_t)s->scores_stage);
    dump_int("tile", s->tile != NULL);
    dump_int("period", c->user.period);
    dump_int("score", (int64_t)s->score);
}

static void dump_case(const test_case *c, const oracle_result *r)
{
    printf("case %" PRIu64 "\n", c->seed);
    dump_spec(c);
#define TENSOR(name, kind)                                                                     \
    if (kind != 'o') dump_tensor(#name, &c->args.name);
#include "support/tensors.def"
#undef TENSOR
    dump_result("out", r->out, (int64_t[]){r->B, r->H, r->T, r->E});
    dump_result("mass", r->mass, (int64_t[]){r->B, r->H, r->T, r->E});
    dump_result("lse", r->lse, (int64_t[]){r->B, r->H, r->T, 1});
    dump_result("kappa", r->kappa, (int64_t[]){r->B, r->H, r->T, 1});
    dump_result("weights", r->weights, (int64_t[]){r->N, r->H, r->W_T, r->W_S});
    dump_result("scores", r->scores, (int64_t[]){r->N, r->H, r->W_T, r->W_S});
    printf("end\n");
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    long cases = argc > 2 ? strtol(argv[2], NULL, 0) : 10;
    test_profile profile = {.pairs = argc > 3 ? strtol(argv[3], NULL, 0) : 60};
    for (long i = 0; i < cases; i++) {
        test_case c;
        oracle_result r;
        test_case_draw(&c, seed + (uint64_t)i, &profile);
        if (!oracle_attention(&r, &c.spec, &c.args, ORACLE_FLIP_NONE)) return 1;
        dump_case(&c, &r);
        oracle_free(&r);
        test_case_free(&c);
    }
    return 0;
}
