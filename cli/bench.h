/* SPDX-License-Identifier: MIT
 * The parts of `attn bench`: a row says what is measured, a job is that row with its data, a
 * result what came of it. `attn demo` measures one row too. */
#ifndef ATTN_CLI_BENCH_H
#define ATTN_CLI_BENCH_H

#include "cli.h"

/* ---- bench_rows.c: what there is to measure ---------------------------------------------- */

/* What a row may say behind its sizes; rows and --shape know each by a word. */
enum bench_option {
    BENCH_CAUSAL = 1,   /* the last query stands at the last key */
    BENCH_BACKWARD = 2, /* attn_backward: d_q, d_k, d_v */
    BENCH_JVP = 4,      /* attn_jvp */
    BENCH_BIAS = 8,     /* of H T S: the batch shares it */
    BENCH_D_BIAS = 16,  /* that, and its gradient */
    BENCH_A_TURNED = 32,
    BENCH_B_TURNED = 64,  /* in memory K M, N K */
    BENCH_L2 = 128,       /* scores by distance */
    BENCH_ADDITIVE = 256, /* by tanh, with weights of the features */
    BENCH_DELTA = 512,    /* scans: the delta update */
    BENCH_DECAY = 1024,   /* scans: a decay for each key */
    BENCH_X40 = 2048,     /* q times 40, or times 200: peaked weights */
    BENCH_X200 = 4096,
    BENCH_COLD = 8192,    /* k and v come from memory: many copies in turn */
    BENCH_HALF = 16384,   /* precision = half */
    BENCH_CACHE = 32768,  /* k and v lie in a cache: bench_cache.c */
    BENCH_PAGE16 = 65536, /* the same, in pages of so many keys */
    BENCH_PAGE256 = 131072,
    BENCH_CACHES = BENCH_CACHE | BENCH_PAGE16 | BENCH_PAGE256
};

enum { BENCH_SIZES = 6 };
typedef struct bench_row {
    int64_t sizes[BENCH_SIZES]; /* B H G T S D, or B M N K */
    unsigned options;           /* bench_option bits */
    const char *dtype;          /* NULL: as --dtype says */
} bench_row;

typedef enum bench_threads {
    BENCH_GIVEN, /* as --threads says */
    BENCH_ENDS,  /* one, and as --threads says */
    BENCH_EACH   /* 1, 2, 4 ... */
} bench_threads;

struct bench_job;
typedef struct bench_suite {
    const char *name;
    const bench_row *rows;
    int n_rows, n_sizes;
    unsigned options; /* of all its rows */
    bench_threads threads;
    bool takes_minutes; /* runs only when named */
    /* Data, plan and workspace of one row, into a zeroed job; 0, or an exit code after a
     * message. The job is to be destroyed in either case. */
    int (*open)(struct bench_job *job, const bench_row *row, attn_dtype dtype);
} bench_suite;

const bench_suite *bench_suite_at(int i);                /* NULL past the end */
const char *bench_suite_name(const void *unused, int i); /* a cli_name_fn */

/* ---- bench_words.c: rows as text ---------------------------------------------------------- */

/* "1,8,8,2048,2048,64,causal" */
void bench_row_text(const bench_row *row, int n_sizes, char *text, size_t n);
/* The other way: B,H,G,T,S,D and the words of attention; 0, or an exit code after a message. */
int bench_row_parse(const char *text, bench_row *row);

/* ---- bench_job.c: how it is measured ----------------------------------------------------- */

enum { BENCH_TENSORS = 16 };
typedef struct bench_job {
    attn_ctx *ctx;
    attn_status (*call)(struct bench_job *job, attn_error *error);
    double flops;           /* of one call, unmasked pairs only */
    double bytes;           /* that one call has to read at least */
    bool reads;             /* reading bounds it, not arithmetic */
    int64_t n_copies, turn; /* of k and v, behind each other; the one that is next */
    size_t turn_bytes;      /* of one copy of k */
    attn_tensor k_all, v_all;
    attn_plan_info info;
    attn_cache *cache;
    attn_spec spec; /* attention */
    attn_args args;
    attn_plan *plan;
    void *workspace;
    size_t workspace_size;
    attn_scan_spec scan_spec; /* scans */
    attn_scan_args scan_args;
    attn_scan_plan *scan_plan;
    attn_tensor a, b, c; /* products */
    attn_tensor owned[BENCH_TENSORS];
    int n_owned;
    bool out_of_memory;
} bench_job;

/* A tensor of the job, of normal numbers, or zeros for seed 0. */
attn_tensor bench_tensor(bench_job *job, attn_dtype dtype, int rank, const int64_t *shape,
                         uint64_t seed);
void bench_fill(attn_tensor t, uint64_t seed); /* with normal numbers, dense */
int bench_memory(const bench_job *job);        /* 0, or an exit code after a message */
void bench_job_destroy(bench_job *job);

/* What the machine could do, in flop/s and bytes/s; 0: not measured. */
typedef struct bench_ceilings {
    double fma, memory, cache;
} bench_ceilings;

/* reader NULL: multiply-adds alone. */
bench_ceilings bench_measure_ceilings(const attn_ctx *ctx, const cli_reader *reader);
/* The mean of the two, member by member. */
bench_ceilings bench_between(bench_ceilings a, bench_ceilings b);

/* What one row gave; the ceilings were measured right before and right after. */
typedef struct bench_result {
    attn_plan_info info;
    int runs;
    double seconds;               /* median of one call */
    double least, most;           /* seconds; the extremes */
    double low, high;             /* seconds; the middle half lies between them */
    double speed, rate;           /* flops, bytes / seconds */
    bench_ceilings before, after; /* the ceilings */
    double of_fma, of_memory, of_cache;
    double fraction; /* of the ceiling that bounds it: of_memory if it reads, else of_fma */
} bench_result;

/* Calls for about so many seconds, at least three times. */
int bench_measure(bench_job *job, const cli_reader *reader, double seconds,
                  bench_result *result);

/* ---- bench_report.c: how it is told ------------------------------------------------------- */

/* A row as it was measured. */
typedef struct bench_line {
    const char *suite, *shape;
    const char *type; /* of k and v */
    attn_dtype dtype; /* of q and out */
    int threads;
    int64_t copies;      /* of k and v; 0: they are not turned round */
    int64_t cold_bytes;  /* of all copies together */
    bool half;           /* precision = half is asked for */
    double gain;         /* times as fast as with one thread; NaN when that was not measured */
    double ceiling_gain; /* what the ceiling itself gained meanwhile; NaN likewise */
} bench_line;

void bench_report_machine(const attn_ctx *ctx, const bench_ceilings *c, bool json);
void bench_report(const bench_line *line, const bench_result *result, bool json);
void bench_report_unmeasured(const bench_line *line, bool json);

/* ---- bench_attention.c, bench_product.c, bench_scan.c: the open of suites ----------------- */

int bench_attention(bench_job *job, const bench_row *row, attn_dtype dtype);
int bench_product(bench_job *job, const bench_row *row, attn_dtype dtype); /* halves: a and b */
int bench_scan(bench_job *job, const bench_row *row, attn_dtype dtype);

/* ---- bench_cache.c: keys and values of a cache -------------------------------------------- */

bool bench_coded(const char *type); /* of elements that only a cache knows */
/* The cache of a job, filled, and what of its bytes a call reads; 0, or an exit code after a
 * message. */
int bench_cache(bench_job *job, const bench_row *row, attn_dtype dtype);
void bench_cache_turn(bench_job *job); /* the sequences whose turn it is */

/* ---- bench_gallery.c: what mechanisms cost as their data grows -------------------------- */

/* Those that operands name, or all for "gallery"; 0, or an exit code after a message. */
int bench_gallery(const cli_args *args, int threads, bool json);

#endif
