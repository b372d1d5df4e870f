/* SPDX-License-Identifier: MIT
 * The caller's floating-point modes do not reach the results, and come back unchanged: rounding
 * modes, flushing of denormals (FTZ, DAZ, FZ) and unmasked exceptions, on the calling thread,
 * in the pool's threads and in the threads of a host's parallel_for. Loading the library leaves
 * them alone (llvm-project#57589). */
#include "safety.h"

#include <dlfcn.h>
#include <fenv.h>
#include <limits.h>
#include <pthread.h>
#include <unistd.h>

/* ---- the control word ---------------------------------------------------------------- */

#if defined(__x86_64__)
enum { FTZ = 0x8000, DAZ = 0x0040, MASKS = 0x1F80, FLAGS = 0x003F };
static const uint64_t fenv_flushing[] = {FTZ, DAZ, FTZ | DAZ};

static uint64_t fenv_word(void)
{
    return __builtin_ia32_stmxcsr();
}

static void fenv_set(uint64_t word)
{
    __builtin_ia32_ldmxcsr((unsigned)word);
}

static uint64_t fenv_trapping(uint64_t word)
{
    return word & ~(uint64_t)(MASKS | FLAGS);
}
#elif defined(__aarch64__)
enum { FLAGS = 0 };
static const uint64_t fenv_flushing[] = {UINT64_C(1) << 24};

static uint64_t fenv_word(void)
{
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
}

static void fenv_set(uint64_t word)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(word));
}

static uint64_t fenv_trapping(uint64_t word)
{
    return word | 0x1F00; /* where the machine has traps at all */
}
#else
enum { FLAGS = 0 };
static const uint64_t fenv_flushing[] = {0};
static uint64_t fenv_word(void)
{
    return 0;
}
static void fenv_set(uint64_t word)
{
    (void)word;
}
static uint64_t fenv_trapping(uint64_t word)
{
    return word;
}
#endif

static uint64_t fenv_control(void)
{
    return fenv_word() & ~(uint64_t)FLAGS;
}

static uint64_t fenv_at_start; /* what main found */

/* ---- a call that notices ------------------------------------------------------------- */

enum { H = 2, T = 53, S = 300, D = 13, E = 7 };

typedef struct fenv_job {
    attn_spec spec;
    attn_args args;
} fenv_job;

/* Denormals in v, ordinary numbers in q and k; every product rounds. */
static fenv_job fenv_make(attn_dtype dtype)
{
    fenv_job job = {ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT, .softcap = 20),
                    ATTN_ARGS(.q = safety_make(dtype, SAFETY_DIMS(1, H, T, D)),
                              .k = safety_make(dtype, SAFETY_DIMS(1, H, S, D)),
                              .v = safety_make(dtype, SAFETY_DIMS(1, H, S, E)),
                              .out = safety_make(dtype, SAFETY_DIMS(1, H, T, E)),
                              .lse = safety_make(dtype, SAFETY_DIMS(1, H, T)))};
    test_rng rng = test_rng_make(5);
    test_fill_normal(&job.args.q, &rng, 1);
    test_fill_normal(&job.args.k, &rng, 1);
    test_fill_normal(&job.args.v, &rng, dtype == ATTN_DTYPE_F64 ? 0x1p-1030 : 0x1p-130);
    return job;
}

static attn_tensor fenv_run(attn_ctx *ctx, fenv_job *job)
{
    memset(job->args.out.data, SAFETY_RUBBISH, safety_size(job->args.out));
    memset(job->args.lse.data, SAFETY_RUBBISH, safety_size(job->args.lse));
    attn_status s = attn_forward(ctx, &job->spec, &job->args, NULL);
    uint64_t word = fenv_word();
    fenv_set(fenv_at_start); /* cmocka and we compute in peace */
    assert_int_equal(s, ATTN_OK);
    attn_tensor out = safety_copy(job->args.out);
    fenv_set(word);
    return out;
}

/* Runs under a control word; it must survive, and the bits must be those of the default. */
static void fenv_under(attn_ctx *ctx, fenv_job *job, attn_tensor want, uint64_t word,
                       const char *what)
{
    fenv_set(word);
    uint64_t before = fenv_control();
    attn_tensor got = fenv_run(ctx, job);
    uint64_t after = fenv_control();
    fenv_set(fenv_at_start);
    safety_same(got, want, what);
    if (before != after)
        fail_msg("%s: control word %#llx became %#llx", what, (unsigned long long)before,
                 (unsigned long long)after);
}

static void fenv_rounding_under(attn_ctx *ctx, fenv_job *job, attn_tensor want)
{
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
    for (int i = 0; i < 4; i++) {
        fesetround(modes[i]);
        attn_tensor got = fenv_run(ctx, job);
        int after = fegetround();
        fesetround(FE_TONEAREST);
        safety_same(got, want, "rounding mode");
        assert_int_equal(after, modes[i]);
    }
}

static void fenv_all_modes(attn_ctx *ctx, attn_dtype dtype)
{
    fenv_job job = fenv_make(dtype);
    attn_tensor want = fenv_run(ctx, &job);
    bool some = false; /* the case has power: denormals come out */
    for (int64_t i = 0, n = safety_count(want); i < n; i++)
        some = some || fpclassify(safety_at(want, i)) == FP_SUBNORMAL ||
               (safety_at(want, i) != 0 && fabs(safety_at(want, i)) < 0x1p-126);
    assert_true(some);
    fenv_rounding_under(ctx, &job, want);
    for (size_t i = 0; i < sizeof fenv_flushing / sizeof fenv_flushing[0]; i++)
        fenv_under(ctx, &job, want, fenv_at_start | fenv_flushing[i], "flushing denormals");
    fenv_under(ctx, &job, want, fenv_trapping(fenv_at_start), "exceptions unmasked");
}

/* ---- cases --------------------------------------------------------------------------- */

static void fenv_on_this_thread(void **state)
{
    (void)state;
    for (int i = 0; safety_isa(i) != NULL; i++) {
        fenv_all_modes(safety_isa(i), ATTN_DTYPE_F32);
        fenv_all_modes(safety_isa(i), ATTN_DTYPE_F64);
    }
}

static void fenv_with_pool(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 5; threads += 3)
        fenv_all_modes(safety_threads(threads), ATTN_DTYPE_F32);
}

/* Pool threads inherit the modes of whoever starts them: here, of a flushing thread. */
static void fenv_pool_born_flushing(void **state)
{
    (void)state;
    fenv_job job = fenv_make(ATTN_DTYPE_F32);
    attn_tensor want = fenv_run(safety_isa(0), &job);
    fenv_set(fenv_at_start | fenv_flushing[sizeof fenv_flushing / sizeof fenv_flushing[0] - 1]);
    fesetround(FE_UPWARD);
    attn_ctx *ctx = NULL;
    attn_config config = ATTN_CONFIG(.threads = 4);
    attn_status s = attn_ctx_create(&ctx, &config, NULL);
    attn_tensor first = fenv_run(ctx, &job);
    fesetround(FE_TONEAREST);
    fenv_set(fenv_at_start);
    assert_int_equal(s, ATTN_OK);
    safety_same(first, want, "pool started under FTZ and upward rounding");
    safety_same(fenv_run(ctx, &job), want, "the same pool in the default mode");
    attn_ctx_destroy(ctx);
}

/* A host's own threads, each with its own bad manners. */
typedef struct fenv_share {
    int n, first;
    void (*body)(void *arg, int i);
    void *arg;
    uint64_t word, after;
} fenv_share;

static void *fenv_host_thread(void *arg)
{
    fenv_share *share = arg;
    fenv_set(share->word);
    share->word = fenv_control(); /* valgrind does not know flushing */
    for (int i = share->first; i < share->n; i += 3) share->body(share->arg, i);
    share->after = fenv_control();
    return NULL;
}

static void fenv_host_for(void *user, int n, void (*body)(void *arg, int i), void *arg)
{
    fenv_share share[3];
    pthread_t thread[3];
    size_t modes = sizeof fenv_flushing / sizeof fenv_flushing[0];
    for (int i = 0; i < 3; i++) {
        share[i] = (fenv_share){n, i, body, arg, fenv_flushing[(size_t)i % modes], 0};
        share[i].word |= fenv_at_start & ~(uint64_t)FLAGS;
        pthread_create(&thread[i], NULL, fenv_host_thread, &share[i]);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        if (share[i].after != share[i].word) *(bool *)user = false;
    }
}

static void fenv_in_host_threads(void **state)
{
    (void)state;
    bool restored = true;
    attn_ctx *ctx = NULL;
    attn_config config =
        ATTN_CONFIG(.threads = 3, .parallel_for = fenv_host_for, .parallel_user = &restored);
    fenv_job job = fenv_make(ATTN_DTYPE_F32);
    attn_tensor want = fenv_run(safety_isa(0), &job);
    assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
    safety_same(fenv_run(ctx, &job), want, "host threads that flush");
    assert_true(restored);
    attn_ctx_destroy(ctx);
}

static void fenv_refusal_restores(void **state)
{
    (void)state;
    fenv_job job = fenv_make(ATTN_DTYPE_F32);
    job.args.k.shape[3]--;
    fesetround(FE_DOWNWARD);
    attn_status s = attn_forward(NULL, &job.spec, &job.args, NULL);
    int mode = fegetround();
    fesetround(FE_TONEAREST);
    assert_int_equal(s, ATTN_E_SHAPE);
    assert_int_equal(mode, FE_DOWNWARD);
}

/* The shared library: named by ATTN_LIBRARY, or where the build puts it, one folder above the
 * test programs; "" when there is none. */
static void fenv_library(char path[PATH_MAX])
{
    const char *named = getenv("ATTN_LIBRARY");
    char self[PATH_MAX / 2] = "";
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) self[0] = 0;
    char *slash = strrchr(self, '/');
    if (slash != NULL) *slash = 0;
    snprintf(path, PATH_MAX, "%s/../libattn.so", self);
    if (named != NULL) snprintf(path, PATH_MAX, "%s", named);
    if (named == NULL && access(path, R_OK) != 0) path[0] = 0;
}

/* main's first act reads the word, after every constructor of what is linked; then the shared
 * library is loaded under odd modes, which must stay. */
static void fenv_loading_changes_nothing(void **state)
{
    (void)state;
    char path[PATH_MAX];
#if defined(__x86_64__)
    assert_int_equal(fenv_at_start & ~(uint64_t)FLAGS, MASKS);
#endif
    fenv_library(path);
    if (path[0] == 0) print_message("# no libattn.so beside the tests: linked copy only\n");
    if (path[0] == 0) return;
    fenv_set(fenv_at_start | fenv_flushing[0]);
    uint64_t before = fenv_control();
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    uint64_t after = fenv_control();
    fenv_set(fenv_at_start);
    if (library == NULL) fail_msg("%s: %s", path, dlerror());
    assert_int_equal(after, before);
    dlclose(library);
}

int main(void)
{
    fenv_at_start = fenv_word();
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(fenv_on_this_thread),     SAFETY_CASE(fenv_with_pool),
        SAFETY_CASE(fenv_pool_born_flushing), SAFETY_CASE(fenv_in_host_threads),
        SAFETY_CASE(fenv_refusal_restores),   SAFETY_CASE(fenv_loading_changes_nothing),
    };
    return cmocka_run_group_tests_name("fenv", tests, NULL, safety_finish);
}
