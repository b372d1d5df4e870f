/* SPDX-License-Identifier: MIT
 * The zip side of npz: CRC-32, inflate on streams of every kind, the compressor of the caller,
 * zip64 and data descriptors as other writers make them, bounds on what unpacks. */
#define _POSIX_C_SOURCE 200809L
#include "io/io.h"
#include "test_io.h"

/* ---- pieces ------------------------------------------------------------------------------ */

static void test_crc(void **state)
{
    attn__crc crc;
    uint8_t bytes[64];
    (void)state;
    attn__crc_init(&crc);
    assert_int_equal(attn__crc_run(&crc, 0, (const uint8_t *)"123456789", 9), 0xCBF43926);
    assert_int_equal(attn__crc_run(&crc, 0, bytes, 0), 0);
    for (size_t i = 0; i < 64; i++) bytes[i] = (uint8_t)(i * 37);
    uint32_t whole = attn__crc_run(&crc, 0, bytes, 64);
    for (size_t cut = 0; cut <= 64; cut++) {
        uint32_t part = attn__crc_run(&crc, 0, bytes, cut);
        assert_int_equal(attn__crc_run(&crc, part, bytes + cut, 64 - cut), whole);
    }
}

/* A compressor in the words of RFC 1951: fixed codes, and runs of one byte as copies. */
typedef struct packer {
    uint8_t *out;
    size_t n, capacity;
    unsigned bits, n_bits;
} packer;

static void pack_bit(packer *p, unsigned bit)
{
    p->bits |= bit << p->n_bits;
    if (++p->n_bits < 8) return;
    if (p->n < p->capacity) p->out[p->n] = (uint8_t)p->bits;
    p->n++;
    p->bits = p->n_bits = 0;
}

static void pack_code(packer *p, unsigned code, unsigned n) /* highest bit first */
{
    while (n--) pack_bit(p, code >> n & 1);
}

static void pack_literal(packer *p, unsigned symbol)
{
    if (symbol < 144)
        pack_code(p, 0x30 + symbol, 8);
    else if (symbol < 256)
        pack_code(p, 0x190 + symbol - 144, 9);
    else if (symbol < 280)
        pack_code(p, symbol - 256, 7);
    else
        pack_code(p, 0xC0 + symbol - 280, 8);
}

static size_t pack(void *user, const void *bytes, size_t n, void *out, size_t capacity)
{
    const uint8_t *in = bytes;
    packer p = {.out = out, .capacity = capacity};
    ++*(int *)user;
    pack_bit(&p, 1);
    pack_bit(&p, 1);
    pack_bit(&p, 0);
    for (size_t i = 0, run; i < n; i += run) {
        run = 1;
        while (i && i + run <= n && run <= 258 && in[i + run - 1] == in[i - 1]) run++;
        run = run > 258 ? 258 : run - 1;
        if (run == 258) {
            pack_literal(&p, 285);
            pack_code(&p, 0, 5);
        } else {
            run = 1;
            pack_literal(&p, in[i]);
        }
    }
    pack_literal(&p, 256);
    while (p.n_bits) pack_bit(&p, 0);
    return p.n <= capacity ? p.n : 0;
}

typedef struct stream {
    const char *bytes;
    size_t n, size;
    char first; /* of the output, all of it */
} stream;

/* Made by zlib's tools: levels 0, 9 fixed, 9 dynamic, and an empty stream. */
static void test_inflate_known(void **state)
{
    static const stream streams[] = {
        {"\x01\x03\x00\xfc\xff\x61\x61\x61", 8, 3, 'a'},
        {"\x4b\x4c\x1c\x05\x00", 5, 0, 'a'},
        {"\x03\x00", 2, 0, 0},
        {"\x4b\x04\x00", 3, 1, 'a'},
        {"\x4b\x4c\x04\x00", 4, 2, 'a'},
        {"\x00\x01\x00\xfe\xff\x61\x4b\x04\x00", 9, 2, 'a'},
    };
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        const stream *s = &streams[i];
        uint8_t out[16] = {0};
        attn_error e = {0};
        attn_status status = attn__inflate((const uint8_t *)s->bytes, s->n, out, s->size, &e);
        if (i == 1) { /* a run that does not fit in nothing */
            assert_int_equal(status, ATTN_E_FORMAT);
            continue;
        }
        if (status != ATTN_OK) fail_msg("stream %zu: %s", i, e.what);
        for (size_t k = 0; k < s->size; k++) assert_int_equal(out[k], s->first);
    }
}

static void test_inflate_undoes_pack(void **state)
{
    static uint8_t in[3000], packed[6000], out[3000];
    (void)state;
    for (size_t n = 0; n <= sizeof in; n += 1 + n / 7) {
        int calls = 0;
        for (size_t i = 0; i < n; i++) in[i] = (uint8_t)(i % 1000 < 600 ? 0xE0 : i * 89);
        size_t k = pack(&calls, in, n, packed, sizeof packed);
        assert_true(k > 0);
        memset(out, 0, sizeof out);
        assert_int_equal(attn__inflate(packed, k, out, n, NULL), ATTN_OK);
        assert_memory_equal(in, out, n);
        if (n == 0) continue;
        assert_int_equal(attn__inflate(packed, k, out, n - 1, NULL), ATTN_E_FORMAT);
        assert_int_equal(attn__inflate(packed, k - 1, out, n, NULL), ATTN_E_TRUNC);
    }
}

/* ---- whole files ------------------------------------------------------------------------- */

static void test_compressor_is_used(void **state)
{
    char path[512];
    static float zeros[5000], noise[50];
    int calls = 0;
    size_t n;
    for (int i = 0; i < 50; i++) noise[i] = (float)i * 1.37f;
    const attn_tensor tensors[] = {ATTN_TENSOR(zeros, F32, 5000), ATTN_TENSOR(noise, F32, 50)};
    const char *const names[] = {"zeros", "noise"};
    attn_save_options o = {.size = sizeof o, .deflate = pack, .deflate_user = &calls};
    assert_int_equal(
        attn_archive_save(NULL, io_path(state, path, "a.npz"), 2, names, tensors, &o, NULL), 0);
    assert_int_equal(calls, 2);
    free(io_slurp(path, &n));
    assert_true(n < 2000);
    attn_archive *a = NULL;
    assert_int_equal(attn_archive_load(&a, NULL, path, ATTN_FORMAT_AUTO, NULL), ATTN_OK);
    for (int i = 0; i < 2; i++) {
        attn_tensor got = attn_archive_tensor(a, attn_archive_find(a, names[i]));
        assert_true(io_same(&tensors[i], &got));
    }
    attn_archive_destroy(a);
}

/* More members than the plain end record can count. */
static void test_many_members(void **state)
{
    enum { N = 65600 };
    char path[512], (*text)[8] = malloc(N * sizeof *text);
    const char **names = malloc(N * sizeof *names);
    attn_tensor *tensors = malloc(N * sizeof *tensors);
    int32_t value = 7;
    assert_true(text && names && tensors);
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "%d", i);
        names[i] = text[i];
        tensors[i] = attn_tensor_make(&value, ATTN_DTYPE_I32, 0, NULL);
    }
    assert_int_equal(
        attn_archive_save(NULL, io_path(state, path, "a.npz"), N, names, tensors, NULL, NULL),
        0);
    attn_archive *a = NULL;
    assert_int_equal(attn_archive_load(&a, NULL, path, ATTN_FORMAT_AUTO, NULL), ATTN_OK);
    assert_int_equal(attn_archive_count(a), N);
    for (int i = 0; i < N; i += 997) assert_int_equal(attn_archive_find(a, names[i]), i);
    attn_archive_destroy(a);
    free(tensors);
    free(names);
    free(text);
}

/* Sizes and offsets beyond 32 bits. Only when asked: it writes and reads 4 GiB. */
static void test_beyond_4_gib(void **state)
{
    char path[512];
    const char *asked = getenv("ATTN_LONG");
    uint8_t value = 42;
    const char *const names[] = {"wide", "after"};
    attn_tensor tensors[] = {ATTN_TENSOR(&value, U8, ((int64_t)1 << 32) + 5),
                             ATTN_TENSOR(&value, U8, 1)};
    attn_archive *a = NULL;
    if (!asked || !asked[0]) skip();
    tensors[0].stride[0] = 0;
    assert_int_equal(
        attn_archive_save(NULL, io_path(state, path, "a.npz"), 2, names, tensors, NULL, NULL),
        0);
    assert_int_equal(attn_archive_load(&a, NULL, path, ATTN_FORMAT_AUTO, NULL), ATTN_OK);
    attn_tensor wide = attn_archive_tensor(a, 0), after = attn_archive_tensor(a, 1);
    assert_int_equal(attn_tensor_count(wide), ((int64_t)1 << 32) + 5);
    assert_int_equal(((uint8_t *)wide.data)[(size_t)4 << 30], 42);
    assert_int_equal(*(uint8_t *)after.data, 42);
    attn_archive_destroy(a);
}

/* A file of one megabyte that promises a gigabyte and more: refused before anything is
 * unpacked. */
static void test_bomb_sum(void **state)
{
    enum { PACKED = 1150000 };
    const uint64_t size = (uint64_t)PACKED * 1032;
    static const char name[5] = {'a', '.', 'n', 'p', 'y'};
    uint8_t *p = calloc(1, PACKED + 200), *at = p;
    attn_archive *a = NULL;
    attn_error e = {0};
    (void)state;
    assert_non_null(p);
    for (int central = 0; central < 2; central++) {
        uint8_t *common = at + (central ? 6 : 4);
        attn__store32(at, central ? ATTN__ZIP_CENTRAL : ATTN__ZIP_LOCAL);
        attn__store16(common + 4, ATTN__ZIP_DEFLATED);
        attn__store32(common + 14, PACKED);
        attn__store32(common + 18, size);
        attn__store16(common + 22, 5);
        memcpy(at + (central ? 46 : 30), name, sizeof name);
        at += central ? 51 : 35 + PACKED;
    }
    attn__store32(at, ATTN__ZIP_END);
    attn__store16(at + 8, 1);
    attn__store16(at + 10, 1);
    attn__store32(at + 12, 51);
    attn__store32(at + 16, 35 + PACKED);
    size_t n = (size_t)(at + 22 - p);
    assert_int_equal(attn_archive_parse(&a, NULL, p, n, ATTN_FORMAT_NPZ, &e), ATTN_E_LIMIT);
    free(p);
}

/* ---- as others write --------------------------------------------------------------------- */

/* Files of tests/hostile that are odd and good: zip64 fields where none are needed, sizes
 * behind the data, all three kinds of deflate blocks. Each holds "a", 2 x 3 floats 0 to 5. */
static void test_odd_and_good(void **state)
{
    static const char *const files[] = {
        "good_stored.npz",       "good_zip64.npz",   "good_end64.npz", "good_descriptor.npz",
        "good_descriptor64.npz", "good_dynamic.npz", "good_fixed.npz", "good_blocks.npz"};
    float floats[] = {0, 1, 2, 3, 4, 5};
    attn_tensor want = ATTN_TENSOR(floats, F32, 2, 3);
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        attn_error e = {0};
        attn_archive *a = NULL;
        if (attn_archive_load(&a, NULL, io_hostile(path, files[i]), ATTN_FORMAT_AUTO, &e))
            fail_msg("%s: %s: %s", files[i], e.where, e.what);
        assert_int_equal(attn_archive_count(a), 1);
        attn_tensor got = attn_archive_tensor(a, attn_archive_find(a, "a"));
        assert_true(io_same(&want, &got));
        attn_archive_destroy(a);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, io_setup, io_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_crc),
        CASE(test_inflate_known),
        CASE(test_inflate_undoes_pack),
        CASE(test_compressor_is_used),
        CASE(test_many_members),
        CASE(test_beyond_4_gib),
        CASE(test_bomb_sum),
        CASE(test_odd_and_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
