/* SPDX-License-Identifier: MIT
 * Memory that runs out while loading and saving: allocation n fails alone, then every one from
 * n on, for n = 0, 1, 2 ... until the call succeeds. Each time E_MEMORY, no object, nothing
 * leaked and no file that was not there before. */
#define _POSIX_C_SOURCE 200809L
#include "test_io.h"

typedef struct scene {
    attn_ctx *ctx;
    io_meter meter;
    const char *path;
    attn_save_options options;
} scene;

typedef attn_status (*scene_fn)(scene *s, attn_error *e);

static double data[64] = {1, 2, 3};
static const char *const names[] = {"first", "second", "third"};

static attn_tensor view(int i)
{
    attn_tensor t = ATTN_TENSOR(data, F64, 4, 6);
    if (i == 1) t = ATTN_TENSOR(data, F32, 3);
    if (i == 2) t = attn_tensor_permute(t, (const int[]){1, 0});
    return t;
}

static size_t decline(void *user, const void *bytes, size_t n, void *out, size_t capacity)
{
    /* No compressor: pretends to be one that fails, after both buffers were made. */
    (void)user, (void)bytes, (void)n, (void)out, (void)capacity;
    return 0;
}

static bool is_single(const char *path)
{
    return strstr(path, ".npy") || strstr(path, ".pb");
}

static attn_status scene_save(scene *s, attn_error *e)
{
    const attn_tensor tensors[] = {view(0), view(1), view(2)};
    return attn_archive_save(s->ctx, s->path, is_single(s->path) ? 1 : 3, names, tensors,
                             &s->options, e);
}

static attn_status scene_load(scene *s, attn_error *e)
{
    attn_archive *a = NULL;
    attn_status status = attn_archive_load(&a, s->ctx, s->path, ATTN_FORMAT_AUTO, e);
    assert_true((status == ATTN_OK) == (a != NULL));
    attn_archive_destroy(a);
    return status;
}

static attn_status scene_parse(scene *s, attn_error *e)
{
    size_t n;
    uint8_t *bytes = io_slurp(s->path, &n);
    attn_archive *a = NULL;
    attn_format format = strstr(s->path, ".npz")   ? ATTN_FORMAT_NPZ
                         : strstr(s->path, ".npy") ? ATTN_FORMAT_NPY
                         : strstr(s->path, ".pb")  ? ATTN_FORMAT_PB
                                                   : ATTN_FORMAT_SAFETENSORS;
    attn_status status = attn_archive_parse(&a, s->ctx, bytes, n, format, e);
    free(bytes);
    assert_true((status == ATTN_OK) == (a != NULL));
    attn_archive_destroy(a);
    return status;
}

static attn_status scene_onnx(scene *s, attn_error *e)
{
    attn_onnx_node *node = NULL;
    attn_status status = attn_onnx_load(&node, s->ctx, s->path, e);
    assert_true((status == ATTN_OK) == (node != NULL));
    attn_onnx_destroy(node);
    return status;
}

/* Returns how many allocations the call makes. */
static long sweep(void **state, scene *s, scene_fn run, bool from)
{
    for (long n = 0; n < 500; n++) {
        attn_error e = {0};
        int files = io_count_files(*state, false);
        long live = s->meter.live;
        s->meter.calls = 0;
        s->meter.fail_at = n;
        s->meter.from = from;
        attn_status status = run(s, &e);
        s->meter.fail_at = -1;
        assert_int_equal(s->meter.live, live);
        if (status == ATTN_OK) return n;
        assert_int_equal(status, ATTN_E_MEMORY);
        assert_int_equal(e.status, ATTN_E_MEMORY);
        assert_int_equal(io_count_files(*state, false), files);
    }
    fail_msg("it never succeeds");
    return -1;
}

static void sweep_both(void **state, scene *s, scene_fn run, long least)
{
    long alone = sweep(state, s, run, false);
    assert_int_equal(sweep(state, s, run, true), alone);
    if (alone < least) fail_msg("%s makes only %ld allocations", s->path, alone);
}

static void check_format(void **state, const char *name, attn_deflate_fn deflate, long least)
{
    char path[512];
    scene s = {.path = io_path(state, path, name)};
    s.options = (attn_save_options){.size = sizeof s.options, .deflate = deflate};
    s.ctx = io_meter_ctx(&s.meter);
    sweep_both(state, &s, scene_save, least);
    sweep_both(state, &s, scene_load, 3);
    sweep_both(state, &s, scene_parse, 3);
    attn_ctx_destroy(s.ctx);
    assert_int_equal(s.meter.live, 0);
}

static void test_npy(void **state)
{
    check_format(state, "a.npy", NULL, 1);
}
static void test_npz(void **state)
{
    check_format(state, "a.npz", NULL, 2);
}
static void test_npz_deflate(void **state)
{
    check_format(state, "a.npz", decline, 8);
}
static void test_safetensors(void **state)
{
    check_format(state, "a.safetensors", NULL, 2);
}
static void test_pb(void **state)
{
    check_format(state, "a.pb", NULL, 1);
}

static void test_onnx(void **state)
{
    /* ir_version 11, graph { node { input x, output y, op Relu, attribute a } }, opset 14 */
    static const uint8_t model[] = {0x08, 11,   0x3a, 0x15, 0x0a, 0x13, 0x0a, 0x01, 'x',  0x12,
                                    0x01, 'y',  0x22, 0x04, 'R',  'e',  'l',  'u',  0x2a, 0x05,
                                    0x0a, 0x01, 'a',  0x18, 0x01, 0x42, 0x02, 0x10, 14};
    char path[512];
    scene s = {.path = io_path(state, path, "m.onnx")};
    io_spill(path, model, sizeof model);
    s.ctx = io_meter_ctx(&s.meter);
    sweep_both(state, &s, scene_onnx, 3);
    attn_ctx_destroy(s.ctx);
    assert_int_equal(s.meter.live, 0);
}

/* A hostile claim must not be believed before it is compared with the bytes that are there. */
static void *frugal_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    size_t *most = user;
    (void)old_size;
    if (new_size > *most) *most = new_size;
    if (new_size) return aligned_alloc(align, (new_size + align - 1) / align * align);
    free(ptr);
    return NULL;
}

static void test_claims_cost_nothing(void **state)
{
    static const char *const files[] = {
        "header_4gb.npy",        "dim_huge.npy",       "data_short.npy",
        "zip_bomb.npz",          "pb_typed_huge.pb",   "zip_count_huge.npz",
        "pb_length_past_end.pb", "zip_count_more.npz", "st_header_past_end.safetensors"};
    size_t most = 0;
    attn_ctx *ctx = NULL;
    (void)state;
    assert_int_equal(
        attn_ctx_create(
            &ctx, &ATTN_CONFIG(.threads = 1, .alloc = frugal_alloc, .alloc_user = &most), NULL),
        ATTN_OK);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        attn_archive *a = NULL;
        most = 0;
        attn_status status =
            attn_archive_load(&a, ctx, io_hostile(path, files[i]), ATTN_FORMAT_AUTO, NULL);
        assert_true(status != ATTN_OK && status != ATTN_E_IO && status != ATTN_E_MEMORY);
        assert_true(most > 0 && most <= 8192);
    }
    attn_ctx_destroy(ctx);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, io_setup, io_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_npy), CASE(test_npz),  CASE(test_npz_deflate),         CASE(test_safetensors),
        CASE(test_pb),  CASE(test_onnx), CASE(test_claims_cost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
