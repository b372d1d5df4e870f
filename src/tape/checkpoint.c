/* SPDX-License-Identifier: MIT
 * attn_tape_checkpoint: a segment of a formula that keeps nothing but its inputs.
 *
 * Forward, it runs without recording; whatever it made is forgotten, except its results, and
 * one node stands for it. When the backward reaches that node, the segment runs again, on the
 * same variables and recording this time. Its nodes are the youngest then, so the walk goes
 * through them next and adds to the gradients of the inputs in the order that it would have
 * had without a checkpoint: the bits are the same. After that they are forgotten too. Segments
 * may lie inside of segments; those that are open form a list, so nothing here recurs. */
#include "tape/graph.h"

typedef struct attn__segment {
    attn_segment_fn fn;
    void *user;
    int64_t node;                /* while open: its number */
    int64_t n_vars, n_nodes;     /* while open: how many there were before */
    struct attn__segment *outer; /* while open */
    int n_in, n_out;
    attn_var var[]; /* in, then out, of the second run */
} attn__segment;

static const char checkpoint_name[] = "attn_tape_checkpoint";

/* ---- the node ---------------------------------------------------------------------------- */

static size_t segment_bytes(int n_in, int n_out)
{
    return sizeof(attn__segment) + (size_t)(n_in + n_out) * sizeof(attn_var);
}

void attn__segment_free(attn_tape *t, attn__segment *segment)
{
    if (!segment) return;
    attn__tape_delete(t, segment, segment_bytes(segment->n_in, segment->n_out));
}

int64_t attn__segment_base(const attn_tape *t)
{
    return t->segment ? t->segment->n_nodes : 0;
}

/* The node holds the inputs from before the first run, which may drop them. */
static attn__node *checkpoint_node(attn_tape *t, int n_in, const attn_var *in, int n_out)
{
    attn__node *node = attn__node_new(t, n_in, n_out);
    if (!node) return NULL;
    node->segment = attn__tape_new(t, segment_bytes(n_in, n_out));
    if (!node->segment) {
        attn__node_free(t, node);
        return NULL;
    }
    *node->segment = (attn__segment){.n_in = n_in, .n_out = n_out};
    for (int i = 0; i < n_in; i++) {
        if (!in[i].tape) continue;
        const attn__variable *v = &t->vars[in[i].id];
        node->operand[i] = (attn__operand){
            .value = v->value, .memory = attn__block_hold(v->memory), .id = in[i].id};
    }
    return node;
}

/* ---- the first run ----------------------------------------------------------------------- */

static attn_status checkpoint_check(const attn_tape *t, attn_segment_fn fn, int n_in,
                                    const attn_var *in, int n_out, const attn_var *out,
                                    attn_error *error)
{
    const char *why;
    if (!fn || n_in < 0 || n_out < 0 || (n_in > 0 && !in) || (n_out > 0 && !out))
        return attn__fail(error, ATTN_E_NULL, checkpoint_name,
                          "no function, no inputs or no place for the results");
    for (int i = 0; i < n_in; i++)
        if (in[i].tape && !attn__var_find(t, in[i], &why))
            return attn__fail(error, ATTN_E_HANDLE, checkpoint_name, why);
    return ATTN_OK;
}

static attn_status checkpoint_check_results(const attn_tape *t, int n_out, const attn_var *out,
                                            attn_error *error)
{
    const char *why;
    for (int i = 0; i < n_out; i++)
        if (!attn__var_find(t, out[i], &why))
            return attn__fail_name(error, ATTN_E_HANDLE, checkpoint_name,
                                   "the segment left a result that is not usable", why);
    return ATTN_OK;
}

/* The smallest number above last among the results; -1: none. */
static int64_t checkpoint_next(int n_out, const attn_var *out, int64_t last)
{
    int64_t next = -1;
    for (int i = 0; i < n_out; i++)
        if (out[i].id > last && (next < 0 || out[i].id < next)) next = out[i].id;
    return next;
}

/* Results made since `mark` move to the front, the rest is forgotten. */
static void checkpoint_settle(attn_tape *t, int64_t mark, int n_out, attn_var *out)
{
    int64_t kept = mark;
    for (int64_t id = mark - 1; (id = checkpoint_next(n_out, out, id)) >= 0; kept++) {
        const attn__variable v = t->vars[kept];
        t->vars[kept] = t->vars[id];
        t->vars[id] = v;
        for (int i = 0; i < n_out; i++)
            if (out[i].id == id) out[i].id = (int32_t)kept;
    }
    attn__tape_shrink(t, kept, t->n_nodes);
    for (int64_t id = mark; id < kept; id++) t->vars[id].age = t->age;
    for (int i = 0; i < n_out; i++)
        if (out[i].id >= mark) out[i].age = t->age;
}

/* Whether any new result wants a gradient; the node learns which. */
static bool checkpoint_note(const attn_tape *t, attn__node *node, int64_t mark,
                            const attn_var *out)
{
    bool needs = false;
    for (int i = 0; i < node->n_out; i++) {
        const attn__variable *v = &t->vars[out[i].id];
        if (out[i].id < mark || !v->needs) continue;
        needs = true;
        node->operand[node->n_in + i] = (attn__operand){.value = v->value, .id = out[i].id};
        node->operand[node->n_in + i].value.data = NULL;
    }
    return needs;
}

static attn_status checkpoint_run(attn_tape *t, attn__node *node, const attn_var *in,
                                  attn_var *out, attn_error *error)
{
    const int64_t mark = t->n_vars;
    const attn__segment *segment = node->segment;
    t->pauses++;
    segment->fn(t, segment->user, in, out);
    t->pauses--;
    attn_status s = attn_tape_status(t, error);
    if (s == ATTN_OK) s = checkpoint_check_results(t, node->n_out, out, error);
    checkpoint_settle(t, mark, s == ATTN_OK ? node->n_out : 0, out);
    ATTN_TRY(s);
    if (checkpoint_note(t, node, mark, out) && t->pauses == 0)
        attn__node_add(t, node);
    else
        attn__node_free(t, node);
    return ATTN_OK;
}

bool attn_tape_checkpoint(attn_tape *t, attn_segment_fn fn, void *user, int n_in,
                          const attn_var *in, int n_out, attn_var *out)
{
    attn_error error = {.status = ATTN_OK};
    attn__node *node = NULL;
    for (int i = 0; out && i < n_out; i++) out[i] = (attn_var){0};
    if (!attn__tape_ready(t)) return false;
    attn_status s = checkpoint_check(t, fn, n_in, in, n_out, out, &error);
    if (s == ATTN_OK) {
        node = checkpoint_node(t, n_in, in, n_out);
        if (!node) s = attn__fail(&error, ATTN_E_MEMORY, checkpoint_name, "out of memory");
    }
    if (node) {
        node->segment->fn = fn;
        node->segment->user = user;
        s = checkpoint_run(t, node, in, out, &error);
    }
    if (s == ATTN_OK) return true;
    attn__node_free(t, node);
    for (int i = 0; out && i < n_out; i++) out[i] = (attn_var){0};
    attn__tape_fail(t, &error);
    return false;
}

/* ---- the second run ---------------------------------------------------------------------- */

/* Inputs that were dropped have their values back while the segment runs. */
static void segment_lend(attn_tape *t, attn__node *node)
{
    for (int i = 0; i < node->n_in; i++) {
        attn__operand *operand = &node->operand[i];
        operand->lent = operand->id >= 0 && t->vars[operand->id].gone;
        if (operand->lent) {
            attn__variable *v = &t->vars[operand->id];
            v->value = operand->value;
            v->memory = attn__block_hold(operand->memory);
            v->gone = false;
        }
        node->segment->var[i] = attn__var_handle(t, operand->id);
    }
}

static void segment_take_back(attn_tape *t, attn__node *node)
{
    for (int i = 0; i < node->n_in; i++)
        if (node->operand[i].lent) attn__var_forget(t, &t->vars[node->operand[i].id]);
}

static bool segment_same_shape(const attn_tensor *a, const attn_tensor *b)
{
    bool same = a->rank == b->rank && a->dtype == b->dtype;
    for (int d = 0; same && d < a->rank; d++) same = a->shape[d] == b->shape[d];
    return same;
}

/* The gradient of a result of the first run is that of the second's. */
static attn_status segment_hand_over(attn_tape *t, const attn__node *node, attn_error *error)
{
    const attn_var *out = node->segment->var + node->n_in;
    for (int i = 0; i < node->n_out; i++) {
        const attn__operand *result = &node->operand[node->n_in + i];
        if (result->id < 0 || !t->vars[result->id].grad) continue;
        attn__variable *first = &t->vars[result->id], *second = &t->vars[out[i].id];
        const bool same = out[i].id >= node->segment->n_vars && second->needs &&
                          !second->grad && segment_same_shape(&second->value, &result->value);
        if (!same)
            return attn__fail(error, ATTN_E_PARAM, checkpoint_name,
                              "the segment did something else the second time");
        second->grad = first->grad;
        second->retained = first->retained;
        first->grad = NULL;
    }
    return ATTN_OK;
}

attn_status attn__segment_open(attn_tape *t, int64_t i, attn_error *error)
{
    attn__node *node = t->nodes[i];
    attn__segment *segment = node->segment;
    attn_var *out = segment->var + node->n_in;
    segment->node = i;
    segment->n_vars = t->n_vars;
    segment->n_nodes = t->n_nodes;
    segment->outer = t->segment;
    t->segment = segment;
    for (int k = 0; k < node->n_out; k++) out[k] = (attn_var){0};
    segment_lend(t, node);
    segment->fn(t, segment->user, segment->var, out);
    segment_take_back(t, node);
    ATTN_TRY(attn_tape_status(t, error));
    ATTN_TRY(checkpoint_check_results(t, node->n_out, out, error));
    return segment_hand_over(t, node, error);
}

int64_t attn__segment_close(attn_tape *t)
{
    attn__segment *segment = t->segment;
    const attn__node *node = t->nodes[segment->node];
    for (int i = 0; i < node->n_out; i++) {
        const attn_var x = segment->var[node->n_in + i];
        const int64_t first = node->operand[node->n_in + i].id;
        attn__variable *second = x.tape && x.id >= segment->n_vars ? &t->vars[x.id] : NULL;
        if (first < 0 || !second || !second->retained || t->vars[first].grad) continue;
        t->vars[first].grad = second->grad;
        second->grad = NULL;
    }
    attn__tape_shrink(t, segment->n_vars, segment->n_nodes);
    t->segment = segment->outer;
    return segment->node;
}
