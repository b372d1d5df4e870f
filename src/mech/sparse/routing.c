/* SPDX-License-Identifier: MIT
 * Routing attention: tokens go to clusters, each of which takes those nearest to its centre.
 *
 *     cluster c takes the `window` queries of largest q_i . mu_c / |q_i|, and keys alike
 *     out_i = mean over the clusters c that took i of softmax_(j in c)(q_i . k_j / sqrt(D)) v_j
 *
 * q, k B H T D, v B H T E, centroids H C D. window 0 means T / C, so clusters are balanced and
 * with C about sqrt(T) the cost is T sqrt(T). Lengths 1 are for choosing only: attention uses q
 * and k as they are. A token that no cluster took gives 0; one that several took, the mean.
 * causal hides later keys within a cluster (which tokens a cluster takes still depends on all);
 * k_memory and v_memory, M pairs that every cluster of a head has too, are for queries that
 * would see nothing then. Tokens that mask B T hides go to no cluster, also as queries.
 * Neither the choice nor the centroids have a gradient: they follow the tokens by a running
 * mean, mu <- .999 mu + .001 mean of the unit tokens whose nearest centre (q_cluster,
 * k_cluster) it is, and commitment, the mean square of unit token minus nearest centre over q
 * and k, is to be added to the loss, times 1e-4. Roy et al. 2020 (2003.05997). */
#include "mech/mech.h"

#include <math.h>

enum { Q, K, V, CENTROIDS, K_MEMORY, V_MEMORY, MASK, OUT, COMMITMENT, Q_CLUSTER, K_CLUSTER };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [CENTROIDS] = {"centroids", ATTN_PARAM, "H C D", "of the clusters, of length 1 or so"},
    [K_MEMORY] = {"k_memory", ATTN_PARAM | ATTN_OPTIONAL | ATTN_GRAD, "H M D",
                  "keys of every cluster; with v_memory"},
    [V_MEMORY] = {"v_memory", ATTN_PARAM | ATTN_OPTIONAL | ATTN_GRAD, "H M E",
                  "values of every cluster"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a token"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [COMMITMENT] = {"commitment", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B H",
                    "how far tokens are from their centres"},
    [Q_CLUSTER] = {"q_cluster", ATTN_OUT | ATTN_OPTIONAL | ATTN_IDS, "B H T",
                   "the nearest centre of each query"},
    [K_CLUSTER] = {"k_cluster", ATTN_OUT | ATTN_OPTIONAL | ATTN_IDS, "B H T",
                   "the nearest centre of each key"},
    {0}};

enum { WINDOW, CAUSAL };
static const attn_param params[] = {
    [WINDOW] = {"window", 'i', "0", NULL, "tokens that a cluster takes; 0: T / C"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "no key behind the query"},
    {0}};

typedef struct routing {
    int64_t B, H, T, C, M, window;
    const uint8_t *visible; /* B T, or NULL */
    const uint8_t *took[2]; /* queries, keys: B H C T */
    bool causal;
} routing;

/* ---- groups: a cluster of a head --------------------------------------------------------- */

static int64_t routing_taken(const routing *p, int64_t g, int side, int64_t *rows)
{
    const uint8_t *took = p->took[side] + g * p->T;
    int64_t n = 0;
    for (int64_t i = 0; i < p->T; i++) {
        if (!took[i]) continue;
        if (rows) rows[n] = g / p->C * p->T + i;
        n++;
    }
    return n;
}

static int64_t routing_queries(const void *user, int64_t g, int64_t *rows)
{
    return routing_taken(user, g, 0, rows);
}

/* Memory stands behind all tokens, and first in the list. */
static int64_t routing_keys(const void *user, int64_t g, int64_t *rows)
{
    const routing *p = user;
    const int64_t base = p->B * p->H * p->T + g / p->C % p->H * p->M;
    for (int64_t m = 0; rows && m < p->M; m++) rows[m] = base + m;
    return p->M + routing_taken(p, g, 1, rows ? rows + p->M : NULL);
}

static void routing_sees(const void *user, int64_t g, int64_t q, int64_t n, const int64_t *k,
                         uint8_t *flags)
{
    const routing *p = user;
    (void)g;
    for (int64_t j = 0; j < n; j++) flags[j] = j < p->M || k[j] <= q;
}

/* ---- choosing ---------------------------------------------------------------------------- */

/* Of unit tokens to centres: B H C T, hidden tokens -inf. */
static attn_var routing_near(const attn__build *b, attn_var unit)
{
    attn_tape *t = b->t;
    const attn_var turned = attn_tape_transpose(t, attn_tape_stop(t, unit), 2, 3);
    const attn_var near = attn_tape_matmul(t, b->in[CENTROIDS], turned);
    if (!attn__given(b->in[MASK])) return near;
    const attn_var shown = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, b->in[MASK], 1), 1);
    return attn_tape_where(t, shown, near, attn_tape_scalar(t, -(double)INFINITY));
}

/* The k-th largest of n numbers, k from 0, by parting them at one of their own; x is left in
 * another order. */
static double routing_nth(double *x, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        const double pivot = x[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i > j) break;
            const double y = x[i];
            x[i++] = x[j], x[j--] = y;
        }
        if (k > j && k < i) return x[k];
        if (k <= j) high = j;
        if (k >= i) low = i;
    }
    return x[low];
}

/* A cluster takes the nearest tokens, the lower of equals; hidden ones never. */
static void routing_line(const routing *p, const double *near, double *room, uint8_t *took)
{
    if (p->window == 0) return;
    for (int64_t i = 0; i < p->T; i++) room[i] = near[i];
    const double least = routing_nth(room, p->T, p->window - 1);
    int64_t left = p->window;
    for (int64_t i = 0; i < p->T; i++)
        if (near[i] > least) took[i] = 1, left--;
    for (int64_t i = 0; i < p->T && left > 0 && least > -(double)INFINITY; i++)
        if (near[i] == least) took[i] = 1, left--;
}

/* One flag for every cluster and token. What is not a number is nearest of all: it shows. */
static const uint8_t *routing_take(const attn__build *b, const routing *p, attn_var near)
{
    const attn_tensor v = attn_tape_value(b->t, near); /* B H C T */
    const int64_t lines = p->B * p->H * p->C;
    uint8_t *took = attn__tape_memory(b->t, lines * p->T, 1);
    double *line = attn__tape_memory(b->t, 2 * p->T, sizeof *line);
    if (!took || !line || !attn__present(&v)) return NULL;
    for (int64_t x = 0; x < lines; x++) {
        for (int64_t i = 0; i < p->T; i++) {
            const double y = attn__get(v.dtype, v.data, x * p->T + i);
            line[i] = y != y ? (double)INFINITY : y;
        }
        routing_line(p, line, line + p->T, took + x * p->T);
    }
    return took;
}

static const routing *routing_open(const attn__build *b, const attn_var *near)
{
    const int64_t T = attn__build_size(b, 'T'), C = attn__build_size(b, 'C');
    const int64_t window = b->params[WINDOW].i ? b->params[WINDOW].i : attn__ceil_div(T, C);
    routing p = {.B = attn__build_size(b, 'B'),
                 .H = attn__build_size(b, 'H'),
                 .T = T,
                 .C = C,
                 .M = attn__given(b->in[K_MEMORY]) ? attn__build_size(b, 'M') : 0,
                 .window = attn__min(window, T),
                 .visible = attn__tape_visible(b->t, b->in[MASK], 1),
                 .causal = b->params[CAUSAL].i};
    for (int side = 0; side < 2; side++) p.took[side] = routing_take(b, &p, near[side]);
    return p.took[0] && p.took[1] ? attn__tape_keep(b->t, &p, sizeof p) : NULL;
}

/* ---- answers ----------------------------------------------------------------------------- */

static attn_var routing_table(attn_tape *t, attn_var rows, attn_var memory)
{
    const attn_var both[] = {attn__tape_rows(t, rows), attn__tape_rows(t, memory)};
    return attn__given(memory) ? attn_tape_concat(t, 2, both, 0) : both[0];
}

/* The mean over the clusters that took a query: listed rows back to B H T E. */
static attn_var routing_back(const attn__build *b, const routing *p, const attn__groups *g,
                             attn_var listed)
{
    attn_tape *t = b->t;
    const attn_tensor v = attn_tape_value(t, listed);
    if (!attn__present(&v)) return (attn_var){0};
    const int64_t rows = p->B * p->H * p->T, n = v.shape[0], E = v.shape[1];
    int64_t *ids = attn__tape_memory(t, n, sizeof *ids);
    double *share = attn__tape_memory(t, rows, sizeof *share);
    if (!ids || !share) return (attn_var){0};
    for (int64_t i = 0, at = 0; i < g->n; i++) at += routing_queries(p, i, ids + at);
    for (int64_t i = 0; i < n; i++) share[ids[i]] += 1;
    for (int64_t i = 0; i < rows; i++) share[i] = share[i] > 0 ? 1 / share[i] : 0;
    const attn_var to =
        attn_tape_expand(t, attn__tape_ids(t, ids, ATTN_DIMS(n, 1)), ATTN_DIMS(n, E));
    const attn_var zeros = attn_tape_expand(t, attn_tape_scalar(t, 0), ATTN_DIMS(rows, E));
    const attn_var sum = attn_tape_scatter_add(t, zeros, 0, to, listed);
    const attn_var weight = attn_tape_input(
        t, attn_tensor_make(share, ATTN_DTYPE_F64, 2, (const int64_t[]){rows, 1}));
    return attn_tape_reshape(t, attn_tape_mul(t, sum, weight), ATTN_DIMS(p->B, p->H, p->T, E));
}

static void routing_attend(const attn__build *b, const routing *p)
{
    attn_tape *t = b->t;
    const attn__groups g = {.n = p->B * p->H * p->C,
                            .per = p->H * p->C,
                            .q = routing_queries,
                            .k = routing_keys,
                            .sees = p->causal ? routing_sees : NULL,
                            .user = p};
    const attn_attention_vars rows = {.q = attn__tape_rows(t, b->in[Q]),
                                      .k = routing_table(t, b->in[K], b->in[K_MEMORY]),
                                      .v = routing_table(t, b->in[V], b->in[V_MEMORY])};
    b->out[OUT] = routing_back(b, p, &g, attn__attend_groups(t, NULL, &rows, &g, NULL));
}

/* Squares of unit token minus nearest centre, B H T, hidden tokens 0. */
static attn_var routing_apart(const attn__build *b, const routing *p, attn_var unit,
                              attn_var nearest)
{
    attn_tape *t = b->t;
    const attn_tensor id = attn_tape_value(t, nearest);
    const int64_t n = p->B * p->H * p->T;
    int64_t *rows = attn__tape_memory(t, n, sizeof *rows);
    if (!rows || !attn__present(&id)) return (attn_var){0};
    for (int64_t x = 0; x < n; x++)
        rows[x] = x / p->T % p->H * p->C + attn__get_int(id.dtype, id.data, x);
    const attn_var centre =
        attn_tape_embedding(t, attn__tape_rows(t, b->in[CENTROIDS]),
                            attn__tape_ids(t, rows, ATTN_DIMS(p->B, p->H, p->T)), -1);
    const attn_var d = attn_tape_sub(t, unit, centre);
    const attn_var apart = attn_tape_mean(t, attn_tape_mul(t, d, d), ATTN_DIMS(-1), false);
    if (!attn__given(b->in[MASK])) return apart;
    return attn_tape_where(t, attn_tape_unsqueeze(t, b->in[MASK], 1), apart,
                           attn_tape_scalar(t, 0));
}

/* The mean over the tokens of both sides that are not hidden; 0 when there is none. */
static void routing_commit(const attn__build *b, const routing *p, const attn_var *unit,
                           const attn_var *nearest)
{
    attn_tape *t = b->t;
    double *share = attn__tape_memory(t, p->B, sizeof *share);
    if (!b->wanted[COMMITMENT] || !share) return;
    for (int64_t x = 0; x < p->B * p->T; x++)
        share[x / p->T] += !p->visible || p->visible[x] ? 2 : 0;
    for (int64_t i = 0; i < p->B; i++) share[i] = share[i] > 0 ? 1 / share[i] : 0;
    const attn_var both = attn_tape_add(t, routing_apart(b, p, unit[0], nearest[0]),
                                        routing_apart(b, p, unit[1], nearest[1]));
    b->out[COMMITMENT] =
        attn_tape_mul(t, attn_tape_sum(t, both, ATTN_DIMS(-1), false),
                      attn_tape_input(t, attn_tensor_make(share, ATTN_DTYPE_F64, 2,
                                                          (const int64_t[]){p->B, 1})));
}

static void routing_build(const attn__build *b)
{
    const bool memory = attn__given(b->in[K_MEMORY]);
    if (!attn__build_need(b, attn__build_size(b, 'C') > 0, ATTN_E_SHAPE, "centroids",
                          "needs at least one cluster", 1, attn__build_size(b, 'C')) ||
        !attn__build_need(b, b->params[WINDOW].i >= 0, ATTN_E_PARAM, "window",
                          "must not be negative", 0, b->params[WINDOW].i) ||
        !attn__build_need(b, memory == attn__given(b->in[V_MEMORY]), ATTN_E_NULL,
                          memory ? "v_memory" : "k_memory", "the other memory is given", 1, 0))
        return;
    const attn_var unit[] = {attn__unit(b->t, b->in[Q], -1), attn__unit(b->t, b->in[K], -1)};
    const attn_var near[] = {routing_near(b, unit[0]), routing_near(b, unit[1])};
    const attn_var nearest[] = {attn_tape_argmax(b->t, near[0], 2, false),
                                attn_tape_argmax(b->t, near[1], 2, false)};
    const routing *p = routing_open(b, near);
    if (!p) return;
    b->out[Q_CLUSTER] = nearest[0];
    b->out[K_CLUSTER] = nearest[1];
    routing_attend(b, p);
    routing_commit(b, p, unit, nearest);
}

const attn_mech attn__mech_routing = {
    .name = "routing",
    .family = "sparse",
    .about = "tokens attend within learned clusters",
    .formula = "out_i = mean over clusters c that took i of softmax_c(q_i k_j / sqrt(D)) v_j",
    .cost = "n sqrt n: time T window (D + E) with window = T / C, memory T (C + D + E)",
    .source = "2003.05997",
    .sizes = "B=1,H=2,T=8,D=4,E=4,C=3,M=1",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = routing_build,
};
