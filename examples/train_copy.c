/* SPDX-License-Identifier: MIT
 * Two layers of a transformer learn to copy. A sequence is twelve symbols, a separator, and the
 * same twelve again; at each place of the second half the model is asked which symbol is next.
 * Every step draws new sequences, forgets the tape, puts the weights on it, goes forward, asks
 * for gradients, and moves the weights by Adam. Printed is the loss, and of how many of these
 * sequences, which it has never seen, the model gets the whole second half right. */
#include <attn.h>
#include <math.h>
#include <stdio.h>

enum { N = 12, T = 2 * N, B = 16, SEP = 20, D = 32, H = 4, LAYERS = 2, STEPS = 400 };
enum { EMBED, PLACE, LAYER, WEIGHTS = LAYER + 4 * LAYERS, MOST = 4 * D * D };

static const int64_t rows[WEIGHTS] = {SEP + 1, T, 3 * D, D, 4 * D, D, 3 * D, D, 4 * D, D};
static float weight[WEIGHTS][MOST], mean[WEIGHTS][MOST], square[WEIGHTS][MOST];
static int64_t ids[B * T], next[B * T]; /* next is SEP where the model is not asked */
static const attn_var none;             /* an operand that is not given */

static int64_t columns(int i) /* D, but 4 D of the second matrix of a GELU's pair */
{
    return i > LAYER && (i - LAYER) % 4 == 3 ? 4 * D : D;
}

static uint32_t chance(uint32_t below)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static attn_var normed(attn_tape *t, attn_var x, attn_var w, attn_activation act)
{
    return attn_tape_linear(t, attn_tape_layernorm(t, x, 1, none, none, 0), w, none, act);
}

static attn_var heads(attn_tape *t, attn_var x) /* B T D -> B H T D/H */
{
    x = attn_tape_reshape(t, x, ATTN_DIMS(B, T, H, D / H));
    return attn_tape_transpose(t, x, 1, 2);
}

static attn_var layer(attn_tape *t, attn_var x, const attn_var *w)
{
    const attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_TOP_LEFT);
    attn_attention_vars a = {.sink = none};
    attn_var part[3], y = normed(t, x, w[0], ATTN_ACT_NONE);
    attn_tape_split(t, y, -1, 3, part);
    a.q = heads(t, part[0]), a.k = heads(t, part[1]), a.v = heads(t, part[2]);
    y = attn_tape_transpose(t, attn_tape_attention(t, &spec, &a, NULL, NULL), 1, 2);
    y = attn_tape_reshape(t, y, ATTN_DIMS(B, T, D));
    x = attn_tape_add(t, x, attn_tape_linear(t, y, w[1], none, ATTN_ACT_NONE));
    y = attn_tape_linear(t, normed(t, x, w[2], ATTN_ACT_GELU), w[3], none, ATTN_ACT_NONE);
    return attn_tape_add(t, x, y);
}

static attn_var model(attn_tape *t, attn_var *w) /* B T SEP+1: how likely each symbol is next */
{
    for (int i = 0; i < WEIGHTS; i++)
        w[i] = attn_tape_param(t, ATTN_TENSOR(weight[i], F32, rows[i], columns(i)));
    attn_var x = attn_tape_input(t, ATTN_TENSOR(ids, I64, B, T));
    x = attn_tape_add(t, attn_tape_embedding(t, w[EMBED], x, -1), w[PLACE]);
    for (int i = 0; i < LAYERS; i++) x = layer(t, x, &w[LAYER + 4 * i]);
    return normed(t, x, w[EMBED], ATTN_ACT_NONE);
}

static void draw(void)
{
    for (int i = 0; i < B * T; i++) {
        ids[i] = i % T < N ? chance(SEP) : i % T == N ? SEP : ids[i - N - 1];
        next[i] = i % T < N ? SEP : ids[i - N];
    }
}

static void adam(int k, const float *grad)
{
    for (int64_t i = 0; i < rows[k] * columns(k); i++) {
        mean[k][i] += 0.1f * (grad[i] - mean[k][i]);
        square[k][i] += 0.01f * (grad[i] * grad[i] - square[k][i]);
        weight[k][i] -= 0.002f * mean[k][i] / (sqrtf(square[k][i]) + 1e-8f);
    }
}

static int copied(const int64_t *best) /* of how many sequences every answer is right */
{
    int right = 0, streak = 0;
    for (int i = 0; i < B * T; i++) {
        streak = i % T < N ? 0 : streak + (best[i] == next[i]);
        right += streak == N;
    }
    return right;
}

int main(void)
{
    attn_tape *t;
    attn_error e;
    attn_var w[WEIGHTS];
    if (attn_tape_create(&t, NULL, NULL, &e) != ATTN_OK) return puts(e.what), 1;
    for (int i = 0; i < WEIGHTS * MOST; i++)
        weight[i / MOST][i % MOST] =
            ((float)chance(2001) / 1000 - 1) / sqrtf((float)columns(i / MOST));
    for (int step = 0; step <= STEPS; step++) {
        draw();
        attn_tape_reset(t);
        const attn_var target = attn_tape_input(t, ATTN_TENSOR(next, I64, B, T));
        const attn_var y = model(t, w);
        const attn_var loss = attn_tape_cross_entropy(t, y, target, 0, SEP, ATTN_REDUCE_MEAN);
        const attn_var best = attn_tape_argmax(t, y, -1, false);
        if (attn_tape_backward(t, loss, &e) != ATTN_OK)
            return printf("%s: %s\n", e.where, e.what), 1;
        for (int i = 0; i < WEIGHTS; i++) adam(i, attn_tape_grad(t, w[i]).data);
        if (step % 50) continue;
        printf("step %3d  loss %.4f  copied %2d of %d\n", step,
               (double)*(float *)attn_tape_value(t, loss).data,
               copied(attn_tape_value(t, best).data), B);
    }
    attn_tape_destroy(t);
}
