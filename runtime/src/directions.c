/*===- directions.c - random directions, made once for all that want them -===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * docs/semantics.md, section 6. Some ten milliseconds of drawing for a usual table: a
 * decode loop that makes a plan for every step shares one copy with the states that it
 * keeps.
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"

#include <pthread.h>
#include <stdlib.h>

/* Which directions. */
typedef struct direction_key {
  int64_t seed, count, dim;
  uint32_t stream;
} direction_key;

/* Panels of directions, and how many read them. */
typedef struct direction_set {
  direction_key key;
  int64_t users;
  struct direction_set *next;
  float panels[];
} direction_set;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static direction_set *sets;

/* What an encoding draws; false for nothing. */
static bool find_key(const sa_encoding *code, direction_key *key) {
  enum { kClusterStream = 6, kLshStream = 5 };
  const int64_t *parameters = code->parameters;
  if (code->kind == SA_ENCODE_CLUSTER && code->inputs[0] < 0)
    *key = (direction_key){parameters[2], parameters[0] * (parameters[1] / 2),
                           code->head_dim, kClusterStream};
  else if (code->kind == SA_ENCODE_LSH)
    *key = (direction_key){parameters[4], parameters[0] * parameters[1],
                           code->head_dim + (parameters[3] == 1), kLshStream};
  else
    return false;
  return true;
}

static uint32_t count_ones(uint32_t x) {
  x -= x >> 1 & 0x55555555;
  x = (x & 0x33333333) + (x >> 2 & 0x33333333);
  x = (x + (x >> 4)) & 0x0f0f0f0f;
  return x * 0x01010101 >> 24;
}

/* Number `d` of direction `r`: an odd integer, symmetric around 0. */
static float draw(const direction_key *key, int64_t r, int64_t d) {
  uint32_t words[4] = {(uint32_t)r, (uint32_t)d, 0, key->stream};
  sa_philox(words, (uint64_t)key->seed);
  int64_t ones = count_ones(words[0]) + count_ones(words[1]) + count_ones(words[2]);
  int64_t odd = 2 * (ones * (INT64_C(1) << 32) + words[3]) + 1 - 97 * (INT64_C(1) << 32);
  return (float)odd * 0x1p-33f;
}

static bool is_same(const direction_key *a, const direction_key *b) {
  return a->seed == b->seed && a->count == b->count && a->dim == b->dim &&
         a->stream == b->stream;
}

static size_t panel_bytes(const direction_key *key) {
  return (size_t)(key->count * key->dim) * sizeof(float);
}

static direction_set *make_set(const direction_key *key) {
  direction_set *set = sa_allocate(1, sizeof(direction_set) + panel_bytes(key));
  if (!set)
    return NULL;
  set->key = *key;
  set->users = 0;
  float *to = set->panels;
  for (int64_t first = 0; first < key->count; first += SA_PANEL)
    for (int64_t d = 0; d < key->dim; ++d)
      for (int64_t r = first; r < sa_min(first + SA_PANEL, key->count); ++r)
        *to++ = draw(key, r, d);
  return set;
}

/* One more user of the set of `key`, NULL where there is none. */
static direction_set *use_set(const direction_key *key) {
  for (direction_set *set = sets; set; set = set->next)
    if (is_same(&set->key, key)) {
      ++set->users;
      return set;
    }
  return NULL;
}

bool sa_encoding_directions(const sa_encoding *code, const float **directions) {
  direction_key key;
  *directions = NULL;
  if (!find_key(code, &key))
    return true;
  pthread_mutex_lock(&lock);
  direction_set *set = use_set(&key);
  pthread_mutex_unlock(&lock);
  if (!set) {
    direction_set *made = make_set(&key);
    if (!made)
      return false;
    pthread_mutex_lock(&lock);
    set = use_set(&key); /* another thread may have been faster */
    if (!set) {
      made->next = sets;
      made->users = 1;
      set = sets = made;
      made = NULL;
    }
    pthread_mutex_unlock(&lock);
    free(made);
  }
  *directions = set->panels;
  return true;
}

void sa_release_directions(const float *directions) {
  if (!directions)
    return;
  pthread_mutex_lock(&lock);
  for (direction_set **link = &sets; *link; link = &(*link)->next) {
    direction_set *set = *link;
    if (set->panels == directions) {
      if (--set->users == 0) {
        *link = set->next;
        free(set);
      }
      break;
    }
  }
  pthread_mutex_unlock(&lock);
}

size_t sa_directions_bytes(const sa_encoding *code) {
  direction_key key;
  return find_key(code, &key) ? panel_bytes(&key) : 0;
}

void sa_project_rows(const sa_encoder *encoder, const float *rows, int64_t count,
                     int64_t ins, int64_t directions, float *products) {
  const float *panel = encoder->directions;
  for (int64_t first = 0; first < directions; first += SA_PANEL) {
    int64_t outs = sa_min(SA_PANEL, directions - first);
    for (int64_t i = 0; i < count; ++i)
      encoder->project(rows + i * ins, panel, products + i * directions + first, ins,
                       outs);
    panel += ins * outs;
  }
}
