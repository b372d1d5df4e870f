/* SPDX-License-Identifier: MIT
 * Tokens join a cache. Everything is looked at first - shapes, sequences, lengths, room, spare
 * pages for what is new and for what must be copied - then rows are written, and nothing can
 * fail any more. Of rows that a ring would forget in the same call none is written. */
#include <string.h>

#include "engine/cache_rows.h"

/* ---- writing ---------------------------------------------------------------------------- */

/* The oldest position behind the sinks that a sequence holds once its length is `length`. */
static int64_t append_start(const attn_cache *c, int64_t seq, int64_t length)
{
    if (c->spec.kind != ATTN_CACHE_RING) return 0;
    return attn__max(c->start[seq], length - attn__cache_round(c));
}

static void append_token(const attn__cache_job *job, int64_t b, int64_t i, int64_t position)
{
    attn_cache *c = job->cache;
    const int64_t seq = attn__cache_job_seq(job, b), place = attn__cache_place(c, position);
    const int64_t page = attn__cache_own(c, seq, place), slot = place % c->span;
    if (job->R) attn__cache_angles(job, b, i, position);
    for (int64_t g = 0; g < c->spec.heads; g++) {
        const int64_t row = attn__cache_first_row(c, page, g) + slot;
        attn__cache_put(job, 0, attn__cache_job_row(job, &job->k, b, g, i), g, row);
        if (!c->spec.latent)
            attn__cache_put(job, 1, attn__cache_job_row(job, &job->v, b, g, i), g, row);
    }
    attn__cache_mark(c, seq, place, 1, true);
}

static void append_sequence(const attn__cache_job *job, int64_t b)
{
    attn_cache *c = job->cache;
    const int64_t seq = attn__cache_job_seq(job, b), n = attn__cache_job_len(job, b);
    const int64_t first = c->length[seq], start = append_start(c, seq, first + n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t position = first + i;
        if (position < c->spec.sinks || position >= start) append_token(job, b, i, position);
    }
    c->length[seq] = first + n;
    c->start[seq] = start;
}

/* ---- room ------------------------------------------------------------------------------- */

/* Pages that n more tokens of a sequence need: new ones, and a copy of the one they begin in
 * when it is shared. Of those who share a page and all write to it the last needs no copy. */
static int64_t append_need(attn_cache *c, int64_t seq, int64_t n)
{
    const int64_t first = c->length[seq], *table = attn__cache_pages(c, seq);
    int64_t need = 0;
    if (n == 0) return 0;
    for (int64_t i = first / c->span; i <= (first + n - 1) / c->span; i++) {
        const int64_t page = table[i];
        const bool copy = page >= 0 && c->refs[page] - c->wanted[page] > 1;
        need += page < 0 || copy;
        if (copy) c->wanted[page]++;
    }
    return need;
}

static void append_forget_wanted(attn_cache *c, int64_t seq)
{
    const int64_t at = c->length[seq] / c->span;
    const int64_t page = at < c->columns ? attn__cache_pages(c, seq)[at] : -1;
    if (page >= 0) c->wanted[page] = 0;
}

static attn_status append_pages(const attn__cache_job *job, attn_error *error)
{
    attn_cache *c = job->cache;
    int64_t need = 0;
    if (!attn__cache_paged(c)) return ATTN_OK;
    for (int64_t b = 0; b < job->B; b++)
        need += append_need(c, attn__cache_job_seq(job, b), attn__cache_job_len(job, b));
    for (int64_t b = 0; b < job->B; b++) append_forget_wanted(c, attn__cache_job_seq(job, b));
    if (need <= c->n_spare) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_FULL, "pages", "there are not enough free pages",
                            need, c->n_spare);
}

attn_status attn_cache_append(attn_cache *cache, const attn_cache_new *rows, attn_error *error)
{
    attn__cache_job job;
    ATTN_TRY(attn__cache_job_check(&job, cache, rows, error));
    ATTN_TRY(append_pages(&job, error));
    const attn__fpenv saved = attn__fpenv_enter();
    attn__cache_thetas(&job);
    for (int64_t b = 0; b < job.B; b++) append_sequence(&job, b);
    attn__fpenv_leave(saved);
    return ATTN_OK;
}
