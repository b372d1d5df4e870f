/* SPDX-License-Identifier: MIT
 * The context: what a config may say, memory through its allocator, instruction sets, and how
 * many CPUs there are (with control groups made up in a temporary folder). */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- an allocator that counts, checks and fails ------------------------------------------ */

typedef struct counting {
    int64_t live, calls, fail_at; /* fail_at -1: never */
    size_t bytes;
} counting;

static void *counting_alloc(void *user, void *ptr, size_t old_size, size_t new_size,
                            size_t align)
{
    counting *c = user;
    assert_int_equal(align, 64);
    if (new_size == 0) {
        assert_non_null(ptr);
        assert_true(old_size > 0 && c->bytes >= old_size);
        memset(ptr, 0xEE, old_size);
        free(ptr);
        c->bytes -= old_size;
        c->live--;
        return NULL;
    }
    assert_null(ptr);
    assert_int_equal(old_size, 0);
    if (c->calls++ == c->fail_at) return NULL;
    ptr = aligned_alloc(64, (new_size + 63) / 64 * 64);
    assert_non_null(ptr);
    memset(ptr, 0xDD, new_size);
    c->bytes += new_size;
    c->live++;
    return ptr;
}

static void every_allocation_may_fail(void **state)
{
    attn_status status = ATTN_E_MEMORY;
    int64_t n = 0;
    (void)state;
    for (; status != ATTN_OK; n++) {
        counting c = {.fail_at = n};
        attn_ctx *ctx = (attn_ctx *)(uintptr_t)&c;
        attn_error error = {0};
        attn_config config =
            ATTN_CONFIG(.threads = 4, .alloc = counting_alloc, .alloc_user = &c);
        status = attn_ctx_create(&ctx, &config, &error);
        assert_int_equal(error.status, status);
        if (status != ATTN_OK) {
            assert_int_equal(status, ATTN_E_MEMORY);
            assert_null(ctx);
        }
        attn_ctx_destroy(ctx);
        assert_int_equal(c.live, 0);
        assert_int_equal(c.bytes, 0);
    }
    assert_int_equal(n, 3); /* the context, the pool, then success */
}

static void memory_is_aligned_and_size_0_is_served(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 100000};
    counting c = {.fail_at = -1};
    attn_config config = ATTN_CONFIG(.threads = 1, .alloc = counting_alloc, .alloc_user = &c);
    attn_ctx *ctx;
    (void)state;
    assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
    for (int with = 0; with < 2; with++)
        for (size_t i = 0; i < COUNT(sizes); i++) {
            const attn_ctx *user = with ? ctx : NULL;
            unsigned char *p = attn__new(user, sizes[i]);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 64, 0);
            memset(p, 1, sizes[i]);
            attn__delete(user, p, sizes[i]);
        }
    assert_null(attn__new(ctx, SIZE_MAX));
    assert_null(attn__new(NULL, SIZE_MAX));
    attn__delete(ctx, NULL, 8);
    attn_ctx_destroy(ctx);
    assert_int_equal(c.live, 0);
}

/* ---- configs ---------------------------------------------------------------------------- */

static const struct {
    attn_config config;
    attn_status status;
    const char *where;
} bad_configs[] = {
    {{0}, ATTN_E_VERSION, "config.size"},
    {{.size = sizeof(attn_config) - 1}, ATTN_E_VERSION, "config.size"},
    {{.size = sizeof(attn_config) + 8}, ATTN_E_VERSION, "config.size"},
    {{.size = SIZE_MAX}, ATTN_E_VERSION, "config.size"},
    {{.size = sizeof(attn_config), .threads = -1}, ATTN_E_PARAM, "config.threads"},
    {{.size = sizeof(attn_config), .threads = 1025}, ATTN_E_LIMIT, "config.threads"},
    {{.size = sizeof(attn_config), .isa_mask = 1U << 31}, ATTN_E_ISA, "config.isa_mask"},
};

static void bad_configs_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_configs); i++) {
        attn_error error = {0};
        attn_ctx *ctx = (attn_ctx *)(uintptr_t)&error;
        attn_status got = attn_ctx_create(&ctx, &bad_configs[i].config, &error);
        assert_int_equal(got, bad_configs[i].status);
        assert_string_equal(error.where, bad_configs[i].where);
        assert_null(ctx);
    }
    assert_int_equal(attn_ctx_create(NULL, NULL, NULL), ATTN_E_NULL);
}

static void defaults_serve(void **state)
{
    attn_ctx *ctx;
    (void)state;
    assert_int_equal(attn_ctx_create(&ctx, NULL, NULL), ATTN_OK);
    assert_int_equal(attn_ctx_threads(ctx), attn_cpu_count());
    assert_int_equal(attn__ctx_check(ctx, NULL), ATTN_OK);
    attn_ctx_destroy(ctx);
    attn_ctx_destroy(NULL);
    assert_int_equal(attn_ctx_threads(NULL), 1);
    assert_int_equal(attn__ctx_check(NULL, NULL), ATTN_OK);
}

static void what_is_no_context_is_recognised(void **state)
{
    attn_ctx no_context;
    attn_error error = {0};
    (void)state;
    memset(&no_context, 0x11, sizeof no_context);
    assert_int_equal(attn__ctx_check(&no_context, &error), ATTN_E_HANDLE);
    assert_string_equal(error.where, "ctx");
    assert_int_equal(attn_ctx_threads(&no_context), 1);
    attn_ctx_destroy(&no_context); /* must not touch what it does not know */
}

/* ---- instruction sets ------------------------------------------------------------------- */

static uint32_t allowed_under(const char *env, uint32_t mask, attn_status want)
{
    attn_config config = ATTN_CONFIG(.threads = 1, .isa_mask = mask);
    attn_ctx *ctx;
    uint32_t allowed = 0;
    if (env) setenv("ATTN_ISA", env, 1);
    attn_error error = {0};
    assert_int_equal(attn_ctx_create(&ctx, &config, &error), want);
    unsetenv("ATTN_ISA");
    if (want == ATTN_OK) assert_int_equal(attn__isa_allowed(ctx, &allowed, NULL), ATTN_OK);
    attn_ctx_destroy(ctx);
    return allowed;
}

static void isa_names_are_those_of_the_list(void **state)
{
    static const char *const names[] = {"scalar", "sve128", "neon",  "sve256",
                                        "sve512", "avx2",   "avx512"};
    static const uint32_t bits[] = {ATTN_ISA_scalar, ATTN_ISA_sve128, ATTN_ISA_neon,
                                    ATTN_ISA_sve256, ATTN_ISA_sve512, ATTN_ISA_avx2,
                                    ATTN_ISA_avx512};
    (void)state;
    for (int i = 0; i < 7; i++) {
        assert_string_equal(attn_isa_name(i), names[i]);
        assert_int_equal(attn_isa_bit(i), bits[i]);
    }
    assert_null(attn_isa_name(7));
    assert_null(attn_isa_name(-1));
    assert_int_equal(attn_isa_bit(7), 0);
    assert_int_equal(attn_isa_bit(-1), 0);
}

static void isa_masks_and_the_environment_cap(void **state)
{
    uint32_t cpu = attn__cpu_isas();
    (void)state;
    unsetenv("ATTN_ISA");
    assert_true(cpu & ATTN_ISA_scalar);
    assert_int_equal(allowed_under(NULL, 0, ATTN_OK), cpu);
    assert_int_equal(allowed_under("", 0, ATTN_OK), cpu);
    assert_int_equal(allowed_under("avx512", 0, ATTN_OK), cpu);
    assert_int_equal(allowed_under("scalar", 0, ATTN_OK), ATTN_ISA_scalar);
    assert_int_equal(allowed_under("avx2", 0, ATTN_OK), cpu & ~(uint32_t)ATTN_ISA_avx512);
    assert_int_equal(allowed_under(NULL, ATTN_ISA_scalar, ATTN_OK), ATTN_ISA_scalar);
    assert_int_equal(allowed_under(NULL, ~(uint32_t)ATTN_ISA_avx512, ATTN_OK),
                     cpu & ~(uint32_t)ATTN_ISA_avx512);
    allowed_under("scalar", ATTN_ISA_avx2, ATTN_E_ISA);
    allowed_under("AVX2", 0, ATTN_E_ISA);
    allowed_under("sse9", ATTN_ISA_scalar, ATTN_E_ISA);
}

static void isa_environment_counts_without_a_context(void **state)
{
    uint32_t allowed = 0;
    attn_error error = {0};
    (void)state;
    setenv("ATTN_ISA", "scalar", 1);
    assert_int_equal(attn__isa_allowed(NULL, &allowed, NULL), ATTN_OK);
    assert_int_equal(allowed, ATTN_ISA_scalar);
    setenv("ATTN_ISA", "sse9\n", 1);
    assert_int_equal(attn__isa_allowed(NULL, &allowed, &error), ATTN_E_ISA);
    assert_string_equal(error.where, "ATTN_ISA");
    assert_string_equal(error.name, "sse9?");
    unsetenv("ATTN_ISA");
    assert_int_equal(attn__isa_allowed(NULL, &allowed, NULL), ATTN_OK);
    assert_int_equal(allowed, attn__cpu_isas());
}

static void cpu_text_lists_words(void **state)
{
    char full[256], part[256];
    size_t n = attn_cpu_text(full, sizeof full);
    (void)state;
    assert_int_equal(n, strlen(full));
    assert_true(n == 0 || (full[0] != ' ' && full[n - 1] != ' '));
    assert_int_equal(strstr(full, "avx512vl") != NULL,
                     (attn__cpu_isas() & ATTN_ISA_avx512) != 0);
    assert_int_equal(strstr(full, "neon") != NULL, (attn__cpu_isas() & ATTN_ISA_neon) != 0);
    for (size_t room = 1; room <= n + 1; room++) {
        memset(part, '#', sizeof part);
        assert_int_equal(attn_cpu_text(part, room), n);
        assert_int_equal(strlen(part), room - 1);
        assert_memory_equal(part, full, room - 1);
        assert_int_equal(part[room], '#');
    }
    assert_int_equal(attn_cpu_text(NULL, 0), n);
}

/* ---- CPUs ------------------------------------------------------------------------------- */

static void cpu_count_follows_affinity(void **state)
{
    cpu_set_t before, one;
    size_t cpu = 0;
    (void)state;
    assert_true(attn_cpu_count() >= 1);
    if (sched_getaffinity(0, sizeof before, &before) != 0) skip();
    assert_true(attn_cpu_count() <= CPU_COUNT(&before));
    while (!CPU_ISSET(cpu, &before)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) skip();
    int count = attn_cpu_count();
    sched_setaffinity(0, sizeof before, &before);
    assert_int_equal(count, 1);
}

typedef struct quota_file {
    const char *path, *text; /* without text: a folder */
} quota_file;

typedef struct quota_case {
    const char *self;
    quota_file files[6];
    int want;
} quota_case;

static const quota_case quota_cases[] = {
    {"0::/\n", {{"cpu.max", "max 100000\n"}}, INT_MAX},
    {"0::/\n", {{"cpu.max", "200000 100000\n"}}, 2},
    {"0::/\n", {{"cpu.max", "150000 100000\n"}}, 2},
    {"0::/\n", {{"cpu.max", "1000 100000\n"}}, 1},
    {"0::/\n", {{NULL, NULL}}, INT_MAX},
    {"0::/a/b\n",
     {{"a", NULL},
      {"a/b", NULL},
      {"a/cpu.max", "300000 100000"},
      {"a/b/cpu.max", "max 100000"}},
     3},
    {"0::/a/b\n",
     {{"a", NULL}, {"a/b", NULL}, {"a/cpu.max", "300000 100000"}, {"a/b/cpu.max", "5 1"}},
     3},
    {"0::/a/b\n",
     {{"a", NULL}, {"a/b", NULL}, {"a/cpu.max", "max 1"}, {"a/b/cpu.max", "400000 100000"}},
     4},
    {"0::/the/path/outside\n", {{"cpu.max", "500000 100000"}}, 5},
    {"4:memory:/x\n2:cpuacct:/\n1:cpu:/x\n0::/\n",
     {{"cpu", NULL},
      {"cpu/x", NULL},
      {"cpu/x/cpu.cfs_quota_us", "250000\n"},
      {"cpu/x/cpu.cfs_period_us", "100000\n"}},
     3},
    {"3:cpu,cpuacct:/",
     {{"cpu,cpuacct", NULL},
      {"cpu,cpuacct/cpu.cfs_quota_us", "700000"},
      {"cpu,cpuacct/cpu.cfs_period_us", "100000"}},
     7},
    {"3:cpu:/",
     {{"cpu", NULL}, {"cpu/cpu.cfs_quota_us", "-1\n"}, {"cpu/cpu.cfs_period_us", "100000"}},
     INT_MAX},
    {"3:cpuset:/",
     {{"cpuset", NULL}, {"cpuset/cpu.cfs_quota_us", "1"}, {"cpuset/cpu.cfs_period_us", "1"}},
     INT_MAX},
    {"0::/\n", {{"cpu.max", "rubbish"}}, INT_MAX},
    {"0::/\n", {{"cpu.max", "100 0"}}, INT_MAX},
    {"0::/\n", {{"cpu.max", "99999999999999999999 1"}}, INT_MAX},
    {"rubbish\n\n:\n::\n", {{"cpu.max", "1 1"}}, INT_MAX},
    {"", {{"cpu.max", "1 1"}}, INT_MAX},
};

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!text) {
        assert_int_equal(mkdir(path, 0700), 0);
        return;
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void take_away(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(remove(path), 0);
}

static void check_quota(const quota_case *c)
{
    char dir[] = "/tmp/attn_quota_XXXXXX", self[64];
    size_t n = 0;
    assert_non_null(mkdtemp(dir));
    snprintf(self, sizeof self, "%s/self", dir);
    put_file(dir, "self", c->self);
    for (; n < COUNT(c->files) && c->files[n].path; n++)
        put_file(dir, c->files[n].path, c->files[n].text);
    int got = attn__cpu_quota(self, dir);
    while (n-- > 0) take_away(dir, c->files[n].path);
    take_away(dir, "self");
    assert_int_equal(rmdir(dir), 0);
    if (got != c->want) fail_msg("'%s': want %d, got %d", c->self, c->want, got);
}

static void quotas_of_control_groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(quota_cases); i++) check_quota(&quota_cases[i]);
    assert_int_equal(attn__cpu_quota("/nonexistent/self", "/nonexistent"), INT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(memory_is_aligned_and_size_0_is_served),
        cmocka_unit_test(bad_configs_are_refused),
        cmocka_unit_test(defaults_serve),
        cmocka_unit_test(what_is_no_context_is_recognised),
        cmocka_unit_test(isa_names_are_those_of_the_list),
        cmocka_unit_test(isa_masks_and_the_environment_cap),
        cmocka_unit_test(isa_environment_counts_without_a_context),
        cmocka_unit_test(cpu_text_lists_words),
        cmocka_unit_test(cpu_count_follows_affinity),
        cmocka_unit_test(quotas_of_control_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
