/* SPDX-License-Identifier: MIT
 * How fast this machine reads: from memory, out of an array that no cache holds, and from its
 * last cache, out of a third of what that holds. Several ways of asking for the lines are tried
 * and the fastest counts: a ceiling is what nobody passes. */
#include "cli.h"

#include <math.h>

enum { READ_BYTES = 256 << 20, READ_CACHE = 32 << 20 };

/* Streams side by side, and how many bytes ahead each fetches. */
static const struct read_way {
    int streams;
    int64_t ahead;
} read_ways[] = {{1, 0}, {1, 1024}, {1, 4096}, {1, 8192}, {2, 2048}, {4, 0}, {4, 1024}};

/* What the last cache of the first CPU holds, as Linux tells it (the C library's own answer is
 * that of all sockets on some virtual machines); a usual size where nobody tells. */
static int64_t read_cache_bytes(void)
{
    for (int index = 3; index >= 2; index--) {
        char path[64];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
        FILE *file = fopen(path, "r");
        long long kib = 0;
        if (!file) continue;
        const bool told = fscanf(file, "%lldK", &kib) == 1 && kib > 0 && kib < 1 << 22;
        fclose(file);
        if (told) return kib * 1024;
    }
    return READ_CACHE;
}

bool cli_reader_init(cli_reader *reader)
{
    const int64_t cache = read_cache_bytes(), least = READ_BYTES;
    const int64_t bytes = 8 * cache > least ? 8 * cache : least;
    int64_t n = bytes / (int64_t)sizeof(float);
    *reader = (cli_reader){.buffer = cli_array_new(ATTN_DTYPE_F32, 1, &n)};
    if (!reader->buffer.data) return false;
    float *data = reader->buffer.data;
    for (int64_t i = 0; i < n; i++) data[i] = 1;
    reader->n = n;
    reader->n_cached = cache / 3 / (int64_t)sizeof(float);
    return true;
}

void cli_reader_destroy(cli_reader *reader)
{
    cli_array_free(&reader->buffer);
}

typedef struct read_share {
    const attn_ctx *ctx;
    const float *x;
    int64_t n, rounds;
    struct read_way way;
    double sum; /* keeps the reads alive */
} read_share;

static void read_part(void *arg)
{
    read_share *s = arg;
    for (int64_t r = 0; r < s->rounds; r++)
        s->sum += attn_probe_read(s->ctx, s->x, s->n, s->way.streams, s->way.ahead);
}

/* The first n numbers by all threads, so many times over: bytes a second. */
static double read_rate(const cli_reader *reader, const attn_ctx *ctx, int64_t n,
                        int64_t rounds, struct read_way way)
{
    read_share shares[CLI_MEASURE_THREADS];
    void *args[CLI_MEASURE_THREADS] = {NULL};
    const int threads = cli_measure_threads(ctx);
    const int64_t each = n / threads;
    for (int i = 0; i < threads; i++) {
        shares[i] = (read_share){.ctx = ctx,
                                 .x = (const float *)reader->buffer.data + i * each,
                                 .n = each,
                                 .rounds = rounds,
                                 .way = way};
        args[i] = &shares[i];
    }
    const double seconds = cli_measure_together(read_part, args, threads);
    return (double)(each * threads * rounds) * (double)sizeof(float) / seconds;
}

static double read_best(const cli_reader *reader, const attn_ctx *ctx, int64_t n,
                        int64_t rounds)
{
    double best = 0;
    if (!reader->buffer.data) return best;
    for (size_t i = 0; i < sizeof read_ways / sizeof read_ways[0]; i++)
        best = fmax(best, read_rate(reader, ctx, n, rounds, read_ways[i]));
    return best;
}

double cli_measure_memory(const cli_reader *reader, const attn_ctx *ctx)
{
    return read_best(reader, ctx, reader->n, 1);
}

double cli_measure_cache(const cli_reader *reader, const attn_ctx *ctx)
{
    const int64_t rounds = reader->n_cached > 0 ? reader->n / reader->n_cached / 4 + 1 : 1;
    return read_best(reader, ctx, reader->n_cached, rounds);
}
