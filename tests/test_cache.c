/* SPDX-License-Identifier: MIT
 * What a cache does with numbers it is given: how well each format keeps them, what rotation,
 * latent values and descriptions say, and files. What is held after which operation is the
 * business of test_cache_model. */
#include <float.h>
#include <math.h>
#include <unistd.h>

#include "safety.h"

#include "attn/cache.h"
#include "attn/io.h"

enum { G = 2, D = 7, E = 5, T = 9 };

/* One sequence of T tokens of these keys; values are of f32. */
static attn_cache *cache_of(attn_cache_format key, attn_tensor k)
{
    attn_cache *c;
    const attn_cache_spec spec =
        ATTN_CACHE(.sequences = 1, .heads = k.shape[1], .key_width = k.shape[3],
                   .capacity = k.shape[2], .key = key);
    const attn_cache_new rows =
        ATTN_CACHE_NEW(.k = k, .v = SAFETY_EMPTY(F32, 1, k.shape[1], k.shape[2], 0));
    assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
    assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
    return c;
}

/* What becomes of keys 1 G T D, as G T D of f64. */
static attn_tensor cache_kept(attn_cache_format key, attn_tensor k)
{
    attn_tensor back = SAFETY_EMPTY(F64, k.shape[1], k.shape[2], k.shape[3]);
    attn_cache *c = cache_of(key, k);
    assert_int_equal(attn_cache_read(c, 0, 0, k.shape[2], back, (attn_tensor){0}, NULL),
                     ATTN_OK);
    attn_cache_destroy(c);
    return back;
}

/* ---- formats ---------------------------------------------------------------------------- */

/* Rows of the size of a power of two each, down to where f32 ends, and one of zeros. */
static attn_tensor cache_rows_of_all_sizes(bool positive)
{
    attn_tensor k = SAFETY_FILLED(F32, 1, 1, 1, 260, D);
    for (int64_t i = 0; i < 260; i++)
        for (int64_t d = 0; d < D; d++) {
            double x = ldexp(safety_at(k, i * D + d), (int)(126 - i));
            x = fmax(fmin(x, (double)FLT_MAX), -(double)FLT_MAX);
            safety_put(k, i * D + d, i == 259 ? 0 : positive ? fabs(x) : x);
        }
    return k;
}

static void cache_coded_error(attn_cache_format f, bool positive)
{
    const double steps = f.type == ATTN_CACHE_I8 ? 127 : 7, ulp = ldexp(1, -22);
    const attn_tensor k = cache_rows_of_all_sizes(positive), back = cache_kept(f, k);
    for (int64_t i = 0; i < 260; i++) {
        double low = safety_at(k, i * D), high = low;
        for (int64_t d = 0; d < D; d++) {
            low = fmin(low, safety_at(k, i * D + d));
            high = fmax(high, safety_at(k, i * D + d));
        }
        const double most = fmax(-low, high);
        const double scale = f.asymmetric ? (high - low) / (2 * steps + 1) : most / steps;
        /* half a step, a step where it would overflow, and what the roundings of f32 add */
        const double step = most > 0x1p127 ? 1.001 : 0.5;
        const double bound = step * fmax(scale, (double)FLT_MIN) + ulp * most + 0x1p-149;
        for (int64_t d = 0; d < D; d++)
            safety_near(safety_at(back, i * D + d), safety_at(k, i * D + d), bound, "coded");
    }
    for (int64_t d = 0; d < D; d++) assert_true(safety_at(back, 259 * D + d) == 0);
}

static void cache_formats_are_close(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        cache_coded_error((attn_cache_format){.type = i & 1 ? ATTN_CACHE_I4 : ATTN_CACHE_I8,
                                              .asymmetric = (i & 2) != 0},
                          (i & 4) != 0);
}

/* The entry of this name. */
static attn_tensor cache_entry(const attn_cache *c, const char *name)
{
    attn_tensor view = {0};
    for (int64_t i = 0;; i++) {
        const char *other = attn_cache_entry(c, i, &view);
        assert_non_null(other);
        if (strcmp(name, other) == 0) return view;
    }
}

/* Floats are rounded once, as a copy of a tensor or a rotation rounds: the bits, NaN included. */
static void cache_floats_are_rounded(void **state)
{
    (void)state;
    static const attn_dtype dtypes[] = {[ATTN_CACHE_F32] = ATTN_DTYPE_F32,
                                        [ATTN_CACHE_F64] = ATTN_DTYPE_F64,
                                        [ATTN_CACHE_BF16] = ATTN_DTYPE_BF16,
                                        [ATTN_CACHE_F16] = ATTN_DTYPE_F16};
    const double odd[] = {(double)NAN, -(double)NAN, (double)INFINITY, 0x1.00ffffffcp0, 1e39,
                          0x1p-140,    -0x1p-150,    65519.99,         0x1.ffcp-15,     -0.0};
    enum { ODD = sizeof odd / sizeof odd[0], N = 400 };
    for (int i = 0; i < 32; i++) {
        const attn_dtype from = dtypes[i % 4], to = dtypes[i / 4 % 4];
        attn_tensor k = safety_filled(from, 3, SAFETY_DIMS(1, 1, N, D));
        const attn_rope_spec rope = {i < 16 ? ATTN_ROPE_NONE : ATTN_ROPE_HALF, D - 1, 0};
        for (int64_t x = 0; x < N * D; x += 3) safety_put(k, x, odd[x / 3 % ODD]);
        attn_tensor want = safety_make(to, SAFETY_DIMS(1, 1, N, D));
        if (i < 16) assert_int_equal(attn_tensor_copy(want, k, NULL), ATTN_OK);
        if (i >= 16)
            assert_int_equal(attn_rope(&rope, &k, NULL, NULL, NULL, &want, NULL), ATTN_OK);
        attn_cache *c;
        const attn_cache_spec spec =
            ATTN_CACHE(.sequences = 1, .heads = 1, .key_width = D, .capacity = N,
                       .key = {.type = (attn_cache_type)(i / 4 % 4)});
        const attn_cache_new rows =
            ATTN_CACHE_NEW(.k = k, .v = SAFETY_EMPTY(F32, 1, 1, N, 0), .rope = rope);
        assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
        assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
        assert_true(test_same_bits(cache_entry(c, "k"), want));
        attn_cache_destroy(c);
    }
}

/* A constant row has itself as its zero; the ends of a row are met. */
static void cache_asymmetric_rows(void **state)
{
    (void)state;
    const double rows[][4] = {
        {3.25, 3.25, 3.25, 3.25},
        {0x1p-90, 0x1p-90, 0x1p-90, 0x1p-90},
        {-0x1p-90, -0x1p-90, -0x1p-90, -0x1p-90},
        {(double)FLT_MAX, (double)FLT_MAX, (double)FLT_MAX, (double)FLT_MAX},
        {0, 0, 0, 0},
        {100, 100.5, 107.5, 107}};
    enum { ROWS = sizeof rows / sizeof rows[0] };
    attn_tensor k = SAFETY_EMPTY(F32, 1, 1, ROWS, 4);
    for (int64_t i = 0; i < 4 * ROWS; i++) safety_put(k, i, rows[i / 4][i % 4]);
    for (int i = 0; i < 2; i++) {
        const attn_cache_format f = {.type = i ? ATTN_CACHE_I8 : ATTN_CACHE_I4,
                                     .asymmetric = true};
        const attn_tensor back = cache_kept(f, k);
        for (int64_t x = 0; x < 4 * (ROWS - i); x++) /* the last in steps of 1/2: i4 */
            assert_true(safety_at(back, x) == rows[x / 4][x % 4]);
    }
}

/* A row with one number that is none is NaN as a whole, its neighbours are not. */
static void cache_rows_without_numbers(void **state)
{
    (void)state;
    const double odd[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (int i = 0; i < 12; i++) {
        const attn_cache_format f = {.type = i & 1 ? ATTN_CACHE_I4 : ATTN_CACHE_I8,
                                     .asymmetric = (i & 2) != 0};
        attn_tensor k = SAFETY_FILLED(F32, 4, 1, G, T, D);
        safety_put(k, 3 * D + i % D, odd[i / 4]);
        const attn_tensor back = cache_kept(f, k);
        for (int64_t x = 0; x < G * T * D; x++)
            assert_int_equal(safety_at(back, x) != safety_at(back, x), x / D == 3);
    }
}

static void cache_columns_clamp(void **state)
{
    (void)state;
    attn_tensor columns = SAFETY_EMPTY(F32, 1, 3), offsets = SAFETY_EMPTY(F32, 1, 3);
    attn_tensor k = SAFETY_EMPTY(F32, 1, 1, 2, 3);
    const double scale[] = {0.5, 0.25, 1}, zero[] = {1, 0, -2};
    const double in[] = {1e30, 0.25, -2.5, -1e30, -0.125, -1.5};
    const double i8[] = {63.5, 0.25, -2, -63.5, 0, -2}, i4[] = {4.5, 0.25, -2, -3, 0, -2};
    for (int64_t i = 0; i < 3; i++) safety_put(columns, i, scale[i]);
    for (int64_t i = 0; i < 3; i++) safety_put(offsets, i, zero[i]);
    for (int64_t i = 0; i < 6; i++) safety_put(k, i, in[i]);
    const attn_tensor a =
        cache_kept((attn_cache_format){ATTN_CACHE_I8, false, columns, {0}}, k);
    const attn_tensor b =
        cache_kept((attn_cache_format){ATTN_CACHE_I4, true, columns, offsets}, k);
    for (int64_t i = 0; i < 6; i++) assert_true(safety_at(a, i) == i8[i]);
    for (int64_t i = 0; i < 6; i++) assert_true(safety_at(b, i) == i4[i]);
    safety_put(k, 4, (double)NAN);
    const attn_cache_spec spec =
        ATTN_CACHE(.sequences = 1, .heads = 1, .key_width = 3, .capacity = 2,
                   .key = {.type = ATTN_CACHE_I8, .columns = columns});
    const attn_cache_new rows = ATTN_CACHE_NEW(.k = k, .v = SAFETY_EMPTY(F32, 1, 1, 2, 0));
    attn_error e;
    attn_cache *c;
    assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
    safety_put(columns, 0, 99); /* its own copy is what counts */
    assert_int_equal(attn_cache_append(c, &rows, &e), ATTN_E_PARAM);
    assert_string_equal(e.where, "k");
    assert_int_equal(attn_cache_length(c, 0), 0);
    attn_cache_destroy(c);
}

/* Two to a byte, the first in the low half; the half that is left over is 0. */
static void cache_half_bytes(void **state)
{
    (void)state;
    attn_tensor k = SAFETY_EMPTY(F32, 1, 1, 1, 3);
    const double row[] = {7, -7, -3};
    for (int64_t i = 0; i < 3; i++) safety_put(k, i, row[i]);
    attn_cache *c = cache_of((attn_cache_format){.type = ATTN_CACHE_I4}, k);
    const attn_tensor view = cache_entry(c, "k");
    assert_int_equal(view.dtype, ATTN_DTYPE_U8);
    assert_int_equal(view.shape[3], 2);
    assert_int_equal(((const uint8_t *)view.data)[0], 0x97);
    assert_int_equal(((const uint8_t *)view.data)[1], 0x0D);
    attn_cache_destroy(c);
}

/* ---- rotation --------------------------------------------------------------------------- */

/* Tables and positions of one's own, packed and padded: attn_rope's bits. */
static void cache_rotation(void **state)
{
    (void)state;
    attn_cache *c;
    const attn_rope_spec rope = {ATTN_ROPE_INTERLEAVED, 4, 0};
    const attn_tensor k = SAFETY_FILLED(F32, 1, 2, G, 3, D), v = SAFETY_EMPTY(F32, 2, G, 3, 0);
    const attn_tensor cos = SAFETY_FILLED(F32, 2, 20, 2), sin = SAFETY_FILLED(F32, 3, 20, 2);
    attn_tensor pos = SAFETY_LIST(I32, 4, 19, 0, 7, 7, 2), want = SAFETY_EMPTY(F32, 2, G, 3, D);
    pos = attn_tensor_make(pos.data, ATTN_DTYPE_I32, 2, (const int64_t[]){2, 3});
    const attn_cache_spec spec =
        ATTN_CACHE(.sequences = 2, .heads = G, .key_width = D, .capacity = 3);
    const attn_cache_new rows = ATTN_CACHE_NEW(.k = k, .v = v, .rope = rope, .rope_cos = cos,
                                               .rope_sin = sin, .rope_pos = pos);
    assert_int_equal(attn_rope(&rope, &k, &pos, &cos, &sin, &want, NULL), ATTN_OK);
    assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
    assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
    for (int64_t b = 0; b < 2; b++) {
        attn_tensor back = SAFETY_EMPTY(F32, G, 3, D);
        assert_int_equal(attn_cache_read(c, b, 0, 3, back, (attn_tensor){0}, NULL), ATTN_OK);
        for (int64_t i = 0; i < G * 3 * D; i++)
            assert_true(safety_at(back, i) == safety_at(want, b * G * 3 * D + i));
    }
    attn_cache_destroy(c);
}

/* ---- what it says of itself ------------------------------------------------------------- */

static void cache_descriptions(void **state)
{
    (void)state;
    attn_cache *c;
    attn_cache_info info;
    attn_cache_spec spec = ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = 3, .heads = G,
                                      .key_width = D, .value_width = E, .page = 4, .pages = 6,
                                      .key = {.type = ATTN_CACHE_I4, .asymmetric = true},
                                      .value = {.type = ATTN_CACHE_BF16});
    const attn_cache_new rows = ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 1, 1, G, T, D),
                                               .v = SAFETY_FILLED(F32, 2, 1, G, T, E));
    assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
    assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
    assert_int_equal(attn_cache_fork(c, 0, 2, NULL), ATTN_OK);
    attn_cache_describe(c, &info);
    assert_int_equal(info.spec.longest, 24);
    assert_int_equal(info.key_bytes, 4 + 8);
    assert_int_equal(info.value_bytes, 2 * E);
    assert_int_equal(info.pages_free, 3);
    assert_int_equal(info.pages_shared, 3);
    assert_int_equal(info.held, 2 * T);
    assert_true(info.bytes > 6 * 4 * G * (12 + 2 * E));
    attn_cache_destroy(c);
    spec = ATTN_CACHE(.kind = ATTN_CACHE_RING, .capacity = 4, .latent = true, .value_width = 2,
                      .key_width = 3, .value = {.type = ATTN_CACHE_I8});
    assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
    attn_cache_describe(c, &info);
    assert_true(info.spec.longest == (int64_t)1 << 40);
    assert_int_equal(info.key_bytes, 12);
    assert_int_equal(info.value_bytes, 0);
    attn_cache_destroy(c);
}

/* ---- files ------------------------------------------------------------------------------ */

static attn_cache *cache_saved_and_loaded(const attn_cache *c)
{
    char path[] = "/tmp/attn-cache-XXXXXX";
    const attn_save_options options = {.size = sizeof options,
                                       .format = ATTN_FORMAT_SAFETENSORS};
    const char *names[16];
    attn_tensor tensors[16];
    attn_archive *a;
    attn_cache *d;
    int64_t n = 0;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    while ((names[n] = attn_cache_entry(c, n, &tensors[n]))) n++;
    assert_int_equal(attn_archive_save(NULL, path, n, names, tensors, &options, NULL), ATTN_OK);
    assert_int_equal(attn_archive_load(&a, NULL, path, ATTN_FORMAT_SAFETENSORS, NULL), ATTN_OK);
    for (int64_t i = 0; i < n; i++) {
        names[i] = attn_archive_name(a, i);
        tensors[i] = attn_archive_tensor(a, i);
    }
    assert_int_equal(attn_cache_restore(&d, NULL, 1 << 20, n, names, tensors, NULL), ATTN_OK);
    attn_archive_destroy(a);
    unlink(path);
    return d;
}

static void cache_same_contents(const attn_cache *a, const attn_cache *b)
{
    attn_cache_info x, y;
    attn_tensor s, t;
    attn_cache_describe(a, &x);
    attn_cache_describe(b, &y);
    assert_int_equal(x.held, y.held);
    assert_int_equal(x.pages_free, y.pages_free);
    for (int64_t i = 0; attn_cache_entry(a, i, &s); i++) {
        assert_string_equal(attn_cache_entry(a, i, NULL), attn_cache_entry(b, i, &t));
        assert_true(test_same_bits(s, t));
    }
}

/* A wrapped ring, a forked pool with holes, a room: what the file gives back goes on alike. */
static void cache_files(void **state)
{
    (void)state;
    const attn_cache_format formats[] = {
        {.type = ATTN_CACHE_F32},
        {.type = ATTN_CACHE_F16},
        {.type = ATTN_CACHE_I4, .asymmetric = true},
        {.type = ATTN_CACHE_I8, .columns = SAFETY_FILLED(F32, 5, G, D)}};
    for (int64_t i = 0; i < G * D; i++) safety_put(formats[3].columns, i, 0.01);
    for (int i = 0; i < 12; i++) {
        const attn_cache_spec spec =
            ATTN_CACHE(.kind = (attn_cache_kind)(i % 3), .sequences = 3, .heads = G,
                       .key_width = D, .value_width = E, .capacity = i % 3 == 2 ? 0 : 2 * T,
                       .sinks = i % 3 == 1 ? 2 : 0, .page = i % 3 == 2 ? 4 : 0,
                       .pages = i % 3 == 2 ? 20 : 0, .key = formats[i / 3]);
        attn_cache *c;
        const attn_cache_new rows = ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 1, 2, G, T, D),
                                                   .v = SAFETY_FILLED(F32, 2, 2, G, T, E));
        assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
        for (int x = 0; x < (i % 3 == 1 ? 4 : 2); x++)
            assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
        assert_int_equal(attn_cache_evict(c, 0, 3, 6, NULL), ATTN_OK);
        assert_int_equal(attn_cache_fork(c, 0, 2, NULL), ATTN_OK);
        assert_int_equal(attn_cache_truncate(c, 2, 17, NULL), ATTN_OK);
        attn_cache *d = cache_saved_and_loaded(c);
        cache_same_contents(c, d);
        for (int64_t b = 0; b < 3; b++) {
            assert_int_equal(attn_cache_truncate(c, b, 11, NULL), ATTN_OK);
            assert_int_equal(attn_cache_truncate(d, b, 11, NULL), ATTN_OK);
        }
        assert_int_equal(attn_cache_append(c, &rows, NULL), attn_cache_append(d, &rows, NULL));
        attn_cache *e = cache_saved_and_loaded(d);
        cache_same_contents(d, e);
        attn_cache_destroy(e);
        attn_cache_destroy(d);
        attn_cache_destroy(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(cache_formats_are_close),
        SAFETY_CASE(cache_floats_are_rounded),
        SAFETY_CASE(cache_asymmetric_rows),
        SAFETY_CASE(cache_rows_without_numbers),
        SAFETY_CASE(cache_columns_clamp),
        SAFETY_CASE(cache_half_bytes),
        SAFETY_CASE(cache_rotation),
        SAFETY_CASE(cache_descriptions),
        SAFETY_CASE(cache_files),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, safety_finish);
}
