/* SPDX-License-Identifier: MIT
 * What only the contents can tell: lengths inside their buffers, cumulative lengths that rise,
 * operands long enough for the longest packed sequence, positions inside their tables, and an
 * alignment where T and S differ. O(N) except for explicit positions, which are O(T + S). */
#include "engine/norm.h"
#include "engine/source.h"

attn_status attn__data_cu(const attn_tensor *cu, const char *where, int64_t rows,
                          attn_error *error)
{
    if (!attn__present(cu)) return ATTN_OK;
    int64_t last = attn__int_at(cu, 0, 0);
    if (last != 0)
        return attn__fail_count(error, ATTN_E_CUSEQ, where, "must start at 0", 0, last);
    for (int64_t i = 1; i < cu->shape[0]; i++) {
        int64_t next = attn__int_at(cu, i, 0);
        if (next < last)
            return attn__fail_count(error, ATTN_E_CUSEQ, where, "must not fall", last, next);
        last = next;
    }
    if (last > rows)
        return attn__fail_count(error, ATTN_E_CUSEQ, where, "ends beyond the tensor", rows,
                                last);
    return ATTN_OK;
}

attn_status attn__data_range(const attn_tensor *start, const attn_tensor *len,
                             const char *where, int64_t rows, int64_t n, attn_error *error)
{
    if (!attn__present(start) && !attn__present(len)) return ATTN_OK;
    for (int64_t b = 0; b < n; b++) {
        int64_t first = attn__present(start) ? attn__int_at(start, b, 0) : 0;
        int64_t count = attn__present(len) ? attn__int_at(len, b, 0) : rows - first;
        if (first < 0 || count < 0 || first > rows || count > rows - first)
            return attn__fail_count(error, ATTN_E_LENGTH, where,
                                    "a start or length is negative or beyond the tensor", rows,
                                    first < 0 || first > rows ? first : count);
    }
    return ATTN_OK;
}

static bool data_cells_ok(const attn__problem *p, const attn__seq *q)
{
    int64_t cells = p->spec.rel.height * p->spec.rel.width;
    return q->S <= cells && q->offset >= 0 && q->offset <= cells - q->T;
}

static attn_status data_seq(const attn__problem *p, const attn__seq *q, attn_error *error)
{
    const int64_t far = ATTN__FAR;
    if (q->offset < -far || q->offset > far)
        return attn__fail_count(error, ATTN_E_LENGTH, "offset", "is too large", far, q->offset);
    if (q->prefix < 0 || q->prefix > far)
        return attn__fail_count(error, ATTN_E_LENGTH, "prefix", "must not be negative", 0,
                                q->prefix);
    if (q->T == 0 || q->S == 0) return ATTN_OK;
    if (p->positional && p->spec.align == ATTN_ALIGN_UNSET && q->T != q->S)
        return attn__fail_count(error, ATTN_E_CAUSAL, "align",
                                "T and S differ: say which key the first query stands at", q->T,
                                q->S);
    if (p->spec.rel.kind == ATTN_REL_GRID && !data_cells_ok(p, q))
        return attn__fail_count(error, ATTN_E_LENGTH, "rel_table", "positions leave the grid",
                                p->spec.rel.height * p->spec.rel.width,
                                attn__max(q->S, q->offset + q->T));
    return ATTN_OK;
}

static attn_status data_table_row(int64_t position, int64_t rows, const char *where,
                                  attn_error *error)
{
    if (position >= 0 && position < rows) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_LENGTH, where,
                            "a position is outside the table of angles", rows, position);
}

static attn_status data_positions(const attn_tensor *pos, int64_t batch, int64_t first,
                                  int64_t n, int64_t base, int64_t rows, const char *where,
                                  attn_error *error)
{
    if (!attn__present(pos)) {
        if (n == 0) return ATTN_OK;
        ATTN_TRY(data_table_row(base, rows, where, error));
        return data_table_row(base + n - 1, rows, where, error);
    }
    for (int64_t i = 0; i < n; i++)
        ATTN_TRY(data_table_row(attn__int_at(pos, batch, first + i), rows, where, error));
    return ATTN_OK;
}

static attn_status data_angles(const attn__problem *p, const attn__seq *q, attn_error *error)
{
    if (!attn__present(&p->at.rope_cos)) return ATTN_OK;
    const int64_t rows = p->at.rope_cos.shape[0];
    ATTN_TRY(data_positions(&p->at.q_pos, q->qb, q->q0, q->T, q->offset, rows, "q_pos", error));
    if (!p->turns_keys) return ATTN_OK;
    return data_positions(&p->at.k_pos, q->kb, q->k0, q->S, 0, rows, "k_pos", error);
}

/* Packed sides: dims t and s (and the blocks) must reach the longest sequence. */
static attn_status data_operands(const attn__problem *p, int64_t longest_t, int64_t longest_s,
                                 attn_error *error)
{
    const attn_args *a = &p->at;
    const int64_t *tree = a->tree.shape;
    if (attn__present(&a->tree) && p->packed_q)
        for (int i = 1; i <= 2; i++)
            if (tree[i] < longest_t && tree[i] != 1)
                return attn__fail_count(error, ATTN_E_MASK, "tree",
                                        "is shorter than the longest packed queries", longest_t,
                                        tree[i]);
    const struct {
        const attn_tensor *t;
        const char *name;
        int64_t block_q, block_k;
        bool output;
    } all[] = {{&a->bias_pre, "bias_pre", 1, 1, false},
               {&a->bias, "bias", 1, 1, false},
               {&a->mask, "mask", 1, 1, false},
               {&a->center, "center", 1, 1, false},
               {&a->block_mask, "block_mask", p->spec.block_q, p->spec.block_k, false},
               {&a->weights, "weights", 1, 1, true},
               {&a->scores, "scores", 1, 1, true}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!attn__present(all[i].t)) continue;
        const int64_t *shape = all[i].t->shape;
        const int64_t t = attn__ceil_div(longest_t, all[i].block_q);
        const int64_t s = attn__ceil_div(longest_s, all[i].block_k);
        const attn_status bad = all[i].output ? ATTN_E_SHAPE : ATTN_E_MASK;
        if (p->packed_q && shape[2] < t && (all[i].output || shape[2] != 1))
            return attn__fail_count(error, bad, all[i].name,
                                    "is shorter than the longest packed queries", t, shape[2]);
        if (p->packed_k && shape[3] < s && (all[i].output || shape[3] != 1))
            return attn__fail_count(error, bad, all[i].name,
                                    "is shorter than the longest packed keys", s, shape[3]);
    }
    return ATTN_OK;
}

attn_status attn__data_check(const attn__problem *p, attn_error *error)
{
    const attn_args *a = &p->at;
    ATTN_TRY(attn__data_cu(&a->cu_q, "cu_q", p->T, error));
    ATTN_TRY(attn__data_cu(&a->cu_k, "cu_k", p->S, error));
    ATTN_TRY(attn__data_range(&a->q_start, &a->q_len,
                              attn__present(&a->q_len) ? "q_len" : "q_start", p->T, p->N,
                              error));
    ATTN_TRY(attn__data_range(&a->k_start, &a->k_len,
                              attn__present(&a->k_len) ? "k_len" : "k_start", p->S, p->N,
                              error));
    ATTN_TRY(attn__source_check_data(p, error));
    ATTN_TRY(attn__norm_check_data(p, error));
    int64_t longest_t = 0, longest_s = 0;
    for (int64_t b = 0; b < p->N; b++) {
        attn__seq q = attn__seq_get(p, b);
        ATTN_TRY(data_seq(p, &q, error));
        ATTN_TRY(data_angles(p, &q, error));
        longest_t = attn__max(longest_t, q.T);
        longest_s = attn__max(longest_s, q.S);
    }
    return data_operands(p, longest_t, longest_s, error);
}
