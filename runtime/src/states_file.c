/*===- states_file.c - states in files ------------------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 *   header | length and mark of every batch entry | checksum of what is before |
 *   planes of every state, and means and sums of every pool, as far as there are keys |
 *   checksum of the states
 *
 * All of it in words of 64 bits, in the byte order of the machine that wrote it, but for
 * the means, which are of the type of the tokens.
 *
 *===----------------------------------------------------------------------===*/

#include "encoded.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* "SPARSTAT" read as a little-endian word. */
#define STATES_MAGIC UINT64_C(0x5441545352415053)
#define STATES_MAGIC_SWAPPED UINT64_C(0x5350415253544154)

enum { kVersion = 1 };

typedef struct header {
  uint64_t magic, version, print;
  int64_t batch, heads, kv_heads, capacity;
} header;

/* A file that is written or read, and the checksum of its current part. */
typedef struct file {
  FILE *stream;
  uint64_t sum;
  bool fine;
} file;

/* What is left of `data` after whole words counts with zeros after it. */
static void add_to_sum(file *file, const void *data, size_t bytes) {
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    uint64_t word = 0;
    size_t rest = bytes - at;
    memcpy(&word, (const char *)data + at, rest < sizeof(word) ? rest : sizeof(word));
    file->sum = sa_add_word(file->sum, word);
  }
}

static void write_words(void *context, void *data, size_t bytes) {
  file *file = context;
  file->fine = file->fine && fwrite(data, 1, bytes, file->stream) == bytes;
  add_to_sum(file, data, bytes);
}

static void read_words(void *context, void *data, size_t bytes) {
  file *file = context;
  file->fine = file->fine && fread(data, 1, bytes, file->stream) == bytes;
  if (file->fine)
    add_to_sum(file, data, bytes);
}

static void write_sum(file *file) {
  uint64_t sum = file->sum;
  write_words(file, &sum, sizeof(sum));
  file->sum = 0;
}

static bool is_sum_right(file *file) {
  uint64_t expected = file->sum, sum = 0;
  read_words(file, &sum, sizeof(sum));
  file->sum = 0;
  return file->fine && sum == expected;
}

/* Bytes of the groups of `state` that have keys of batch entry `b`. */
static size_t used_bytes(const sparse_attn_states *states, const sa_key_state *state,
                         int64_t b) {
  size_t group =
      (size_t)state->width * sa_word_bytes(state->word) * (size_t)SA_STATE_LANES;
  int64_t keys = (int64_t)state->block * SA_STATE_LANES;
  return (size_t)sa_ceil_div(states->lengths[b], keys) * group;
}

/* Calls visit(file, part, bytes) for all parts of the states that are in use. */
static void visit_states(file *file, const sparse_attn_states *states,
                         void (*visit)(void *file, void *part, size_t bytes)) {
  const sparse_attn_kernel *kernel = states->kernel;
  for (int32_t e = 0; e < kernel->encoding_count; ++e) {
    const sa_encoding *code = &kernel->encodings[e];
    const sa_kept_encoding *kept = &states->encodings[e];
    int64_t heads = sa_encoding_heads(code, states->shape.heads, states->shape.kv_heads);
    for (int32_t s = 0; s < code->state_count; ++s)
      for (int64_t plane = 0; plane < states->shape.batch * heads; ++plane)
        visit(file, kept->planes[s] + (size_t)plane * kept->plane_bytes[s],
              used_bytes(states, &code->states[s], plane / heads));
  }
  for (int32_t i = 0; i < states->pool_count; ++i)
    sa_visit_kept_pool(states, &states->pools[i], visit, file);
}

/*===--- Saving -----------------------------------------------------------===*/

sparse_attn_status sparse_attn_states_save(const sparse_attn_states *states,
                                           const char *path) {
  if (!states || !path)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "%s is null",
                   states ? "path" : "states");
  header header = {STATES_MAGIC,        kVersion,
                   states->print,       states->shape.batch,
                   states->shape.heads, states->shape.kv_heads,
                   states->shape.keys};
  file file = {.stream = fopen(path, "wb"), .fine = true};
  if (!file.stream)
    return sa_fail(SPARSE_ATTN_SAVE_FAILED, "'%s' cannot be written: %s", path,
                   strerror(errno));
  write_words(&file, &header, sizeof(header));
  for (int64_t b = 0; b < states->shape.batch; ++b) {
    int64_t entry[2] = {states->lengths[b], states->begun[b]};
    write_words(&file, entry, sizeof(entry));
  }
  write_sum(&file);
  visit_states(&file, states, write_words);
  write_sum(&file);
  int reason = errno;
  bool closed = fclose(file.stream) == 0;
  if (file.fine && closed)
    return SPARSE_ATTN_OK;
  if (!closed)
    reason = errno;
  return sa_fail(SPARSE_ATTN_SAVE_FAILED, "'%s' cannot be written: %s", path,
                 strerror(reason));
}

/*===--- Loading ----------------------------------------------------------===*/

#define REFUSE(path, format, ...)                                                        \
  sa_fail(SPARSE_ATTN_LOAD_FAILED, "'%s' " format, path, __VA_ARGS__)

static sparse_attn_status read_header(file *file, const sparse_attn_kernel *kernel,
                                      const char *path, header *header) {
  memset(header, 0, sizeof(*header));
  read_words(file, header, sizeof(*header));
  if (header->magic == STATES_MAGIC_SWAPPED)
    return REFUSE(path, "holds states of a machine of the other byte order%s", "");
  if (header->magic != STATES_MAGIC)
    return REFUSE(path, "holds no states%s", "");
  if (!file->fine)
    return REFUSE(path, "is truncated%s", "");
  if (header->version != kVersion)
    return REFUSE(path, "has version %llu of the format, expected %d; make it anew",
                  (unsigned long long)header->version, (int)kVersion);
  if (header->print != sa_fingerprint(kernel))
    return REFUSE(path, "holds states of other scores or pools than those of kernel '%s'",
                  kernel->name);
  return SPARSE_ATTN_OK;
}

static sparse_attn_status truncated(const char *path) {
  return REFUSE(path, "is truncated%s", "");
}
static sparse_attn_status spoilt(const char *path) {
  return REFUSE(path, "is corrupt: its checksum is wrong%s", "");
}

/* Allocates `entries` for the lengths. A batch size that was spoilt asks for no more room
 * than the file has. */
static sparse_attn_status read_lengths(file *file, const char *path, int64_t file_bytes,
                                       const header *header, int64_t **entries) {
  if (header->batch < 0 || header->batch > file_bytes / 16)
    return spoilt(path);
  size_t bytes = (size_t)header->batch * 2 * sizeof(int64_t);
  *entries = sa_allocate(1, bytes);
  if (!*entries)
    return sa_fail(SPARSE_ATTN_OUT_OF_MEMORY, "no memory for the states of '%s'", path);
  read_words(file, *entries, bytes);
  bool right = is_sum_right(file);
  return !file->fine ? truncated(path) : right ? SPARSE_ATTN_OK : spoilt(path);
}

static bool take_lengths(sparse_attn_states *states, const int64_t *entries) {
  for (int64_t b = 0; b < states->shape.batch; ++b) {
    int64_t length = entries[2 * b];
    if (length < 0 || length > states->shape.keys)
      return false;
    states->lengths[b] = length;
    states->begun[b] = entries[2 * b + 1] != 0;
  }
  return true;
}

static int64_t find_size(FILE *stream) {
  int64_t bytes = fseek(stream, 0, SEEK_END) == 0 ? ftell(stream) : -1;
  return fseek(stream, 0, SEEK_SET) == 0 ? bytes : -1;
}

static sparse_attn_status load(file *file, const sparse_attn_kernel *kernel,
                               const char *path, sparse_attn_states **states) {
  header header;
  int64_t bytes = find_size(file->stream), *entries = NULL;
  sparse_attn_status status = read_header(file, kernel, path, &header);
  if (!status)
    status = read_lengths(file, path, bytes, &header, &entries);
  if (status) {
    free(entries);
    return status;
  }
  sparse_attn_shape shape = {.batch = header.batch,
                             .heads = header.heads,
                             .kv_heads = header.kv_heads,
                             .keys = header.capacity};
  status = sparse_attn_states_create(kernel, &shape, states);
  bool known = !status && take_lengths(*states, entries);
  free(entries);
  if (status)
    return status;
  if (!known)
    return REFUSE(path, "is corrupt: it has more keys than room%s", "");
  visit_states(file, *states, read_words);
  bool right = is_sum_right(file);
  if (!file->fine)
    return truncated(path);
  if (!right)
    return spoilt(path);
  if (ftell(file->stream) != bytes)
    return REFUSE(path, "is corrupt: something follows the states%s", "");
  int workers;
  status = sa_worker_count(NULL, &workers);
  if (!status)
    sa_index_states(*states, NULL, (*states)->lengths, NULL, workers);
  return status;
}

sparse_attn_status sparse_attn_states_load(const sparse_attn_kernel *kernel,
                                           const char *path,
                                           sparse_attn_states **result) {
  if (!result)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "states is null");
  *result = NULL;
  if (!kernel || !path)
    return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "%s is null",
                   kernel ? "path" : "kernel");
  file file = {.stream = fopen(path, "rb"), .fine = true};
  if (!file.stream)
    return sa_fail(SPARSE_ATTN_LOAD_FAILED, "'%s' cannot be read: %s", path,
                   strerror(errno));
  sparse_attn_states *states = NULL;
  sparse_attn_status status = sa_check_kept(kernel);
  if (!status)
    status = load(&file, kernel, path, &states);
  fclose(file.stream);
  if (status) {
    sparse_attn_states_destroy(states);
    return status;
  }
  *result = states;
  return SPARSE_ATTN_OK;
}
