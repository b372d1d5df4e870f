/* SPDX-License-Identifier: MIT
 * The one door of the cellar: what the rooms above may use. Knows nothing of attention. */
#ifndef ATTN__BASE_H
#define ATTN__BASE_H

#include "attn/base.h"
#include "attn/ctx.h"

/* ---- error.c: saying no ------------------------------------------------------------------ */

/* Return from the calling function when expr is not ATTN_OK. The one control-flow macro. */
#define ATTN_TRY(expr)                                                                         \
    do {                                                                                       \
        attn_status try_status_ = (expr);                                                      \
        if (try_status_ != ATTN_OK) return try_status_;                                        \
    } while (0)

/* Fill error (when not NULL) and return status. where and what must be static strings. */
attn_status attn__fail(attn_error *error, attn_status status, const char *where,
                       const char *what);
attn_status attn__fail_count(attn_error *error, attn_status status, const char *where,
                             const char *what, int64_t want, int64_t got);
/* The same with a name from outside, at most 63 bytes; control characters become '?'. */
attn_status attn__fail_name(attn_error *error, attn_status status, const char *where,
                            const char *what, const char *name);

/* ---- size.c: arithmetic on sizes that come from outside ---------------------------------- */

/* No dimension, distance or position of a spec is beyond this. */
#define ATTN__FAR (INT64_C(1) << 47)

/* *out = a * b or a + b; false (and *out untouched) when it does not fit. */
bool attn__mul(int64_t a, int64_t b, int64_t *out);
bool attn__add(int64_t a, int64_t b, int64_t *out);
bool attn__mul_size(size_t a, size_t b, size_t *out);
bool attn__add_size(size_t a, size_t b, size_t *out);

static inline int64_t attn__min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t attn__max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t attn__ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* A word whose bits 0 .. n are set: n lanes, or n keys. */
static inline uint64_t attn__low_bits(int64_t n)
{
    return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* ---- dtype.c: facts about element types -------------------------------------------------- */

bool attn__dtype_is_float(attn_dtype dtype);
bool attn__dtype_is_int(attn_dtype dtype); /* not bool */

/* ---- half.c: the 16-bit floats, rounded once to nearest even ----------------------------- */

uint16_t attn__f64_to_bf16(double x);
uint16_t attn__f64_to_f16(double x);
uint16_t attn__f32_to_bf16(float x);
uint16_t attn__f32_to_f16(float x);
float attn__bf16_to_f32(uint16_t x);
float attn__f16_to_f32(uint16_t x);

/* ---- element.c: one element at a time ---------------------------------------------------- */

/* Element i (an index in elements) of an array as double or integer, and back. Floats round to
 * nearest even; a NaN is stored as the one quiet NaN; integers saturate. */
double attn__get(attn_dtype dtype, const void *data, int64_t i);
int64_t attn__get_int(attn_dtype dtype, const void *data, int64_t i);
void attn__put(attn_dtype dtype, void *data, int64_t i, double value);

typedef struct attn__row {
    attn_dtype dtype;
    int64_t stride; /* in elements */
} attn__row;

/* dst[i] = src[i] for i in [0, n), rounded once. The two types differ. */
void attn__convert(attn__row to, void *dst, attn__row from, const void *src, int64_t n);

/* ---- tensor.c ---------------------------------------------------------------------------- */

static inline bool attn__present(const attn_tensor *t)
{
    return t->dtype != ATTN_DTYPE_NONE;
}

/* Legal as a description: known dtype, rank, dims in [0, 2^47], count and every reachable byte
 * offset fit in int64, the pointer is aligned to the element (NULL is legal here). */
attn_status attn__tensor_check(const attn_tensor *t, const char *where, attn_error *error);

/* ---- overlap.c: which memory a checked tensor reaches ------------------------------------ */

/* The bytes a tensor reaches, [*low, *high) relative to data; empty tensors give 0, 0. */
void attn__tensor_span(const attn_tensor *t, int64_t *low, int64_t *high);
/* Whether two different indices can reach the same element, decided exactly enough that every
 * permutation or slice of a dense array passes and every stride-0 dimension above 1 fails. */
bool attn__tensor_self_overlap(const attn_tensor *t);
/* Whether two tensors can share a byte. Exact for slices of one array (same dtype, rank and
 * strides), where interleaved parts are told apart; otherwise their spans decide. */
bool attn__tensor_overlap(const attn_tensor *a, const attn_tensor *b);

/* ---- shape.c: shape strings "B H T D" ---------------------------------------------------- */

enum { ATTN__LETTERS = 26 };
typedef struct attn__sizes {
    int64_t size[ATTN__LETTERS];     /* -1: not bound yet */
    const char *from[ATTN__LETTERS]; /* the slot that bound it (static string) */
} attn__sizes;

/* A shape string: dimensions separated by blanks, each a number or a capital letter with an
 * optional factor and addition ("B", "4D", "2R+1"). A leading '*' means the tensor broadcasts
 * against it: right-aligned, each dimension full, 1 or missing. */
void attn__sizes_init(attn__sizes *sizes);
int attn__shape_rank(const char *shape);
/* Binds the letters of shape to the dims of t. A mismatch says which letter of which slots. */
attn_status attn__shape_bind(attn__sizes *sizes, const char *slot, const char *shape,
                             const attn_tensor *t, attn_error *error);
/* The shape a string stands for, its rank by *rank; E_SHAPE when a letter is not bound. */
attn_status attn__shape_resolve(const attn__sizes *sizes, const char *slot, const char *shape,
                                int *rank, int64_t *dims, attn_error *error);

/* ---- ctx.c: memory and machine ----------------------------------------------------------- */

struct attn_ctx {
    uint32_t magic;
    uint32_t isa_allowed; /* by isa_mask, by ATTN_ISA, by this CPU */
    int threads;
    attn_alloc_fn alloc;
    void *alloc_user;
    attn_parallel_fn parallel_for;
    void *parallel_user;
    struct attn__pool *pool;
};

/* Memory aligned to 64 bytes through the context's allocator (ctx NULL: malloc's family).
 * new returns uninitialised memory, NULL on failure; size 0 is served too. */
void *attn__new(const attn_ctx *ctx, size_t size);
/* ptr NULL is legal; size is the one asked for. */
void attn__delete(const attn_ctx *ctx, void *ptr, size_t size);
attn_status attn__ctx_check(const attn_ctx *ctx, attn_error *error); /* NULL or alive */
/* ISA bits this context, ATTN_ISA and this CPU allow. An unknown ATTN_ISA gives E_ISA. */
attn_status attn__isa_allowed(const attn_ctx *ctx, uint32_t *mask, attn_error *error);

/* ---- cpu.c ------------------------------------------------------------------------------- */

uint32_t attn__cpu_isas(void);       /* ATTN_ISA_* bits this CPU and its system can run; pure */
bool attn__cpu_adds_pairs(void);     /* AVX-512 with VNNI: products of int16, two at once */
int64_t attn__cpu_first_cache(void); /* its data, in bytes; 0: nobody says */

/* ---- quota.c ----------------------------------------------------------------------------- */

/* CPUs that the CPU-time quota of this process's cgroup amounts to, rounded up; INT_MAX when
 * there is none. self: a file like /proc/self/cgroup; root: where cgroups are mounted. */
int attn__cpu_quota(const char *self, const char *root);

/* ---- pool.c: threads --------------------------------------------------------------------- */

/* body(arg, 0) ... body(arg, n - 1), each exactly once, concurrently when it can be: the pool
 * of the context, or its parallel_for. ctx NULL, a busy pool, a pool inherited through fork or
 * a nested call: a plain loop on the calling thread. Never fails. */
void attn__parallel(const attn_ctx *ctx, int n, void (*body)(void *arg, int i), void *arg);

/* NULL when impossible. The caller of a region is one of the threads. */
struct attn__pool *attn__pool_create(const attn_ctx *ctx, int threads);
void attn__pool_destroy(const attn_ctx *ctx, struct attn__pool *pool);

/* ---- random.c ---------------------------------------------------------------------------- */

/* Philox 4x32-10: four random words as a pure function of counter and key. */
void attn__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
