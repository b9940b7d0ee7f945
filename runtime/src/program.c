/*===- program.c - checks the steps of a kernel against a shape -----------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "encode.h"
#include "means.h"

#include <string.h>

/* Malformed: what the compiler never writes. Its users cannot do anything about
 * it but compile again. */
static sparse_attn_status malformed(const sparse_attn_kernel *kernel, const char *what) {
  return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                 "kernel '%s' is malformed: %s; compile it again", kernel->name, what);
}

static void make_value(sa_value *value, sa_real type, int64_t s0, int64_t s1, int64_t s2,
                       int64_t s3) {
  value->size[0] = s0;
  value->size[1] = s1;
  value->size[2] = s2;
  value->size[3] = s3;
  value->type = type;
  value->element_bytes = sa_real_bytes(type);
  value->made = 1;
}

/* The type of a step's O or means. */
static sparse_attn_status read_type(const sparse_attn_kernel *kernel, const sa_step *step,
                                    sa_real *type) {
  if (!sa_find_real(step->type_code, step->type_bits, type))
    return malformed(kernel, "a step's result is neither f32 nor f16 nor bf16");
  return SPARSE_ATTN_OK;
}

static bool is_value(const sparse_attn_plan *plan, int32_t id) {
  return id >= 0 && id < plan->kernel->value_count &&
         (id < plan->kernel->input_count || plan->values[id].made);
}

static bool is_absent_or_input(const sparse_attn_plan *plan, int32_t id, int32_t layout) {
  return id == -1 || (id >= 0 && id < plan->kernel->input_count &&
                      plan->kernel->inputs[id].layout == layout);
}

/* Results of step `step` are values [first, first + count). */
static bool are_fresh(const sparse_attn_plan *plan, int32_t first, int32_t count) {
  if (first < plan->kernel->input_count || first > plan->kernel->value_count - count)
    return false;
  for (int32_t i = 0; i < count; ++i)
    if (plan->values[first + i].made)
      return false;
  return true;
}

static sparse_attn_status check_keys(sparse_attn_plan *plan,
                                     sa_plan_attention *attention) {
  const sparse_attn_kernel *kernel = plan->kernel;
  const sa_attention *code = attention->code;
  const sa_value *k = &plan->values[code->k], *v = &plan->values[code->v];
  attention->pooled = code->key_block > 0;
  if (k->made != attention->pooled || v->made != attention->pooled)
    return malformed(kernel, "its keys are neither an input nor pooled");
  if ((k->pool >= 0) != attention->pooled || (v->pool >= 0) != attention->pooled)
    return malformed(kernel, "pooled keys and values must be used together");
  if (!attention->pooled)
    return SPARSE_ATTN_OK;
  if (kernel->steps[k->pool].block != code->key_block ||
      kernel->steps[v->pool].block != code->key_block)
    return malformed(kernel, "keys and values are pooled by different blocks");
  return SPARSE_ATTN_OK;
}

/* Whether set number `number` of an attention says what this runtime can make. */
static bool is_set_well_formed(const sparse_attn_plan *plan, const sa_attention *code,
                               int32_t number) {
  /* Operands, inputs, parameters and reals of each kind; operands -1: any number. */
  static const struct {
    int8_t operands, inputs, parameters, reals;
  } kinds[] = {[SA_SET_STRUCTURE] = {0, 0, 0, 0},  [SA_SET_LIST] = {0, 2, 1, 0},
               [SA_SET_UNION] = {-1, 0, 0, 0},     [SA_SET_INTERSECT] = {-1, 0, 0, 0},
               [SA_SET_DIFFERENCE] = {2, 0, 0, 0}, [SA_SET_HEADS] = {-1, 0, -1, 0},
               [SA_SET_TOP_K] = {1, 0, 1, 1},      [SA_SET_TOP_P] = {1, 0, 0, 1},
               [SA_SET_THRESHOLD] = {1, 0, 0, 1},  [SA_SET_CLUSTER] = {1, 0, 0, 0},
               [SA_SET_RANDOM] = {1, 0, 4, 1},     [SA_SET_LSH] = {1, 1, 3, 0},
               [SA_SET_ADAPTIVE] = {2, 0, 3, 3},   [SA_SET_COMPLEMENT] = {1, 0, 0, 0}};
  const sa_set *set = &code->sets[number];
  if (set->kind < SA_SET_STRUCTURE || set->kind > SA_SET_COMPLEMENT || set->block_q < 1 ||
      set->block_k < 1)
    return false;
  bool any = kinds[set->kind].operands < 0;
  if ((any ? set->operand_count < 1 : set->operand_count != kinds[set->kind].operands) ||
      set->input_count != kinds[set->kind].inputs ||
      (set->kind != SA_SET_HEADS &&
       set->parameter_count != kinds[set->kind].parameters) ||
      set->real_count != kinds[set->kind].reals)
    return false;
  for (int32_t i = 0; i < set->operand_count; ++i)
    if (set->operands[i] < 0 || set->operands[i] >= number)
      return false;
  for (int32_t i = 0; i < set->input_count; ++i)
    if (!is_absent_or_input(plan, set->inputs[i], 0))
      return false;
  bool scores = set->kind == SA_SET_TOP_K || set->kind == SA_SET_TOP_P ||
                set->kind == SA_SET_THRESHOLD;
  bool encodes = set->kind == SA_SET_CLUSTER || set->kind == SA_SET_LSH;
  return (scores ? set->score >= 0 && set->score < code->score_count
                 : set->score == -1) &&
         (encodes ? set->encoding >= 0 : set->encoding == -1) &&
         (set->kind != SA_SET_LIST || set->inputs[0] >= 0);
}

static sparse_attn_status check_sets(const sparse_attn_plan *plan,
                                     const sa_attention *code) {
  for (int32_t i = 0; i < code->set_count; ++i)
    if (!is_set_well_formed(plan, code, i))
      return malformed(plan->kernel, "a mask that a run decides has a set that this "
                                     "runtime does not know");
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_attention(sparse_attn_plan *plan, const sa_step *step,
                                          sa_plan_attention *attention) {
  const sparse_attn_kernel *kernel = plan->kernel;
  const sparse_attn_shape *shape = &plan->shape;
  const sa_attention *code = step->attention;
  if (!code || code->head_dim <= 0 || code->value_dim <= 0 || code->tile_rows <= 0 ||
      code->tile_keys <= 0 || code->tile_keys % 8 || code->period <= 0)
    return malformed(kernel, "an attention has no code or no tile size");
  if (code->q < 0 || code->q >= kernel->input_count || !is_value(plan, code->k) ||
      !is_value(plan, code->v) || !is_absent_or_input(plan, code->kv_len, 1) ||
      !is_absent_or_input(plan, code->q_len, 1) ||
      !is_absent_or_input(plan, code->q_offset, 1) ||
      !is_absent_or_input(plan, code->sinks, 0))
    return malformed(kernel, "an attention names a tensor that is not there");
  if (!are_fresh(plan, step->first_result, 2) || code->out != step->first_result ||
      (code->lse != step->first_result + 1 && code->lse != -1))
    return malformed(kernel, "an attention's results are misnumbered");
  attention->code = code;
  sparse_attn_status status = check_keys(plan, attention);
  if (!status)
    status = check_sets(plan, code);
  if (status)
    return status;
  status = sa_select_level(kernel, code, &attention->level);
  if (status)
    return status;

  sa_value *results = &plan->values[step->first_result];
  sa_real type;
  status = read_type(kernel, step, &type);
  if (status)
    return status;
  make_value(&results[0], type, shape->batch, shape->heads, shape->queries,
             code->value_dim);
  if (code->lse >= 0)
    make_value(&results[1], SA_F32, 1, shape->batch, shape->heads, shape->queries);

  attention->key_capacity =
      attention->pooled ? sa_ceil_div(shape->keys, code->key_block) : shape->keys;
  sa_set_step(attention, shape, 1);
  const sa_level *level = attention->level;
  if (level->scratch_bytes < 0 || level->packed_bytes < 0 ||
      level->packed_bytes % SA_ALIGNMENT)
    return malformed(kernel, "a level has no size for its scratch or packed tiles");
  if (level->stack_rows < code->tile_rows || level->state_bytes < 0 ||
      level->state_bytes % SA_ALIGNMENT)
    return malformed(kernel, "a level has no room for the rows of a tile or their state");
  return SPARSE_ATTN_OK;
}

sparse_attn_status sa_check_pool(const sparse_attn_kernel *kernel, const sa_step *step) {
  if (step->input_count != 1 || step->block <= 0 || step->inputs[0] < 0 ||
      step->inputs[0] >= kernel->input_count ||
      kernel->inputs[step->inputs[0]].rank != 4 ||
      kernel->inputs[step->inputs[0]].dims[3] <= 0)
    return malformed(kernel, "a pool must have one input of the kernel");
  const sa_tensor *tokens = &kernel->inputs[step->inputs[0]];
  sa_real type;
  sparse_attn_status status = read_type(kernel, step, &type);
  if (status)
    return status;
  if (step->type_code != tokens->type_code || step->type_bits != tokens->type_bits)
    return malformed(kernel, "a pool's means have another type than its tokens");
  return SPARSE_ATTN_OK;
}

static sparse_attn_status make_means(sparse_attn_plan *plan, const sa_step *step,
                                     int32_t index) {
  const sparse_attn_kernel *kernel = plan->kernel;
  const sparse_attn_shape *shape = &plan->shape;
  sparse_attn_status status = sa_check_pool(kernel, step);
  if (status)
    return status;
  if (!are_fresh(plan, step->first_result, 1))
    return malformed(kernel, "a pool's result is misnumbered");
  const sa_tensor *tokens = &kernel->inputs[step->inputs[0]];
  sa_value *result = &plan->values[step->first_result];
  make_value(result, sa_input_type(kernel, step->inputs[0]), shape->batch,
             shape->kv_heads, sa_ceil_div(shape->keys, step->block), tokens->dims[3]);
  result->pool = index;
  return SPARSE_ATTN_OK;
}

/* A merge, and a choice: both make one state of several. */
static sparse_attn_status check_states(sparse_attn_plan *plan, const sa_step *step) {
  const sparse_attn_kernel *kernel = plan->kernel;
  if (step->input_count < 2 || step->input_count % 2)
    return malformed(kernel, "a merge or choice needs pairs of O and LSE");
  for (int32_t i = 0; i < step->input_count; ++i) {
    int32_t id = step->inputs[i];
    if (!is_value(plan, id) || !plan->values[id].made ||
        (i % 2 && plan->values[id].type != SA_F32) ||
        memcmp(plan->values[id].size, plan->values[step->inputs[i % 2]].size,
               sizeof(plan->values[id].size)))
      return malformed(kernel,
                       "the inputs of a merge or choice are not states of one shape");
  }
  const int64_t *out = plan->values[step->inputs[0]].size;
  const int64_t *lse = plan->values[step->inputs[1]].size;
  if (out[0] != lse[1] || out[1] != lse[2] || out[2] != lse[3])
    return malformed(kernel, "a merge or choice has O and LSE of different rows");
  if (!are_fresh(plan, step->first_result, 2))
    return malformed(kernel, "the results of a merge or choice are misnumbered");
  sa_real type;
  sparse_attn_status status = read_type(kernel, step, &type);
  if (status)
    return status;
  for (int32_t i = 0; i < 2; ++i) {
    sa_value *result = &plan->values[step->first_result + i];
    const int64_t *size = plan->values[step->inputs[i]].size;
    make_value(result, i ? SA_F32 : type, size[0], size[1], size[2], size[3]);
  }
  return SPARSE_ATTN_OK;
}

/* What is chosen is written where the result goes. */
static sparse_attn_status check_choice(sparse_attn_plan *plan, const sa_step *step) {
  sparse_attn_status status = check_states(plan, step);
  for (int32_t i = 0; !status && i < step->input_count; ++i)
    if (plan->values[step->inputs[i]].type !=
        plan->values[step->first_result + i % 2].type)
      status = malformed(plan->kernel, "what a choice takes has another type than it");
  return status;
}

/* A pooled value has one length: that of the attentions which read it. */
static sparse_attn_status check_pool_lengths(const sparse_attn_plan *plan) {
  for (int32_t i = 0; i < plan->attention_count; ++i) {
    const sa_attention *a = plan->attentions[i].code;
    for (int32_t j = 0; j < i; ++j) {
      const sa_attention *b = plan->attentions[j].code;
      bool share = plan->attentions[i].pooled &&
                   (a->k == b->k || a->k == b->v || a->v == b->k || a->v == b->v);
      if (share && a->kv_len != b->kv_len)
        return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                       "kernel '%s': attentions with different kv_len share a "
                       "pool; give each its own",
                       plan->kernel->name);
    }
  }
  return SPARSE_ATTN_OK;
}

static sparse_attn_status check_outputs(sparse_attn_plan *plan) {
  const sparse_attn_kernel *kernel = plan->kernel;
  plan->empty = true;
  for (int32_t i = 0; i < kernel->output_count; ++i) {
    const sa_tensor *output = &kernel->outputs[i];
    if (output->value < 0 || output->value >= kernel->value_count)
      return malformed(kernel, "an output names a value that is not there");
    sa_value *value = &plan->values[output->value];
    if (output->value < kernel->input_count)
      return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s': output '%s' is an input; use that tensor "
                     "instead",
                     kernel->name, output->name);
    if (value->output >= 0)
      return sa_fail(SPARSE_ATTN_INVALID_ARGUMENT,
                     "kernel '%s': outputs '%s' and '%s' are the same value; "
                     "return it once",
                     kernel->name, kernel->outputs[value->output].name, output->name);
    sa_real type;
    if (!value->made || !sa_find_real(output->type_code, output->type_bits, &type) ||
        type != value->type)
      return malformed(kernel, "an output is not the result of a step");
    value->output = i;
    if (value->size[0] && value->size[1] && value->size[2] && value->size[3])
      plan->empty = false;
  }
  return SPARSE_ATTN_OK;
}

/* A way of a choice has no place of its own. */
static sparse_attn_status check_ways(const sparse_attn_plan *plan, const sa_step *step) {
  for (int32_t i = 0; step->kind == SA_STEP_CHOOSE && i < step->input_count; ++i)
    if (plan->values[step->inputs[i]].output >= 0)
      return malformed(plan->kernel, "what a choice takes is an output too");
  return SPARSE_ATTN_OK;
}

/* All later arithmetic on sizes relies on these products. */
static sparse_attn_status check_sizes(const sparse_attn_plan *plan) {
  for (int32_t i = 0; i < plan->kernel->value_count; ++i) {
    const sa_value *value = &plan->values[i];
    size_t bytes = (size_t)value->element_bytes;
    bool fits = true, empty = false;
    for (int axis = 0; axis < 4; ++axis)
      empty = empty || value->size[axis] == 0;
    for (int axis = 0; !empty && axis < 4; ++axis)
      fits = fits && sa_multiply(bytes, (size_t)value->size[axis], &bytes);
    if (!fits)
      return sa_fail(SPARSE_ATTN_OVERFLOW,
                     "kernel '%s': a result of the sizes B = %lld, H = %lld, Hkv "
                     "= %lld, M = %lld, N = %lld does not fit the address space",
                     plan->kernel->name, (long long)plan->shape.batch,
                     (long long)plan->shape.heads, (long long)plan->shape.kv_heads,
                     (long long)plan->shape.queries, (long long)plan->shape.keys);
  }
  return SPARSE_ATTN_OK;
}

sparse_attn_status sa_check_program(sparse_attn_plan *plan) {
  const sparse_attn_kernel *kernel = plan->kernel;
  if (kernel->value_count < kernel->input_count)
    return malformed(kernel, "it has fewer values than inputs");
  for (int32_t i = 0; i < kernel->value_count; ++i) {
    plan->values[i].pool = plan->values[i].output = plan->values[i].place = -1;
    if (i < kernel->input_count)
      plan->values[i].element_bytes = kernel->inputs[i].type_bits / 8;
  }
  sa_plan_attention *attention = plan->attentions;
  for (int32_t i = 0; i < kernel->step_count; ++i) {
    const sa_step *step = &kernel->steps[i];
    sparse_attn_status status;
    if (step->kind == SA_STEP_ATTENTION)
      status = check_attention(plan, step, attention++);
    else if (step->kind == SA_STEP_POOL)
      status = make_means(plan, step, i);
    else if (step->kind == SA_STEP_MERGE)
      status = check_states(plan, step);
    else if (step->kind == SA_STEP_CHOOSE)
      status = check_choice(plan, step);
    else
      status = malformed(kernel, "it has a step of an unknown kind");
    if (status)
      return status;
  }
  sparse_attn_status status = check_pool_lengths(plan);
  if (!status)
    status = check_outputs(plan);
  for (int32_t i = 0; !status && i < kernel->step_count; ++i)
    status = check_ways(plan, &kernel->steps[i]);
  return status ? status : check_sizes(plan);
}
