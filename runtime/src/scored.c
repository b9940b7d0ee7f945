/*===- scored.c - the scores of the units of keys --------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"
#include "encoded.h"
#include "sets.h"

static const sa_score *score_of(const sa_score_job *job) {
  return &job->attention->code->scores[job->number];
}

int64_t sa_score_heads(const sa_plan_attention *attention, int32_t number) {
  return attention->code->scores[number].share_group ? attention->schedule.group : 1;
}

/* Query head number `head` of the score's. */
static int64_t head_of(const sa_score_job *job, int64_t head) {
  return score_of(job)->share_group
             ? job->call->kv_head * job->attention->schedule.group + head
             : job->call->h;
}

size_t sa_query_words(const sparse_attn_plan *plan, const sa_score *score) {
  size_t words = (size_t)plan->kernel->encodings[score->encoding].query_words;
  return (words + SA_STATE_LANES - 1) / SA_STATE_LANES * SA_STATE_LANES;
}

void sa_encode_rows(const sa_score_job *job, int64_t head, int64_t i0, int64_t i1,
                    float *query, void *work) {
  sa_encoder encoder =
      sa_run_encoder(job->state, job->attention, score_of(job)->encoding);
  sa_encode_query(&encoder, job->call->b, head_of(job, head), i0, i1, query, work);
}

/* The values as they are read by the scores of keys from `first` on. */
static const sa_view *values_from(const sa_score_job *job, const sa_encoder *encoder,
                                  int64_t first, sa_view *room) {
  if (first == 0 || encoder->code->state_count)
    return job->state->values;
  memcpy(room, job->state->values,
         (size_t)job->state->plan->kernel->value_count * sizeof(*room));
  sa_view *k = &room[encoder->code->k];
  k->data = sa_at(k, (size_t)sa_real_bytes(encoder->type), 0, 0, first, 0);
  return room;
}

void sa_score_units(const sa_score_job *job, int64_t head, const float *query,
                    int64_t first, int64_t end, sa_view *values, float *head_scores,
                    void *scores) {
  const sa_run_state *state = job->state;
  int32_t encoding = score_of(job)->encoding;
  int64_t h = head_of(job, head), units = end - first;
  sa_encoder encoder = sa_run_encoder(state, job->attention, encoding);
  const void *planes[SA_MOST_STATES];
  for (int32_t s = 0; s < encoder.code->state_count; ++s) {
    const sa_key_state *own = &encoder.code->states[s];
    size_t skip = (size_t)sa_state_index(own, first, 0) * sa_word_bytes(own->word);
    planes[s] = (const char *)sa_run_plane(state, encoding, s, job->call->b, h) + skip;
  }
  size_t bytes = score_of(job)->levels ? sizeof(uint8_t) : sizeof(float);
  sa_score_args args = {.states = planes,
                        .query = query,
                        .scores = head ? (char *)head_scores
                                       : (char *)scores + (size_t)first * bytes,
                        .units = units,
                        .values = values_from(job, &encoder, first, values),
                        .b = job->call->b,
                        .kv_head = job->call->kv_head};
  job->attention->level->scores[job->number](&args);
  /* Levels are of one head. */
  for (int64_t u = 0; head && u < units; ++u)
    ((float *)scores)[first + u] += head_scores[u];
}

const float *sa_read_scores(const sa_score *score, const void *scores, int64_t units,
                            float *room) {
  if (!score->levels)
    return scores;
  for (int64_t u = 0; u < units; ++u)
    room[u] = (float)(score->best - score->step * ((const uint8_t *)scores)[u]);
  return room;
}
