/* SPDX-License-Identifier: MIT
 * What mechanisms cost as their data grows: seconds of one call and the most memory the library
 * held during it, at lengths of 256 to 16384 along the letters that grow (pictures: of as many
 * pixels), other sizes as in the mechanism's table. Required inputs and the first output only.
 * A length that would take too long, judged by the one before, is left out. */
#include "bench.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const int64_t gallery_lengths[] = {256, 1024, 4096, 16384};
enum { GALLERY_LENGTHS = (int)(sizeof gallery_lengths / sizeof gallery_lengths[0]) };
static const double gallery_patience = 20, gallery_memory = 4e9; /* of one call */

/* ---- memory, counted --------------------------------------------------------------------- */

typedef struct gallery_meter {
    pthread_mutex_t lock;
    size_t now, most;
} gallery_meter;

static void *gallery_alloc(void *user, void *ptr, size_t old_size, size_t new_size,
                           size_t align)
{
    gallery_meter *m = user;
    void *p = NULL;
    if (new_size) p = aligned_alloc(align, (new_size + align - 1) / align * align);
    if (new_size && !p) return NULL;
    pthread_mutex_lock(&m->lock);
    m->now += new_size - (ptr ? old_size : 0);
    if (m->now > m->most) m->most = m->now;
    pthread_mutex_unlock(&m->lock);
    free(ptr);
    return p;
}

/* ---- one length -------------------------------------------------------------------------- */

typedef struct gallery_cost {
    double seconds, bytes; /* negative: not run */
} gallery_cost;

static void gallery_sizes(const attn_mech *mech, int64_t n, cli_sizes *sizes)
{
    const bool picture = strncmp(mech->grows, "YX", 2) == 0;
    cli_sizes_init(sizes, mech);
    for (const char *c = mech->grows; *c; c++)
        sizes->of[*c - 'A'] = picture ? (int64_t)sqrt((double)n) : n;
}

static int gallery_first_output(const attn_mech *mech)
{
    int i = 0;
    while (!(mech->slots[i].kind & ATTN_OUT)) i++;
    return i;
}

/* Calls until a tenth of a second has gone; the fastest counts. */
static attn_status gallery_time(attn_ctx *ctx, const attn_mech *mech, const attn_tensor *slots,
                                double *seconds, attn_error *error)
{
    attn_value params[ATTN_MAX_PARAMS];
    const double end = cli_seconds() + 0.1;
    attn_mech_defaults(mech, params);
    *seconds = HUGE_VAL;
    do {
        const double begin = cli_seconds();
        const attn_status status = attn_mech_run(ctx, mech, slots, params, error);
        if (status != ATTN_OK) return status;
        *seconds = fmin(*seconds, cli_seconds() - begin);
    } while (cli_seconds() < end);
    return ATTN_OK;
}

static int gallery_measure(const attn_mech *mech, int threads, int64_t n, gallery_cost *cost)
{
    gallery_meter meter = {.lock = PTHREAD_MUTEX_INITIALIZER};
    attn_ctx *ctx;
    attn_error error;
    cli_sizes sizes;
    attn_tensor slots[ATTN_MAX_SLOTS] = {0};
    const int out = gallery_first_output(mech);
    int rank;
    int64_t shape[ATTN_MAX_RANK];
    const attn_config config =
        ATTN_CONFIG(.threads = threads, .alloc = gallery_alloc, .alloc_user = &meter);
    if (attn_ctx_create(&ctx, &config, &error) != ATTN_OK) return cli_fail_error(NULL, &error);
    gallery_sizes(mech, n, &sizes);
    bool ready = cli_slots_fill(mech, &sizes, 1, slots) &&
                 attn_mech_shape(mech, slots, NULL, out, &rank, shape, &error) == ATTN_OK;
    if (ready) slots[out] = cli_array_new(ATTN_DTYPE_F32, rank, shape);
    if (ready && slots[out].data &&
        gallery_time(ctx, mech, slots, &cost->seconds, &error) == ATTN_OK)
        cost->bytes = (double)meter.most;
    for (int i = 0; mech->slots[i].name; i++) cli_array_free(&slots[i]);
    attn_ctx_destroy(ctx);
    return 0;
}

/* ---- all of them ------------------------------------------------------------------------- */

static void gallery_report(const attn_mech *mech, const gallery_cost *costs, bool json)
{
    if (!json) printf("%-10s %-24s", mech->family, mech->name);
    for (int i = 0; i < GALLERY_LENGTHS; i++) {
        if (!json && costs[i].bytes >= 0)
            printf(" %10.3f ms %9.2f MiB", 1e3 * costs[i].seconds, costs[i].bytes / 0x1p20);
        if (!json && costs[i].bytes < 0) printf(" %27s", "-");
        if (!json || costs[i].bytes < 0) continue;
        cli_json line = cli_json_begin("bench.gallery");
        cli_json_text(&line, "name", mech->name);
        cli_json_integer(&line, "n", gallery_lengths[i]);
        cli_json_number(&line, "seconds", costs[i].seconds);
        cli_json_number(&line, "bytes", costs[i].bytes);
        cli_json_end(&line);
    }
    if (!json) puts("");
    fflush(stdout);
}

static int gallery_mech(const attn_mech *mech, int threads, bool json)
{
    gallery_cost costs[GALLERY_LENGTHS];
    bool go = true;
    for (int i = 0; i < GALLERY_LENGTHS; i++) {
        costs[i] = (gallery_cost){.seconds = -1, .bytes = -1};
        const int code = go ? gallery_measure(mech, threads, gallery_lengths[i], &costs[i]) : 0;
        if (code) return code;
        go = costs[i].bytes >= 0 && 16 * costs[i].seconds < gallery_patience &&
             16 * costs[i].bytes < gallery_memory;
    }
    gallery_report(mech, costs, json);
    return 0;
}

static bool gallery_asked(const cli_args *args, const attn_mech *mech)
{
    for (int i = 0; i < args->n_operands; i++) {
        if (strcmp(args->operands[i], "gallery") == 0) return true;
        if (attn_mech_find(args->operands[i]) == mech) return true;
    }
    return false;
}

int bench_gallery(const cli_args *args, int threads, bool json)
{
    const attn_mech *mech;
    bool any = false;
    int code = 0;
    for (int m = 0; !code && (mech = attn_mech_at(m)) != NULL; m++) {
        if (!gallery_asked(args, mech)) continue;
        if (!any && !json) {
            printf("%-10s %-24s", "family", "mechanism");
            for (int i = 0; i < GALLERY_LENGTHS; i++)
                printf(" %12s%-6d %9s", "n = ", (int)gallery_lengths[i], "memory");
            puts("");
        }
        any = true;
        code = gallery_mech(mech, threads, json);
    }
    return code;
}
