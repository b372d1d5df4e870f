/* SPDX-License-Identifier: MIT
 * libattn as bench/compare.py calls it: shapes as B H G T S D, options as words, tensors as
 * pointers by name. So no layout of a struct is repeated in Python, and what is timed is one
 * attn_plan_run with a plan and a workspace that stand ready. */
#include <attn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#    define COMPARE_API __attribute__((visibility("default")))
#else
#    define COMPARE_API
#endif

enum { COMPARE_ALIGN = 64 };

/* A plan and its scratch. */
typedef struct compare_call {
    attn_plan *plan;
    void *workspace;
    size_t size;
} compare_call;

typedef struct compare {
    attn_ctx *ctx;
    attn_spec spec;
    attn_args args;
    compare_call forward, backward;
} compare;

/* Letters of a tensor behind B and its heads; what only gradients need. */
static const struct {
    const char *name;
    size_t at; /* in attn_args */
    bool keys, row, gradient;
} compare_tensors[] = {
#define TENSOR(name, keys, row, gradient)                                                      \
    {                                                                                          \
#        name, offsetof(attn_args, name), keys, row, gradient                                  \
    }
    TENSOR(q, false, false, false),  TENSOR(k, true, false, false),
    TENSOR(v, true, false, false),   TENSOR(out, false, false, false),
    TENSOR(lse, false, true, true),  TENSOR(d_out, false, false, true),
    TENSOR(d_q, false, false, true), TENSOR(d_k, true, false, true),
    TENSOR(d_v, true, false, true),
#undef TENSOR
};
enum { COMPARE_TENSORS = (int)(sizeof compare_tensors / sizeof compare_tensors[0]) };

static attn_tensor *compare_tensor(compare *c, int i)
{
    return (attn_tensor *)((char *)&c->args + compare_tensors[i].at);
}

static bool compare_has(const char *words, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += n)
        if ((at == words || at[-1] == ',') && (at[n] == ',' || at[n] == '\0')) return true;
    return false;
}

static void compare_shapes(compare *c, const int64_t *sizes, attn_dtype dtype, bool gradients)
{
    const int64_t B = sizes[0], H = sizes[1], G = sizes[2], T = sizes[3], S = sizes[4];
    for (int i = 0; i < COMPARE_TENSORS; i++) {
        const bool keys = compare_tensors[i].keys, row = compare_tensors[i].row;
        const int64_t shape[] = {B, keys ? G : H, keys ? S : T, sizes[5]};
        if (compare_tensors[i].gradient && !gradients) continue;
        *compare_tensor(c, i) =
            attn_tensor_make(NULL, row ? ATTN_DTYPE_F32 : dtype, row ? 3 : 4, shape);
    }
}

typedef attn_status (*compare_plan_fn)(attn_plan **, attn_ctx *, const attn_spec *,
                                       const attn_args *, attn_error *);

static attn_status compare_ready(compare *c, compare_call *call, compare_plan_fn create,
                                 attn_error *error)
{
    const attn_status status = create(&call->plan, c->ctx, &c->spec, &c->args, error);
    if (status != ATTN_OK) return status;
    call->size = attn_plan_workspace(call->plan);
    call->workspace =
        aligned_alloc(COMPARE_ALIGN, (call->size / COMPARE_ALIGN + 1) * (size_t)COMPARE_ALIGN);
    if (call->workspace) return ATTN_OK;
    *error = (attn_error){.status = ATTN_E_MEMORY, .what = "no workspace", .where = ""};
    return ATTN_E_MEMORY;
}

static void compare_call_free(compare_call *call)
{
    attn_plan_destroy(call->plan);
    free(call->workspace);
}

COMPARE_API void compare_close(compare *c);
void compare_close(compare *c)
{
    if (!c) return;
    compare_call_free(&c->forward);
    compare_call_free(&c->backward);
    attn_ctx_destroy(c->ctx);
    free(c);
}

/* NULL after writing a sentence to message. Of the words causal, backward and half count; what the
 * caller does itself (cold, x40, x200) is none of ours. */
COMPARE_API compare *compare_open(int threads, const int64_t *sizes, const char *words,
                                  const char *dtype, char *message, size_t n);
compare *compare_open(int threads, const int64_t *sizes, const char *words, const char *dtype,
                      char *message, size_t n)
{
    const bool backward = compare_has(words, "backward");
    const attn_config config = ATTN_CONFIG(.threads = threads);
    attn_error error = {.status = ATTN_E_MEMORY, .what = "no memory", .where = ""};
    compare *c = calloc(1, sizeof *c);
    attn_status status = c ? attn_ctx_create(&c->ctx, &config, &error) : ATTN_E_MEMORY;
    if (status == ATTN_OK) {
        c->spec =
            ATTN_SPEC(.causal = compare_has(words, "causal"), .align = ATTN_ALIGN_BOTTOM_RIGHT);
        if (compare_has(words, "half")) c->spec.precision = ATTN_PRECISION_HALF;
        c->args = ATTN_ARGS(.q = {0});
        compare_shapes(c, sizes, attn_dtype_find(dtype), backward);
        status = compare_ready(c, &c->forward, attn_plan_create, &error);
    }
    if (status == ATTN_OK && backward)
        status = compare_ready(c, &c->backward, attn_plan_create_backward, &error);
    if (status == ATTN_OK) return c;
    attn_error_text(&error, message, n);
    compare_close(c);
    return NULL;
}

/* Where a tensor lies; 0, or 1 for a name that is none. */
COMPARE_API int compare_set(compare *c, const char *name, void *data);
int compare_set(compare *c, const char *name, void *data)
{
    for (int i = 0; i < COMPARE_TENSORS; i++) {
        if (strcmp(compare_tensors[i].name, name) != 0) continue;
        compare_tensor(c, i)->data = data;
        return 0;
    }
    return 1;
}

/* 0, or the status. */
COMPARE_API int compare_run(compare *c, int backward);
int compare_run(compare *c, int backward)
{
    compare_call *call = backward ? &c->backward : &c->forward;
    return (int)attn_plan_run(call->plan, &c->args, call->workspace, call->size, NULL);
}

/* The kernel table of the plan. */
COMPARE_API const char *compare_isa(const compare *c);
const char *compare_isa(const compare *c)
{
    attn_plan_info info;
    attn_plan_describe(c->forward.plan, &info);
    return info.isa;
}
