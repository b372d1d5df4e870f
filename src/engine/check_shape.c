/* SPDX-License-Identifier: MIT
 * Shapes: every tensor of args.def is lifted to its full rank, its letters are bound or
 * compared, and what broadcasts gets stride 0. The order of args.def binds q, k, v first. */
#include <string.h>

#include "engine/args.h"
#include "engine/norm.h"
#include "engine/source.h"

typedef struct shape_letters {
    int64_t size['z' + 1]; /* by letter; -1 not bound */
    bool loose_t, loose_s; /* packed: t and s are only known with the data */
    int missing;           /* dims that q, and with it every main tensor, does without */
} shape_letters;

static bool shape_dtype_ok(char class, attn_dtype dtype)
{
    if (class == 'f') return attn__dtype_is_float(dtype);
    if (class == 'i') return attn__dtype_is_int(dtype);
    if (class == 'u') return dtype == ATTN_DTYPE_U8;
    const bool flags = dtype == ATTN_DTYPE_BOOL || dtype == ATTN_DTYPE_U8;
    return flags || (class == 'm' && attn__dtype_is_float(dtype));
}

static const char *shape_dtype_text(char class)
{
    static const struct {
        char class;
        const char *text;
    } texts[] = {{'f', "must be f64, f32, bf16 or f16"},
                 {'i', "must hold integers"},
                 {'u', "must be u8"},
                 {'b', "must be bool or u8"},
                 {'m', "must be bool, u8 or a float"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].class == class) return texts[i].text;
    return "";
}

static void shape_insert_one(attn_tensor *t, int at)
{
    for (int i = t->rank; i > at; i--) {
        t->shape[i] = t->shape[i - 1];
        t->stride[i] = t->stride[i - 1];
    }
    t->shape[at] = 1;
    t->stride[at] = 0;
    t->rank++;
}

/* Lower ranks: the main tensors lack H first, then the batch, all of them alike (weights and
 * scores may be whole); the others lack leading dims. */
static attn_status shape_lift(const shape_letters *letters, const attn__arg *arg,
                              attn_tensor *t, attn_error *error)
{
    const int full = (int)strlen(arg->dims), few = full - letters->missing;
    const int most = arg->kind == 'm' ? few : full;
    const int least = arg->kind == 'b'   ? 0
                      : arg->kind == 'w' ? few
                      : arg->kind == 't' ? full - 1
                                         : most;
    if (t->rank > most || t->rank < least ||
        (arg->kind == 'w' && t->rank != few && t->rank != full))
        return attn__fail_count(error, ATTN_E_RANK, arg->name,
                                "has too many or too few dimensions", most, t->rank);
    if ((arg->kind == 'm' || arg->kind == 'w') && t->rank == full - 1) shape_insert_one(t, 1);
    while (t->rank < full) shape_insert_one(t, 0);
    for (int i = full; i < ATTN_MAX_RANK; i++) t->shape[i] = 1, t->stride[i] = 0;
    return ATTN_OK;
}

/* out and lse come back from a forward call: what does not fit is not what it left. */
static attn_status shape_status(attn__call_kind call, const attn__arg *arg)
{
    const bool saved = call == ATTN__BACKWARD && attn__arg_output(arg, ATTN__FORWARD);
    return saved ? ATTN_E_STATS : arg->status;
}

static attn_status shape_bind(const attn__problem *p, shape_letters *letters,
                              const attn__arg *arg, attn_tensor *t, attn_error *error)
{
    for (int i = 0; i < t->rank; i++) {
        const char letter = arg->dims[i];
        int64_t *size = &letters->size[(int)letter];
        const bool loose =
            (letter == 'c' && arg->kind == 'm') || /* shape_batches looks */
            (letter == 't' && letters->loose_t) || (letter == 's' && letters->loose_s) ||
            (letter == 'x' && letters->loose_t) || (letter == 'y' && letters->loose_s);
        if (t->shape[i] == 1) t->stride[i] = 0;
        const bool one = arg->kind == 'b' || (arg->kind == 't' && i == 0);
        if (loose || (one && t->shape[i] == 1)) continue;
        if (*size < 0) *size = t->shape[i];
        if (*size != t->shape[i])
            return attn__fail_count(error, shape_status(p->call, arg), arg->name,
                                    "a dimension disagrees with the other tensors", *size,
                                    t->shape[i]);
    }
    return ATTN_OK;
}

/* The tensor whose gradient or tangent this is; NULL for the others. */
static const attn_tensor *shape_original(const attn_args *args, const attn__arg *arg)
{
    if (strncmp(arg->name, "d_", 2) != 0 && strncmp(arg->name, "t_", 2) != 0) return NULL;
    for (int i = 0; i < ATTN__N_ARGS; i++)
        if (strcmp(attn__arg_list[i].name, arg->name + 2) == 0)
            return attn__arg_in(args, &attn__arg_list[i]);
    return NULL;
}

/* Tangents of outputs stand for themselves: those outputs need not be given; nor need they
 * where no gradient is made from them. */
static attn_status shape_like(const attn__problem *p, const attn_args *args,
                              const attn__arg *arg, attn_error *error)
{
    const attn_tensor *t = attn__arg_in(args, arg), *like = shape_original(args, arg);
    if (!like || (p->call == ATTN__JVP && attn__arg_output(arg, p->call))) return ATTN_OK;
    const bool in = p->call == ATTN__BACKWARD && !attn__arg_output(arg, p->call);
    if (!attn__present(like) && in && attn__norm_of(p)->op >= 0) return ATTN_OK;
    if (!attn__present(like) && in)
        return attn__fail(error, ATTN_E_STATS, arg->name + 2,
                          "is needed as attn_forward left it");
    if (!attn__present(like))
        return attn__fail(error, ATTN_E_PARAM, arg->name, "belongs to a tensor not given");
    if (!attn__dtype_is_float(like->dtype))
        return attn__fail(error, ATTN_E_DTYPE, arg->name, "only floats have a gradient");
    if (t->rank != like->rank)
        return attn__fail_count(error, ATTN_E_RANK, arg->name,
                                "must have the dimensions of its tensor", like->rank, t->rank);
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] != like->shape[i])
            return attn__fail_count(error, ATTN_E_SHAPE, arg->name,
                                    "must have the shape of its tensor", like->shape[i],
                                    t->shape[i]);
    return ATTN_OK;
}

static attn_status shape_one(attn__problem *p, shape_letters *letters, const attn_args *args,
                             const attn__arg *arg, attn_error *error)
{
    attn_tensor *t = attn__arg_of(&p->at, arg);
    if (!attn__present(t)) return ATTN_OK;
    ATTN_TRY(shape_like(p, args, arg, error));
    ATTN_TRY(attn__tensor_check(t, arg->name, error));
    if (!shape_dtype_ok(arg->dtypes, t->dtype))
        return attn__fail(error, ATTN_E_DTYPE, arg->name, shape_dtype_text(arg->dtypes));
    if (p->with_data && !t->data && attn_tensor_count(*t) > 0)
        return attn__fail(error, ATTN_E_NULL, arg->name, "has elements but no data");
    ATTN_TRY(shape_lift(letters, arg, t, error));
    if (attn__arg_output(arg, p->call) && attn__tensor_self_overlap(t))
        return attn__fail(error, ATTN_E_ALIAS, arg->name, "an output reaches an element twice");
    return shape_bind(p, letters, arg, t, error);
}

/* What q, k, v and the cumulative lengths say before anything else is compared. */
static attn_status shape_sequences(attn__problem *p, shape_letters *letters, attn_error *error)
{
    attn_args *at = &p->at;
    int64_t *size = letters->size;
    const attn_tensor *cu = p->packed_q ? &at->cu_q : p->packed_k ? &at->cu_k : NULL;
    if (cu && (cu->rank != 1 || cu->shape[0] < 1))
        return attn__fail(error, ATTN_E_CUSEQ, p->packed_q ? "cu_q" : "cu_k",
                          "needs one dimension of at least 1 element");
    if (at->q.rank < 2 || at->q.rank > 4)
        return attn__fail_count(error, ATTN_E_RANK, "q", "must have 2 to 4 dimensions", 4,
                                at->q.rank);
    letters->missing = 4 - at->q.rank;
    if (cu) size['n'] = cu->shape[0], size['N'] = cu->shape[0] - 1;
    if (p->source == ATTN__SOURCE_CACHE) {
        size['G'] = p->held.heads, size['S'] = p->held.longest;
        size['D'] = p->held.key_width, size['E'] = p->held.value_width;
    }
    letters->loose_t = p->packed_q;
    letters->loose_s = p->packed_k;
    return ATTN_OK;
}

static void shape_bind_rows(attn__problem *p, shape_letters *letters)
{
    int64_t *size = letters->size;
    const attn_spec *s = &p->spec;
    if (size['N'] < 0) size['N'] = size['a'];
    size['c'] = p->packed_k ? 1 : size['N'];
    size['t'] = size['T'];
    size['s'] = size['S'];
    if (s->block_q > 0 && s->block_k > 0) {
        size['x'] = attn__ceil_div(size['T'], s->block_q);
        size['y'] = attn__ceil_div(size['S'], s->block_k);
    }
}

/* Pools: what k and v have bound as S is the page, and the table says how many there are. */
static attn_status shape_pools(attn__problem *p, shape_letters *letters, attn_error *error)
{
    const attn_tensor *table = &p->at.page_table;
    const int64_t P = p->at.k.shape[0];
    if (p->source != ATTN__SOURCE_PAGES) return ATTN_OK;
    if (table->rank != 2)
        return attn__fail_count(error, ATTN_E_RANK, "page_table", "must be N M", 2,
                                table->rank);
    if (p->at.v.shape[0] != P)
        return attn__fail_count(error, ATTN_E_SHAPE, "v", "must have as many pages as k", P,
                                p->at.v.shape[0]);
    p->page = letters->size['S'];
    if (table->shape[1] < 0 || !attn__mul(table->shape[1], p->page, &letters->size['S']) ||
        letters->size['S'] > ATTN__FAR)
        return attn__fail(error, ATTN_E_OVERFLOW, "page_table",
                          "has room for more than 2^47 keys");
    return ATTN_OK;
}

static attn_status shape_batches(attn__problem *p, shape_letters *letters, attn_error *error)
{
    const int64_t *size = letters->size;
    const int64_t batch_q = p->packed_q ? 1 : size['N'];
    if (size['a'] != batch_q)
        return attn__fail_count(error, ATTN_E_SHAPE, "q",
                                p->packed_q ? "packed queries have a batch of 1"
                                            : "one batch entry for each sequence",
                                batch_q, size['a']);
    attn_tensor *kv[] = {&p->at.k, &p->at.v};
    for (int i = 0; i < 2 && p->source == ATTN__SOURCE_TENSORS; i++) {
        int64_t batch = kv[i]->shape[0], want = p->packed_k ? 1 : size['N'];
        if (batch != want && batch != 1)
            return attn__fail_count(error, ATTN_E_SHAPE, i ? "v" : "k",
                                    "the batch must be that of q, or 1", want, batch);
        if (batch == 1) kv[i]->stride[0] = 0;
    }
    if (size['H'] > 0 && size['G'] > 0 && size['H'] % size['G'] == 0) return ATTN_OK;
    if (size['H'] == 0) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_HEADS, p->at.cache ? "cache" : "k",
                            "the heads of q must be a multiple of the heads of k", size['H'],
                            size['G']);
}

static attn_status shape_required(const attn_args *at, attn_error *error)
{
    const attn_tensor *required[] = {&at->q, &at->k, &at->v};
    static const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < (at->cache ? 1 : 3); i++)
        if (!attn__present(required[i]))
            return attn__fail(error, ATTN_E_NULL, names[i], "is required");
    return ATTN_OK;
}

/* The arithmetic. */
static void shape_real(attn__problem *p)
{
    const attn_args *at = &p->at;
    bool f64 = at->q.dtype == ATTN_DTYPE_F64 || at->k.dtype == ATTN_DTYPE_F64 ||
               at->v.dtype == ATTN_DTYPE_F64;
    if (p->source == ATTN__SOURCE_CACHE)
        f64 = f64 || p->held.key.type == ATTN_CACHE_F64 ||
              attn__source_values(p)->type == ATTN_CACHE_F64;
    p->real = f64 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
}

attn_status attn__shapes_check(attn__problem *p, const attn_args *args, attn_error *error)
{
    if (!args) return attn__fail(error, ATTN_E_NULL, "args", "is required");
    if (args->size != sizeof *args)
        return attn__fail_count(error, ATTN_E_VERSION, "args",
                                "size must be that of attn_args: use ATTN_ARGS()",
                                (int64_t)sizeof *args, (int64_t)args->size);
    p->at = *args;
    for (int i = 0; i < ATTN__N_ARGS; i++)
        if (!attn__arg_used(&attn__arg_list[i], p->call))
            *attn__arg_of(&p->at, &attn__arg_list[i]) = (attn_tensor){0};
    ATTN_TRY(shape_required(&p->at, error));
    ATTN_TRY(attn__source_check(p, error));
    p->packed_q = attn__present(&p->at.cu_q);
    p->packed_k = attn__present(&p->at.cu_k);
    shape_letters letters = {.loose_t = false};
    for (int i = 0; i <= 'z'; i++) letters.size[i] = -1;
    ATTN_TRY(shape_sequences(p, &letters, error));
    for (int i = 0; i < ATTN__N_ARGS; i++) {
        if (i == 3) { /* q, k, v are bound: their batches are compared by their own rule */
            ATTN_TRY(shape_pools(p, &letters, error));
            shape_bind_rows(p, &letters);
            ATTN_TRY(shape_batches(p, &letters, error));
        }
        ATTN_TRY(shape_one(p, &letters, args, &attn__arg_list[i], error));
    }
    const int64_t *size = letters.size;
    p->N = size['N'], p->H = size['H'], p->G = size['G'];
    p->T = size['T'], p->S = size['S'], p->D = size['D'], p->E = size['E'];
    p->rel_n = attn__present(&p->at.rel_table) ? p->at.rel_table.shape[1] : 0;
    p->shaw_n = attn__present(&p->at.rel_k)   ? p->at.rel_k.shape[1]
                : attn__present(&p->at.rel_v) ? p->at.rel_v.shape[1]
                                              : 0;
    if (attn__present(&p->at.rel_k) || attn__present(&p->at.rel_v))
        if (p->shaw_n % 2 == 0)
            return attn__fail_count(error, ATTN_E_SHAPE,
                                    attn__present(&p->at.rel_k) ? "rel_k" : "rel_v",
                                    "2 R + 1 entries: an odd number", p->shaw_n + 1, p->shaw_n);
    shape_real(p);
    attn__source_bytes(p);
    return ATTN_OK;
}

bool attn__args_same(attn__call_kind call, const attn_args *a, const attn_args *b)
{
    if (!a->cache != !b->cache) return false;
    for (int i = 0; i < ATTN__N_ARGS; i++) {
        if (!attn__arg_used(&attn__arg_list[i], call)) continue;
        const attn_tensor *x = attn__arg_in(a, &attn__arg_list[i]);
        const attn_tensor *y = attn__arg_in(b, &attn__arg_list[i]);
        if (x->dtype != y->dtype) return false;
        if (!attn__present(x)) continue;
        if (x->rank != y->rank) return false;
        const size_t n = (size_t)x->rank * sizeof x->shape[0];
        if (memcmp(x->shape, y->shape, n) || memcmp(x->stride, y->stride, n)) return false;
    }
    return true;
}

attn_status attn__problem_rebind(attn__problem *p, const attn_args *args, attn_error *error)
{
    p->with_data = true;
    ATTN_TRY(attn__source_rebind(p, args->cache, error));
    for (int i = 0; i < ATTN__N_ARGS; i++) {
        const attn__arg *arg = &attn__arg_list[i];
        const attn_tensor *given = attn__arg_in(args, arg);
        if (!attn__arg_used(arg, p->call) || !attn__present(given)) continue;
        ATTN_TRY(attn__tensor_check(given, arg->name, error));
        if (!given->data && attn_tensor_count(*given) > 0)
            return attn__fail(error, ATTN_E_NULL, arg->name, "has elements but no data");
        attn__arg_of(&p->at, arg)->data = given->data;
    }
    ATTN_TRY(attn__alias_check(p, error));
    return attn__data_check(p, error);
}
