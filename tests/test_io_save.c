/* SPDX-License-Identifier: MIT
 * How files appear: whole or not at all, with the rights of the one they replace, through
 * links, and directly where nothing can be renamed. And everything a caller can ask that is no
 * sense. */
#define _DEFAULT_SOURCE
#include "test_io.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static float floats[6] = {1, -2, 3, 0.5f, 1e30f, -0.0f};

static attn_tensor small(void)
{
    return ATTN_TENSOR(floats, F32, 2, 3);
}

static attn_status save_one(const char *path, attn_tensor t, attn_error *e)
{
    const char *const names[] = {"x"};
    return attn_archive_save(NULL, path, 1, names, &t, NULL, e);
}

static void expect_loads(const char *path, attn_tensor want)
{
    attn_archive *a = NULL;
    assert_int_equal(attn_archive_load(&a, NULL, path, ATTN_FORMAT_AUTO, NULL), ATTN_OK);
    attn_tensor got = attn_archive_tensor(a, 0);
    assert_true(io_same(&want, &got));
    attn_archive_destroy(a);
}

/* ---- places ------------------------------------------------------------------------------ */

static void test_only_the_file_appears(void **state)
{
    char path[512];
    assert_int_equal(save_one(io_path(state, path, "a.npz"), small(), NULL), ATTN_OK);
    assert_int_equal(io_count_files(*state, false), 1);
    expect_loads(path, small());
}

static void test_replaced_file_keeps_its_rights(void **state)
{
    char path[512];
    struct stat st;
    io_spill(io_path(state, path, "a.npy"), "old", 3);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(save_one(path, small(), NULL), ATTN_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    expect_loads(path, small());
}

static void test_reader_of_the_old_file_keeps_it(void **state)
{
    char path[512], old[3];
    io_spill(io_path(state, path, "a.npy"), "old", 3);
    int fd = open(path, O_RDONLY);
    assert_int_equal(save_one(path, small(), NULL), ATTN_OK);
    assert_int_equal(read(fd, old, 3), 3);
    assert_memory_equal(old, "old", 3);
    close(fd);
}

static void test_link_is_followed(void **state)
{
    char path[512], link[512];
    struct stat st;
    io_spill(io_path(state, path, "target.npy"), "old", 3);
    assert_int_equal(symlink("target.npy", io_path(state, link, "link.npy")), 0);
    assert_int_equal(save_one(link, small(), NULL), ATTN_OK);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    expect_loads(path, small());
    assert_int_equal(io_count_files(*state, false), 2);
}

static void test_link_to_nowhere_fails(void **state)
{
    char link[512];
    assert_int_equal(symlink("nothing.npy", io_path(state, link, "link.npy")), 0);
    assert_int_equal(save_one(link, small(), NULL), ATTN_E_IO);
    assert_int_equal(io_count_files(*state, false), 1);
}

static void test_missing_folder_fails(void **state)
{
    char path[512];
    attn_error e = {0};
    assert_int_equal(save_one(io_path(state, path, "no/a.npy"), small(), &e), ATTN_E_IO);
    assert_string_equal(e.what, "no such file or directory");
    assert_int_equal(save_one("/", small(), NULL), ATTN_E_NAME);
    assert_int_equal(io_count_files(*state, false), 0);
}

static void test_bare_name_goes_to_the_working_folder(void **state)
{
    char old[512], path[512];
    const io_folder *folder = *state;
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(folder->path), 0);
    attn_status status = save_one("a.npy", small(), NULL);
    assert_int_equal(chdir(old), 0);
    assert_int_equal(status, ATTN_OK);
    expect_loads(io_path(state, path, "a.npy"), small());
}

/* ---- special files ----------------------------------------------------------------------- */

static void test_full_device(void **state)
{
    attn_error e = {0};
    attn_tensor t = small();
    attn_save_options o = {.size = sizeof o, .format = ATTN_FORMAT_NPY};
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    assert_int_equal(attn_archive_save(NULL, "/dev/full", 1, NULL, &t, &o, &e), ATTN_E_IO);
    assert_string_equal(e.what, "no space left on the device");
    struct stat st;
    assert_int_equal(lstat("/dev/full", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void *drain(void *arg)
{
    attn_archive *a = NULL;
    attn_archive_load(&a, NULL, arg, ATTN_FORMAT_AUTO, NULL);
    return a;
}

static void test_pipe_both_ways(void **state)
{
    char path[512];
    pthread_t reader;
    void *archive = NULL;
    static float many[100000];
    for (size_t i = 0; i < 100000; i++) many[i] = (float)i;
    attn_tensor t = ATTN_TENSOR(many, F32, 100, 1000), got;
    assert_int_equal(mkfifo(io_path(state, path, "pipe.npz"), 0600), 0);
    assert_int_equal(pthread_create(&reader, NULL, drain, path), 0);
    assert_int_equal(save_one(path, t, NULL), ATTN_OK);
    pthread_join(reader, &archive);
    assert_non_null(archive);
    got = attn_archive_tensor(archive, 0);
    assert_true(io_same(&t, &got));
    attn_archive_destroy(archive);
}

static void test_descriptor_is_appended_to(void **state)
{
    char path[512], descriptor[64];
    attn_tensor t = small();
    attn_save_options o = {.size = sizeof o, .format = ATTN_FORMAT_NPY};
    struct stat before, after;
    io_spill(io_path(state, path, "out.npy"), "", 0);
    int fd = open(path, O_WRONLY);
    assert_int_equal(fstat(fd, &before), 0);
    snprintf(descriptor, sizeof descriptor, "/proc/self/fd/%d", fd);
    if (access(descriptor, W_OK) != 0) skip();
    assert_int_equal(attn_archive_save(NULL, descriptor, 1, NULL, &t, &o, NULL), ATTN_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    close(fd);
    expect_loads(path, t);
    assert_int_equal(io_count_files(*state, false), 1);
}

/* ---- failures ---------------------------------------------------------------------------- */

static void test_full_disk_leaves_the_old_file(void **state)
{
    char path[512];
    static float many[50000];
    attn_error e = {0};
    struct rlimit old, tiny;
    io_spill(io_path(state, path, "a.npz"), "old", 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tiny = old;
    tiny.rlim_cur = 65536;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
    attn_status status = save_one(path, ATTN_TENSOR(many, F32, 50000), &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, ATTN_E_IO);
    assert_string_equal(e.what, "the file grew over a limit");
    assert_int_equal(io_count_files(*state, false), 1);
    size_t n;
    uint8_t *bytes = io_slurp(path, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(bytes, "old", 3);
    free(bytes);
}

static void test_load_failures(void **state)
{
    char path[512];
    attn_archive *a = NULL;
    attn_error e = {0};
    const io_folder *folder = *state;
    assert_int_equal(attn_archive_load(&a, NULL, io_path(state, path, "no.npy"), 0, &e),
                     ATTN_E_IO);
    assert_string_equal(e.what, "no such file or directory");
    assert_string_equal(e.where, "file");
    assert_int_equal(attn_archive_load(&a, NULL, folder->path, ATTN_FORMAT_NPY, &e), ATTN_E_IO);
    assert_string_equal(e.what, "is a directory");
    assert_int_equal(attn_archive_load(&a, NULL, "x.txt", 0, &e), ATTN_E_NAME);
    assert_int_equal(attn_archive_load(&a, NULL, "x.npy", (attn_format)99, &e), ATTN_E_ENUM);
    assert_int_equal(attn_archive_load(&a, NULL, NULL, 0, &e), ATTN_E_NULL);
    assert_int_equal(attn_archive_load(NULL, NULL, "x.npy", 0, &e), ATTN_E_NULL);
    assert_int_equal(attn_archive_parse(&a, NULL, "x", 1, ATTN_FORMAT_AUTO, &e), ATTN_E_ENUM);
    assert_int_equal(attn_archive_parse(&a, NULL, NULL, 1, ATTN_FORMAT_NPY, &e), ATTN_E_NULL);
    assert_int_equal(attn_archive_parse(&a, NULL, NULL, 0, ATTN_FORMAT_NPY, &e), ATTN_E_TRUNC);
    assert_null(a);
}

typedef struct bad_save {
    const char *path;
    int64_t n;
    const char *names[2];
    attn_dtype dtype;
    int32_t rank;
    attn_status status;
} bad_save;

static const bad_save bad_saves[] = {
    {"a.npy", 2, {"x", "y"}, ATTN_DTYPE_F32, 1, ATTN_E_UNSUPPORTED},
    {"a.pb", 0, {"x"}, ATTN_DTYPE_F32, 1, ATTN_E_UNSUPPORTED},
    {"a.npz", -1, {"x"}, ATTN_DTYPE_F32, 1, ATTN_E_LIMIT},
    {"a.npz", 2, {"x", "x"}, ATTN_DTYPE_F32, 1, ATTN_E_DUP},
    {"a.safetensors", 2, {"x", "x"}, ATTN_DTYPE_F32, 1, ATTN_E_DUP},
    {"a.npz", 2, {"x", NULL}, ATTN_DTYPE_F32, 1, ATTN_E_NULL},
    {"a.npz", 1, {"a\nb"}, ATTN_DTYPE_F32, 1, ATTN_E_NAME},
    {"a.npz", 1, {"\xff"}, ATTN_DTYPE_F32, 1, ATTN_E_NAME},
    {"a.npz", 1, {"../x"}, ATTN_DTYPE_F32, 1, ATTN_E_NAME},
    {"a.safetensors", 1, {"__metadata__"}, ATTN_DTYPE_F32, 1, ATTN_E_NAME},
    {"a.npy", 1, {"x"}, ATTN_DTYPE_BF16, 1, ATTN_E_DTYPE},
    {"a.npz", 2, {"x", "y"}, ATTN_DTYPE_BF16, 1, ATTN_E_DTYPE},
    {"a.npz", 1, {"x"}, ATTN_DTYPE_NONE, 1, ATTN_E_NULL},
    {"a.txt", 1, {"x"}, ATTN_DTYPE_F32, 1, ATTN_E_NAME},
};

static void test_senseless_saves(void **state)
{
    char path[512];
    double data[2] = {0};
    for (size_t i = 0; i < sizeof bad_saves / sizeof *bad_saves; i++) {
        const bad_save *b = &bad_saves[i];
        attn_tensor t = {data, b->dtype, b->rank, {1}, {1}};
        attn_tensor tensors[2] = {t, t};
        attn_error e = {0};
        attn_status got = attn_archive_save(NULL, io_path(state, path, b->path), b->n, b->names,
                                            tensors, NULL, &e);
        if (got != b->status) fail_msg("row %zu: got %s", i, attn_status_name(got));
        assert_int_equal(e.status, b->status);
    }
    assert_int_equal(io_count_files(*state, false), 0);
}

static void test_senseless_arguments(void **state)
{
    attn_tensor t = small(), no_data = t;
    const char *const names[] = {"x"};
    attn_save_options old = {.size = 4}, odd = {.size = sizeof odd, .format = (attn_format)77};
    (void)state;
    no_data.data = NULL;
    assert_int_equal(attn_archive_save(NULL, NULL, 1, names, &t, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_archive_save(NULL, "a.npz", 1, NULL, &t, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_archive_save(NULL, "a.npz", 1, names, NULL, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_archive_save(NULL, "a.npz", 1, names, &no_data, NULL, NULL),
                     ATTN_E_NULL);
    assert_int_equal(attn_archive_save(NULL, "a.npz", 1, names, &t, &old, NULL),
                     ATTN_E_VERSION);
    assert_int_equal(attn_archive_save(NULL, "a.npz", 1, names, &t, &odd, NULL), ATTN_E_ENUM);
    assert_int_equal(attn_archive_count(NULL), 0);
    assert_null(attn_archive_name(NULL, 0));
    assert_int_equal(attn_archive_tensor(NULL, 0).dtype, ATTN_DTYPE_NONE);
    assert_int_equal(attn_archive_find(NULL, "x"), -1);
    attn_archive_destroy(NULL);
    attn_onnx_destroy(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, io_setup, io_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_only_the_file_appears),
        CASE(test_replaced_file_keeps_its_rights),
        CASE(test_reader_of_the_old_file_keeps_it),
        CASE(test_link_is_followed),
        CASE(test_link_to_nowhere_fails),
        CASE(test_missing_folder_fails),
        CASE(test_bare_name_goes_to_the_working_folder),
        CASE(test_full_device),
        CASE(test_pipe_both_ways),
        CASE(test_descriptor_is_appended_to),
        CASE(test_full_disk_leaves_the_old_file),
        CASE(test_load_failures),
        CASE(test_senseless_saves),
        CASE(test_senseless_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
