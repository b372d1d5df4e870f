/* SPDX-License-Identifier: MIT
 * The pool where processes split and resources end: a child after fork has the memory of a pool
 * but not its threads, and a system may refuse to start any. (Apart from test_pool.c, because
 * checkers of races cannot follow threads through fork.) */
#define _POSIX_C_SOURCE 200809L

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool_tally.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#if defined(__SANITIZE_THREAD__)
#    define UNDER_TSAN 1
#elif defined(__has_feature)
#    define UNDER_TSAN __has_feature(thread_sanitizer)
#else
#    define UNDER_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__)
#    define UNDER_ASAN 1
#elif defined(__has_feature)
#    define UNDER_ASAN __has_feature(address_sanitizer)
#else
#    define UNDER_ASAN 0
#endif

static const int thread_counts[] = {1, 2, 3, 8, 17};

/* Threads of this process; 1 where the system does not tell. */
static int count_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int n = 0;
    if (!tasks) return 1;
    for (struct dirent *entry; (entry = readdir(tasks));) n += entry->d_name[0] != '.';
    closedir(tasks);
    return n;
}

static bool child_succeeds(attn_ctx *ctx)
{
    pid_t pid = fork();
    if (pid < 0) return false;
    if (pid == 0) {
        bool fine = true;
        for (int i = 0; i < 10; i++) fine = fine && run_once(ctx, 50);
        fine = fine && count_threads() == 1;
        attn_ctx_destroy(ctx);
        attn_ctx *own = make_ctx(3); /* a context of its own has threads again */
        fine = fine && own && run_once(own, 50);
        attn_ctx_destroy(own);
        _exit(fine ? 0 : 1);
    }
    int status = -1;
    while (waitpid(pid, &status, 0) < 0) continue;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void a_forked_child_works_alone(void **state)
{
    (void)state;
    if (UNDER_TSAN) skip(); /* its runtime does not follow threads through fork */
    for (size_t c = 0; c < COUNT(thread_counts); c++) {
        attn_ctx *ctx = make_ctx(thread_counts[c]);
        assert_true(child_succeeds(ctx)); /* before its threads exist */
        /* All awake: a thread that is just being born may hold locks of a sanitizer's runtime,
         * which the child would then wait for in vain. */
        assert_true(meet(ctx, thread_counts[c]));
        assert_true(child_succeeds(ctx)); /* after */
        assert_true(run_once(ctx, 50));
        attn_ctx_destroy(ctx);
    }
}

typedef struct splitting {
    const attn_ctx *ctx;
    atomic_int bodies, failed; /* bodies run; children that failed */
} splitting;

/* fork from inside a region: the child inherits a busy pool with a region half done. */
static void fork_body(void *arg, int i)
{
    splitting *outer = arg;
    if (i == 3) {
        pid_t pid = fork();
        if (pid == 0) _exit(run_once(outer->ctx, 50) ? 0 : 1);
        int status = -1;
        if (pid > 0) waitpid(pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) atomic_fetch_add(&outer->failed, 1);
    }
    atomic_fetch_add(&outer->bodies, 1);
}

static void fork_inside_a_region(void **state)
{
    attn_ctx *ctx = make_ctx(3);
    splitting outer = {.ctx = ctx};
    (void)state;
    if (UNDER_TSAN) skip(); /* its runtime does not follow threads through fork */
    assert_true(meet(ctx, 3));
    attn__parallel(ctx, 8, fork_body, &outer);
    assert_int_equal(atomic_load(&outer.bodies), 8);
    assert_int_equal(atomic_load(&outer.failed), 0);
    attn_ctx_destroy(ctx);
}

/* In a child, because limits do not come back: no memory for stacks, so no thread can start. */
static void threads_that_cannot_start_are_done_without(void **state)
{
    (void)state;
    if (UNDER_TSAN || UNDER_ASAN) skip(); /* they need the address space themselves */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        attn_ctx *ctx = make_ctx(64); /* more stacks than a C library keeps in reserve */
        tally *t = calloc(1, sizeof *t);
        struct rlimit none = {0, 0};
        if (!ctx || !t || setrlimit(RLIMIT_AS, &none) != 0) _exit(2);
        for (int i = 0; i < 100; i++) attn__parallel(ctx, 50, tally_body, t);
        _exit(tally_is(t, 50, 100) ? 0 : 1);
    }
    int status = -1;
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forked_child_works_alone),
        cmocka_unit_test(fork_inside_a_region),
        cmocka_unit_test(threads_that_cannot_start_are_done_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
