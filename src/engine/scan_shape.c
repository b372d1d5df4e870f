/* SPDX-License-Identifier: MIT
 * Shapes of a scan: every tensor of scan_args.def is lifted to its full rank, its letters are
 * bound or compared. The order of the list binds q, k, v first. */
#include <string.h>

#include "engine/scan.h"

const attn__scan_arg attn__scan_arg_list[ATTN__N_SCAN_ARGS] = {
#define SCAN_ARG(field, calls, kind, dims, of)                                                 \
    {#field, offsetof(attn_scan_args, field), calls, kind, dims, of},
#include "engine/scan_args.def"
#undef SCAN_ARG
};

typedef struct scan_letters {
    int64_t size['z' + 1]; /* by letter; -1 not bound */
} scan_letters;

static bool scan_used(int i, bool backward)
{
    return attn__scan_arg_list[i].calls[backward] != '-';
}

/* The shape of this rank among "G|GD|aGS", NULL when there is none; the last one is full. */
static const char *scan_form(const char *dims, int rank, const char **full)
{
    const char *found = NULL;
    *full = dims;
    for (const char *at = dims; at; at = strchr(at, '|')) {
        at += *at == '|';
        if ((int)strcspn(at, "|") == rank) found = at;
        *full = at;
    }
    return found;
}

/* Dimensions of the full shape that the form lacks are 1, with stride 0. */
static void scan_lift(attn_tensor *t, const char *form, const char *full)
{
    attn_tensor lifted = *t;
    int from = 0;
    lifted.rank = (int32_t)strlen(full);
    for (int i = 0; i < ATTN_MAX_RANK; i++) {
        const bool has = i < lifted.rank && from < t->rank && form[from] == full[i];
        lifted.shape[i] = has ? t->shape[from] : 1;
        lifted.stride[i] = has && lifted.shape[i] != 1 ? t->stride[from] : 0;
        from += has;
    }
    *t = lifted;
}

static attn_status scan_bind(scan_letters *letters, const attn__scan_arg *arg,
                             const attn_tensor *t, const char *form, const char *full,
                             attn_error *error)
{
    const size_t n = strcspn(form, "|");
    for (int i = 0; full[i]; i++) {
        int64_t *size = &letters->size[(unsigned char)full[i]];
        const bool there = memchr(form, full[i], n) != NULL;
        if (!there && arg->kind == 'b') continue;
        if (*size < 0) *size = t->shape[i];
        if (*size != t->shape[i])
            return attn__fail_count(
                error, arg->kind == 'i' && full[i] == 'n' ? ATTN_E_CUSEQ : ATTN_E_SHAPE,
                arg->name, "a dimension disagrees with the other tensors", *size, t->shape[i]);
    }
    return ATTN_OK;
}

static attn_status scan_like(const attn_scan_args *args, int i, attn_error *error)
{
    const attn__scan_arg *arg = &attn__scan_arg_list[i];
    const attn_tensor *t = attn__scan_arg_in(args, i);
    if (!arg->of) return ATTN_OK;
    for (int o = 0; o < ATTN__N_SCAN_ARGS; o++) {
        if (strcmp(attn__scan_arg_list[o].name, arg->of) != 0) continue;
        const attn_tensor *of = attn__scan_arg_in(args, o);
        if (!attn__present(of))
            return attn__fail(error, ATTN_E_PARAM, arg->name, "belongs to a tensor not given");
        if (t->rank != of->rank)
            return attn__fail_count(error, ATTN_E_RANK, arg->name,
                                    "must have the dimensions of its tensor", of->rank,
                                    t->rank);
    }
    return ATTN_OK;
}

static attn_status scan_one(attn__scan_problem *p, scan_letters *letters,
                            const attn_scan_args *args, int i, attn_error *error)
{
    const attn__scan_arg *arg = &attn__scan_arg_list[i];
    attn_tensor *t = attn__scan_arg_of(&p->at, i);
    const char *full;
    if (!attn__present(t)) return ATTN_OK;
    ATTN_TRY(attn__tensor_check(t, arg->name, error));
    if (arg->kind == 'i' ? !attn__dtype_is_int(t->dtype) : !attn__dtype_is_float(t->dtype))
        return attn__fail(error, ATTN_E_DTYPE, arg->name,
                          arg->kind == 'i' ? "must hold integers"
                                           : "must be f64, f32, bf16 or f16");
    if (p->with_data && !t->data && attn_tensor_count(*t) > 0)
        return attn__fail(error, ATTN_E_NULL, arg->name, "has elements but no data");
    const char *form = scan_form(arg->dims, t->rank, &full);
    if (!form)
        return attn__fail_count(error, ATTN_E_RANK, arg->name,
                                "has too many or too few dimensions", (int64_t)strlen(full),
                                t->rank);
    ATTN_TRY(scan_like(args, i, error));
    if (arg->calls[p->backward] == 'o' && attn__tensor_self_overlap(t))
        return attn__fail(error, ATTN_E_ALIAS, arg->name, "an output reaches an element twice");
    scan_lift(t, form, full);
    return scan_bind(letters, arg, t, form, full, error);
}

static attn_status scan_required(const attn_scan_args *at, attn_error *error)
{
    for (int i = ATTN__SCAN_ARG_q; i <= ATTN__SCAN_ARG_v; i++)
        if (!attn__present(attn__scan_arg_in(at, i)))
            return attn__fail(error, ATTN_E_NULL, attn__scan_arg_list[i].name, "is required");
    return ATTN_OK;
}

/* What the cumulative lengths say before anything is compared. */
static attn_status scan_sequences(attn__scan_problem *p, scan_letters *letters,
                                  attn_error *error)
{
    const attn_tensor *cu = &p->at.cu_k;
    memset(letters, -1, sizeof *letters);
    p->packed = attn__present(cu);
    if (!p->packed) return ATTN_OK;
    if (cu->rank != 1 || cu->shape[0] < 1)
        return attn__fail(error, ATTN_E_CUSEQ, "cu_k",
                          "needs one dimension of at least 1 element");
    letters->size['n'] = cu->shape[0];
    letters->size['N'] = cu->shape[0] - 1;
    letters->size['a'] = 1;
    return ATTN_OK;
}

static attn_status scan_heads(attn__scan_problem *p, attn_error *error)
{
    p->M = p->G > 0 ? p->H / p->G : 0;
    if (p->G > 0 ? p->H % p->G == 0 : p->H == 0) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_HEADS, "k",
                            "the heads of q must be a multiple of the heads of k", p->H, p->G);
}

attn_status attn__scan_shapes_check(attn__scan_problem *p, const attn_scan_args *args,
                                    attn_error *error)
{
    scan_letters letters;
    const int64_t *size = letters.size;
    if (!args) return attn__fail(error, ATTN_E_NULL, "args", "is required");
    if (args->size != sizeof *args)
        return attn__fail_count(error, ATTN_E_VERSION, "args",
                                "size must be that of attn_scan_args: use ATTN_SCAN_ARGS()",
                                (int64_t)sizeof *args, (int64_t)args->size);
    p->at = *args;
    for (int i = 0; i < ATTN__N_SCAN_ARGS; i++)
        if (!scan_used(i, p->backward)) *attn__scan_arg_of(&p->at, i) = (attn_tensor){0};
    ATTN_TRY(scan_required(&p->at, error));
    ATTN_TRY(scan_sequences(p, &letters, error));
    for (int i = 0; i < ATTN__N_SCAN_ARGS; i++) {
        if (i == ATTN__SCAN_ARG_k && letters.size['N'] < 0) letters.size['N'] = size['a'];
        ATTN_TRY(scan_one(p, &letters, args, i, error));
    }
    p->N = size['N'], p->H = size['H'], p->G = size['G'];
    p->T = size['T'], p->S = size['S'], p->D = size['D'], p->E = size['E'];
    return scan_heads(p, error);
}

bool attn__scan_args_same(bool backward, const attn_scan_args *a, const attn_scan_args *b)
{
    for (int i = 0; i < ATTN__N_SCAN_ARGS; i++) {
        const attn_tensor *x = attn__scan_arg_in(a, i), *y = attn__scan_arg_in(b, i);
        if (!scan_used(i, backward)) continue;
        if (x->dtype != y->dtype) return false;
        if (!attn__present(x)) continue;
        if (x->rank != y->rank) return false;
        const size_t n = (size_t)x->rank * sizeof x->shape[0];
        if (memcmp(x->shape, y->shape, n) || memcmp(x->stride, y->stride, n)) return false;
    }
    return true;
}
