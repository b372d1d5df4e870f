/* SPDX-License-Identifier: MIT
 * The bits of the library, frozen: a few hundred calls whose inputs come from integers alone,
 * and hashes of the bits of each answer in tests/manifest.txt: of its results, of gradients, of
 * tangents (the same call with more asked of it). Every machine, compiler and
 * instruction set must give the same ones. Cases are drawn by tests/support, so whoever changes
 * the drawing writes the manifest anew, from a library whose answers have not changed.
 *
 *   ATTN_MANIFEST=path         the manifest (tests/manifest.txt of the sources)
 *   ATTN_MANIFEST_WRITE=path   write a new one instead of comparing
 *   ATTN_CASES=n               the first n lines only (slow emulators) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#ifndef ATTN_SOURCE_DIR
#    define ATTN_SOURCE_DIR "."
#endif

/* Cases from MANIFEST_NORMS on are of other normalisers. */
enum { MANIFEST_FIRST = 400, MANIFEST_NORMS = 480, MANIFEST_CASES = 580 };

static test_contexts contexts;

/* What the cases behind the first ones are about, in turn; they were appended later. */
static const uint64_t manifest_later[] = {TEST_OPTION(L2), TEST_OPTION(ADDITIVE),
                                          TEST_OPTION(CENTER),
                                          TEST_OPTION(ADDITIVE) | TEST_OPTION(SCORE_W)};

/* Every fourth case larger, every other plain in its element types; the rest as it comes. */
static test_profile manifest_profile(int i)
{
    const size_t n = sizeof manifest_later / sizeof manifest_later[0];
    const uint64_t later = i < MANIFEST_FIRST || i >= MANIFEST_NORMS
                               ? 0
                               : manifest_later[(size_t)(i - MANIFEST_FIRST) / 2 % n];
    test_profile profile = {.pairs = i % 4 ? 500 : 12000};
    profile.allow = TEST_ALL_OPTIONS & ~(TEST_OPTION(POISON) | TEST_OPTION(THREADS));
    profile.allow &= ~TEST_LATER_OPTIONS;
    profile.force = TEST_OPTION(LSE) | later;
    if (i % 2) profile.allow &= ~(TEST_OPTION(DTYPES) | TEST_OPTION(F64));
    return profile;
}

typedef void (*manifest_draw)(test_case *c, uint64_t seed, const test_profile *profile);
typedef attn_status (*manifest_call)(attn_ctx *ctx, const attn_spec *spec,
                                     const attn_args *args, attn_error *error);

typedef struct manifest_column {
    const char *name;
    manifest_draw draw, draw_norm;
    manifest_call call; /* after attn_forward */
    const char *kinds;  /* of tensors.def whose bits count */
} manifest_column;

enum { MANIFEST_COLUMNS = 3 };
static const manifest_column columns[MANIFEST_COLUMNS] = {
    {"results", test_case_draw, test_norm_draw, NULL, "o"},
    {"gradients", test_grad_draw, test_norm_grad_draw, attn_backward, "D"},
    {"tangents", test_jvp_draw, test_norm_jvp_draw, attn_jvp, "T"},
};

static uint64_t manifest_bits(const attn_args *a, const char *kinds)
{
    uint64_t hash = 1;
#define TENSOR(name, kind)                                                                     \
    if (strchr(kinds, kind)) hash = test_hash_bits(a->name, hash);
#include "support/tensors.def"
#undef TENSOR
    return hash;
}

static uint64_t manifest_hash(const manifest_column *column, int i, int isa)
{
    test_case c;
    test_profile profile = manifest_profile(i);
    (i < MANIFEST_NORMS ? column->draw
                        : column->draw_norm)(&c, UINT64_C(0xA77E0000) + (uint64_t)i, &profile);
    attn_ctx *ctx = test_contexts_get(&contexts, isa, 1);
    attn_status status = ATTN_OK;
    if (c.args.out.dtype || c.args.lse.dtype)
        status = attn_forward(ctx, &c.spec, &c.args, NULL);
    if (column->call && status == ATTN_OK) status = column->call(ctx, &c.spec, &c.args, NULL);
    if (status != ATTN_OK) test_case_print(stderr, &c);
    assert_int_equal(status, ATTN_OK);
    uint64_t hash = manifest_bits(&c.args, column->kinds);
    test_case_free(&c);
    return hash;
}

static void manifest_write(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "# SPDX-License-Identifier: MIT\n");
    fprintf(file, "attn manifest 2, %d cases: number, hashes of the bits of", MANIFEST_CASES);
    for (int k = 0; k < MANIFEST_COLUMNS; k++) fprintf(file, " %s", columns[k].name);
    for (int i = 0; i < MANIFEST_CASES; i++) {
        fprintf(file, "\n%d", i);
        for (int k = 0; k < MANIFEST_COLUMNS; k++)
            fprintf(file, " %016llx",
                    (unsigned long long)manifest_hash(&columns[k], i, contexts.usable[0]));
    }
    fprintf(file, "\n");
    assert_int_equal(fclose(file), 0);
}

static FILE *manifest_open(int *n)
{
    const char *given = getenv("ATTN_MANIFEST");
    const char *path = given ? given : ATTN_SOURCE_DIR "/tests/manifest.txt";
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("cannot open %s", path);
    assert_int_equal(fscanf(file, "# SPDX%*[^\n] attn manifest 2, %d cases%*[^\n]", n), 1);
    return file;
}

/* One hash of a line; whether it differs. */
static bool manifest_differs(FILE *file, const manifest_column *column, int i, int isa)
{
    unsigned long long want = 0;
    assert_int_equal(fscanf(file, "%llx", &want), 1);
    uint64_t got = manifest_hash(column, i, isa);
    if (got == want) return false;
    fprintf(stderr, "%s: %s of case %d are %016llx, the manifest says %016llx\n",
            attn_isa_name(isa), column->name, i, (unsigned long long)got, want);
    return true;
}

static int manifest_compare(int isa)
{
    int n = 0, differing = 0;
    FILE *file = manifest_open(&n);
    int limit = (int)test_env_int("ATTN_CASES", n);
    assert_int_equal(n, MANIFEST_CASES);
    for (int i = 0; i < n && i < limit; i++) {
        int number = -1;
        assert_int_equal(fscanf(file, "%d", &number), 1);
        assert_int_equal(number, i);
        for (int k = 0; k < MANIFEST_COLUMNS; k++)
            differing += manifest_differs(file, &columns[k], i, isa);
    }
    fclose(file);
    return differing;
}

static void manifest_holds(void **state)
{
    const char *path = getenv("ATTN_MANIFEST_WRITE");
    (void)state;
    if (path && *path) manifest_write(path);
    for (int i = 0; i < contexts.n_usable && !(path && *path); i++)
        assert_int_equal(manifest_compare(contexts.usable[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(manifest_holds)};
    test_contexts_init(&contexts);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_contexts_free(&contexts);
    return failed;
}
