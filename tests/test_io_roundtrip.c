/* SPDX-License-Identifier: MIT
 * What is saved comes back: every element type, every rank from 0 to 8, empty tensors, views of
 * any strides, many tensors at once, in every format that can hold them. */
#define _POSIX_C_SOURCE 200809L
#include "test_io.h"

static const char *const suffixes[] = {".npy", ".npz", ".safetensors", ".pb"};

enum { N_SUFFIXES = sizeof suffixes / sizeof *suffixes, POOL = 1 << 16 };

static bool holds(const char *suffix, attn_dtype dtype)
{
    return dtype != ATTN_DTYPE_BF16 || suffix[2] != 'p' || suffix[1] != 'n';
}

static bool holds_many(const char *suffix)
{
    return strcmp(suffix, ".npz") == 0 || strcmp(suffix, ".safetensors") == 0;
}

/* Saves n tensors, loads them, compares, and looks that the file in memory gives the same. */
static void check(void **state, const char *suffix, int64_t n, const char *const *names,
                  const attn_tensor *tensors)
{
    char path[512], name[32];
    attn_error e = {0};
    attn_archive *a = NULL;
    snprintf(name, sizeof name, "t%s", suffix);
    if (attn_archive_save(NULL, io_path(state, path, name), n, names, tensors, NULL, &e) ||
        attn_archive_load(&a, NULL, path, ATTN_FORMAT_AUTO, &e))
        fail_msg("%s %s: %s: %s", suffix, attn_dtype_name(tensors[0].dtype), e.where, e.what);
    assert_int_equal(attn_archive_count(a), n);
    for (int64_t i = 0; i < n; i++) {
        bool nameless = strcmp(suffix, ".npy") == 0;
        int64_t at = attn_archive_find(a, nameless ? "" : names[i]);
        assert_true(at >= 0);
        attn_tensor got = attn_archive_tensor(a, at);
        if (!io_same(&tensors[i], &got))
            fail_msg("%s %s rank %d differs", suffix, attn_dtype_name(got.dtype), got.rank);
    }
    io_touch(a);
    attn_archive_destroy(a);
}

static void check_everywhere(void **state, attn_tensor t)
{
    const char *const names[] = {"x"};
    for (size_t s = 0; s < N_SUFFIXES; s++)
        if (holds(suffixes[s], t.dtype)) check(state, suffixes[s], 1, names, &t);
}

static void *pool_of(attn_dtype dtype)
{
    static _Alignas(64) uint8_t pool[POOL];
    for (size_t i = 0; i < POOL; i++) pool[i] = io_pattern(dtype, i);
    return pool;
}

static const attn_dtype dtypes[] = {
#define DTYPE(NAME, name, number, bytes, kind) ATTN_DTYPE_##NAME,
#include "attn/dtype.def"
#undef DTYPE
};

enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static void test_every_type_and_rank(void **state)
{
    static const int64_t shape[ATTN_MAX_RANK] = {3, 1, 2, 5, 1, 2, 3, 2};
    for (int i = 1; i < N_DTYPES; i++) /* 0 is NONE */
        for (int rank = 0; rank <= ATTN_MAX_RANK; rank++)
            check_everywhere(state,
                             attn_tensor_make(pool_of(dtypes[i]), dtypes[i], rank, shape));
}

static void test_empty(void **state)
{
    static const int64_t shapes[][3] = {{0}, {0, 3, 2}, {4, 0, 2}, {4, 3, 0}, {0, 0, 0}};
    for (int i = 1; i < N_DTYPES; i++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_everywhere(state,
                             attn_tensor_make(NULL, dtypes[i], s == 0 ? 1 : 3, shapes[s]));
}

static attn_tensor reversed(attn_tensor t, int d)
{
    t.data =
        (uint8_t *)t.data + (t.shape[d] - 1) * t.stride[d] * (int64_t)attn_dtype_size(t.dtype);
    t.stride[d] = -t.stride[d];
    return t;
}

static void test_views(void **state)
{
    static const int64_t shape[] = {4, 3, 5, 7};
    static const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 2, 1, 3}, {1, 0, 3, 2}};
    for (int i = 1; i < N_DTYPES; i++)
        for (size_t o = 0; o < sizeof orders / sizeof *orders; o++) {
            attn_tensor t = attn_tensor_permute(
                attn_tensor_make(pool_of(dtypes[i]), dtypes[i], 4, shape), orders[o]);
            check_everywhere(state, t);
            check_everywhere(state, attn_tensor_slice(t, 1, 1, t.shape[1]));
            check_everywhere(state, attn_tensor_slice(t, 3, 0, 2));
            for (int d = 0; d < 4; d++) check_everywhere(state, reversed(t, d));
            t.stride[2] = 0; /* one row again and again */
            check_everywhere(state, t);
        }
}

/* Longer than every buffer on the way, dense and not. */
static void test_long_rows(void **state)
{
    attn_tensor t = ATTN_TENSOR(pool_of(ATTN_DTYPE_F32), F32, 2, 8000);
    check_everywhere(state, t);
    t.shape[1] = 4000;
    t.stride[1] = 2;
    check_everywhere(state, t);
    check_everywhere(state, ATTN_TENSOR(pool_of(ATTN_DTYPE_BOOL), BOOL, 60000));
}

static void test_true_is_one(void **state)
{
    char path[512];
    uint8_t loose[4] = {0, 1, 2, 255};
    attn_tensor t = ATTN_TENSOR(loose, BOOL, 4);
    const char *const names[] = {"x"};
    for (size_t s = 0; s < N_SUFFIXES; s++) {
        attn_archive *a = NULL;
        char name[32];
        snprintf(name, sizeof name, "t%s", suffixes[s]);
        assert_int_equal(
            attn_archive_save(NULL, io_path(state, path, name), 1, names, &t, NULL, NULL), 0);
        assert_int_equal(attn_archive_load(&a, NULL, path, ATTN_FORMAT_AUTO, NULL), 0);
        assert_memory_equal(attn_archive_tensor(a, 0).data, "\0\1\1\1", 4);
        attn_archive_destroy(a);
    }
}

static void test_many_names(void **state)
{
    static const char *const names[] = {
        "z",          "",  "a.b/c", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82",
        "\"quo\\ted", "B", "a",     "weight"};
    enum { N = sizeof names / sizeof *names };
    attn_tensor tensors[N];
    for (int i = 0; i < N; i++)
        tensors[i] = attn_tensor_make(pool_of(ATTN_DTYPE_U8), dtypes[i == 2 ? 1 : i + 4], 1,
                                      (const int64_t[]){i * 3 + 1});
    memset(tensors[0].data, 1, POOL); /* legal for the bool among them */
    for (size_t s = 0; s < N_SUFFIXES; s++) {
        if (holds_many(suffixes[s])) check(state, suffixes[s], N, names, tensors);
        if (holds_many(suffixes[s])) check(state, suffixes[s], 0, NULL, NULL);
    }
}

static void test_same_tensors_same_bytes(void **state)
{
    char path[512];
    size_t n, m;
    attn_tensor x = ATTN_TENSOR(pool_of(ATTN_DTYPE_F32), F32, 5),
                y = ATTN_TENSOR(x.data, I8, 3);
    for (size_t s = 0; s < N_SUFFIXES; s++) {
        if (!holds_many(suffixes[s])) continue;
        char name[32];
        bool sorted = strcmp(suffixes[s], ".safetensors") == 0;
        snprintf(name, sizeof name, "t%s", suffixes[s]);
        io_path(state, path, name);
        const char *const one[] = {"x", "y"}, *const two[] = {"y", "x"};
        assert_int_equal(
            attn_archive_save(NULL, path, 2, one, (const attn_tensor[]){x, y}, NULL, NULL), 0);
        uint8_t *a = io_slurp(path, &n);
        if (sorted)
            attn_archive_save(NULL, path, 2, two, (const attn_tensor[]){y, x}, NULL, NULL);
        else
            attn_archive_save(NULL, path, 2, one, (const attn_tensor[]){x, y}, NULL, NULL);
        uint8_t *b = io_slurp(path, &m);
        assert_int_equal(n, m);
        assert_memory_equal(a, b, n);
        free(a);
        free(b);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, io_setup, io_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_every_type_and_rank),
        CASE(test_empty),
        CASE(test_views),
        CASE(test_long_rows),
        CASE(test_true_is_one),
        CASE(test_many_names),
        CASE(test_same_tensors_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
